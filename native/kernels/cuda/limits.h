#pragma once

/// What a launch may ask for.
namespace nd::kernels::cuda {

constexpr int kWarp = 32;
/// Bytes of shared memory: the least that a device of compute capability 8 or 9 has for a block.
constexpr int kMostShared = 99 << 10;
/// Blocks of a cluster, whose blocks read each other's shared memory: what every device that has clusters allows.
constexpr int kClusterBits = 3, kMostCluster = 1 << kClusterBits;

}  // namespace nd::kernels::cuda
