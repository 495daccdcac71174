#include "core/sampling/noise_source.h"

#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>

#include <algorithm>
#include <unordered_map>

#include "core/errors.h"

namespace nd {
namespace {

/// Where a generator's numbers for `target` are made.
at::Device source_device(const at::Generator& generator, at::Device target) {
  const auto source = generator.device();
  if (source.type() == target.type()) return target;
  if (source.type() == at::kCPU) return source;
  fail(ErrorCode::device, "generator must be on the CPU or on the tensor's device ", target.str(), ", got ", source.str());
}

at::Tensor randn_one(at::IntArrayRef shape, const std::optional<at::Generator>& generator, at::TensorOptions options) {
  const auto target = options.device();
  const auto source = generator ? source_device(*generator, target) : target;
  return at::randn(shape, generator, options.device(source)).to(target);
}

std::optional<at::Generator> only(const std::vector<at::Generator>& generators) {
  return generators.empty() ? std::nullopt : std::optional(generators.front());
}

void check_matches_batch(const std::vector<at::Generator>& generators, int64_t batch) {
  if (generators.size() > 1 && static_cast<int64_t>(generators.size()) != batch) {
    fail(ErrorCode::argument, "generator must be one generator or a list of one per sample (", batch, "), got ",
         generators.size());
  }
}

/// The samples of each distinct generator that are wanted, in their order.
std::vector<std::vector<size_t>> samples_by_generator(const std::vector<at::Generator>& generators,
                                                      const std::vector<bool>& wanted) {
  std::vector<std::vector<size_t>> groups;
  std::unordered_map<const void*, size_t> group_of;
  for (size_t i = 0; i < generators.size(); ++i) {
    if (!wanted[i]) continue;
    const auto [found, is_new] = group_of.try_emplace(generators[i].unsafeGetGeneratorImpl(), groups.size());
    if (is_new) groups.emplace_back();
    groups[found->second].push_back(i);
  }
  return groups;
}

/// Below this many numbers a second thread costs more than it saves.
constexpr int64_t kSerialNumbers = 1 << 13;

/// A batch drawn sample by sample into its slices; samples that want none are 0 and leave their generator as it is. On
/// the CPU generators draw side by side, one that stands in the list twice for its samples in turn. Into a slice normal_
/// draws what randn draws: both look at the number of elements alone.
at::Tensor randn_by_sample(at::IntArrayRef shape, const std::vector<at::Generator>& generators,
                           const std::vector<bool>& wanted, at::TensorOptions options) {
  const auto target = options.device();
  for (const auto& generator : generators) source_device(generator, target);
  const auto batch = at::empty(shape, options);
  const auto slices = batch.unbind(0);
  for (size_t i = 0; i < slices.size(); ++i) {
    if (!wanted[i]) slices[i].zero_();
  }
  const auto groups = samples_by_generator(generators, wanted);
  const auto draw = [&](size_t group) {
    for (const size_t i : groups[group]) {
      if (generators[i].device().type() == target.type()) {
        slices[i].normal_(0, 1, generators[i]);
      } else {
        slices[i].copy_(at::randn(slices[i].sizes(), generators[i], options.device(at::kCPU)));
      }
    }
  };
  if (!target.is_cpu() || batch.numel() < kSerialNumbers) {
    for (size_t group = 0; group < groups.size(); ++group) draw(group);
    return batch;
  }
  at::parallel_for(0, static_cast<int64_t>(groups.size()), 1, [&, state = at::ThreadLocalState()](int64_t begin, int64_t end) {
    const at::ThreadLocalStateGuard guard(state);  // the caller's inference mode
    for (int64_t group = begin; group < end; ++group) draw(static_cast<size_t>(group));
  });
  return batch;
}

}  // namespace

at::Tensor randn(const std::vector<int64_t>& shape, const std::vector<at::Generator>& generators,
                 at::TensorOptions options) {
  if (generators.size() <= 1) return randn_one(shape, only(generators), options);
  if (shape.empty()) fail(ErrorCode::shape, "shape must have a batch dimension for a list of generators, got []");
  check_matches_batch(generators, shape.front());
  return randn_by_sample(shape, generators, std::vector<bool>(generators.size(), true), options);
}

at::Tensor draw_step_noise(const NoiseSource& source, const std::vector<bool>& wanted, at::IntArrayRef shape,
                           at::TensorOptions options) {
  check_matches_batch(source.generators, shape.front());
  if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return {};
  if (source.given.defined()) return source.given;
  if (source.generators.size() <= 1) return randn_one(shape, only(source.generators), options);
  return randn_by_sample(shape, source.generators, wanted, options);
}

}  // namespace nd
