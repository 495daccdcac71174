#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <vector>

namespace nd {

/// Where a step's z comes from: given, or drawn from one generator for the whole batch, from one per sample, or (both
/// empty) from the device's default generator.
struct NoiseSource {
  at::Tensor given;
  std::vector<at::Generator> generators;
};

/// randn of a shape, as diffusers' randn_tensor: one generator draws the whole shape; several draw sample by sample; a
/// CPU generator's numbers are made on the CPU and moved. Throws ERR_ARGUMENT for a list that does not match the batch,
/// ERR_DEVICE for a CUDA generator and a CPU tensor.
at::Tensor randn(const std::vector<int64_t>& shape, const std::vector<at::Generator>& generators, at::TensorOptions options);

/// The z of a step for the samples that want it. With one generator (or none) the whole batch's shape is drawn iff any
/// sample wants noise; with several, generator i is advanced iff sample i does, and the others' z is 0. Undefined if none
/// wants any.
at::Tensor draw_step_noise(const NoiseSource& source, const std::vector<bool>& wanted, at::IntArrayRef shape,
                           at::TensorOptions options);

}  // namespace nd
