#include "core/sampling/noise_source.h"

#include <algorithm>

#include "core/errors.h"

namespace nd {
namespace {

at::Tensor randn_one(at::IntArrayRef shape, const std::optional<at::Generator>& generator, at::TensorOptions options) {
  const auto target = options.device();
  auto source = target;
  if (generator) {
    source = generator->device();
    if (source.type() != target.type() && source.type() != at::kCPU) {
      fail(ErrorCode::device, "generator must be on the CPU or on the tensor's device ", target.str(), ", got ", source.str());
    }
    if (source.type() == target.type()) source = target;
  }
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

/// A batch drawn sample by sample; samples that want none are 0 and leave their generator as it is.
at::Tensor randn_by_sample(at::IntArrayRef shape, const std::vector<at::Generator>& generators,
                           const std::vector<bool>& wanted, at::TensorOptions options) {
  auto one = shape.vec();
  one[0] = 1;
  std::vector<at::Tensor> samples;
  for (size_t i = 0; i < generators.size(); ++i) {
    samples.push_back(wanted[i] ? randn_one(one, generators[i], options) : at::zeros(one, options));
  }
  return at::cat(samples);
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
