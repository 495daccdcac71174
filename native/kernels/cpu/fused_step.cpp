#include "kernels/fused_step.h"

#include <algorithm>

#include "kernels/cpu/fused_step_kernels.h"

namespace nd::kernels {

namespace {

const FusedStepKernels& kernels_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return avx512::fused_step_f32;
  if (isa == Isa::avx2) return avx2::fused_step_f32;
#endif
  return portable::fused_step_f32;
}

/// Elements a piece of work, a multiple of Philox's group; and the total below which a second thread costs more than it
/// saves.
constexpr int64_t kChunk = 1 << 14, kSerialElements = 1 << 14;

/// Calls work(sample, begin, end) for every chunk of every sample, on all cores.
template <typename Work>
void each_chunk(int64_t count, int64_t numel, const Work& work) {
  const int64_t chunks = (numel + kChunk - 1) / kChunk;
  [[maybe_unused]] const int threads = count * numel < kSerialElements ? 1 : available_threads();
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < count * chunks; ++i) {
    const int64_t begin = i % chunks * kChunk;
    work(i / chunks, begin, std::min(begin + kChunk, numel));
  }
}

}  // namespace

void fused_step_on(Isa isa, const SampleStep* samples, int64_t count, int64_t numel) {
  const FusedStepKernels& kernels = kernels_for(isa);
  each_chunk(count, numel, [&](int64_t sample, int64_t begin, int64_t end) { kernels.step(samples[sample], begin, end); });
}

void philox_normal_on(Isa isa, float* to, int64_t numel, PhiloxKey key) {
  const FusedStepKernels& kernels = kernels_for(isa);
  each_chunk(1, numel, [&](int64_t, int64_t begin, int64_t end) { kernels.normal(to, begin, end, key); });
}

void fused_step(const SampleStep* samples, int64_t count, int64_t numel) {
  fused_step_on(best_isa(), samples, count, numel);
}

void philox_normal(float* to, int64_t numel, PhiloxKey key) { philox_normal_on(best_isa(), to, numel, key); }

}  // namespace nd::kernels
