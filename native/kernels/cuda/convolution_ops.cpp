#include "kernels/cuda_convolutions.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>

#include <array>
#include <atomic>

#include "kernels/cuda/kernels.h"

namespace nd::cuda {
namespace {

namespace launch = kernels::cuda;

/// Of what a processor does, beyond which tiles for a whole GPU are faster without question.
constexpr int64_t kMostOutputsOfProcessor = 8192;
/// Where the tiles of others are filled: fewer channels are served at any size.
constexpr int64_t kManyOutputs = 32;

bool is_half(at::ScalarType dtype) { return dtype == at::kHalf || dtype == at::kBFloat16; }

/// Of a half.
launch::Element half_of(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kHalf ? launch::Element::f16 : launch::Element::bf16;
}
std::atomic<int> libraries_alone = 0;

const void* address_of(const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr() : nullptr; }
const float* floats_of(const at::Tensor& tensor) { return static_cast<const float*>(address_of(tensor)); }

bool fits(const at::Tensor& tensor, at::ScalarType dtype) {
  return tensor.scalar_type() == dtype && tensor.is_contiguous(at::MemoryFormat::ChannelsLast);
}

/// Whether there is none, or it has y's batch, height and width.
bool goes_with(const at::Tensor& image, const at::Tensor& y) {
  return !image.defined() || (fits(image, y.scalar_type()) && image.size(0) == y.size(0) && image.size(2) == y.size(2) &&
                              image.size(3) == y.size(3));
}

bool fits(const SplitKCall& call, const at::Tensor& y) {
  const auto dtype = y.scalar_type();
  const auto channels = [](const at::Tensor& tensor) { return tensor.defined() ? tensor.size(1) : 0; };
  const bool past_fits = !call.past.x.defined() || (call.past.weight.scalar_type() == dtype && call.past.weight.size(0) == y.size(1) &&
                                                    call.past.weight.size(1) == channels(call.past.x) + channels(call.past.second));
  return is_half(dtype) && fits(call.x, dtype) && fits(call.weight, dtype) && fits(y, dtype) &&
         call.x.size(0) == y.size(0) && call.weight.size(0) == y.size(1) && call.weight.size(1) == call.x.size(1) &&
         (!call.residual.defined() || channels(call.residual) == y.size(1)) && past_fits && goes_with(call.residual, y) &&
         goes_with(call.past.x, y) && goes_with(call.past.second, y);
}

launch::ConvolutionExtents extents_of(const at::Tensor& x, const at::Tensor& y, int64_t kernel, int64_t stride, int64_t padding) {
  return {x.size(0), x.size(2), x.size(3), y.size(2), y.size(3), y.size(1),
          static_cast<int>(kernel), static_cast<int>(stride), static_cast<int>(padding)};
}

/// The columns of `weight` from `first` on that belong to x. A term of no image: none.
launch::ConvolutionTerm term(const at::Tensor& x, const at::Tensor& weight, int64_t first = 0) {
  if (!x.defined()) return {};
  const auto* const columns = static_cast<const char*>(weight.const_data_ptr()) + first * weight.element_size();
  return {x.const_data_ptr(), columns, x.size(1), weight.stride(0)};
}

/// By a kernel for few channels or outputs.
bool plain_convolution(const PlainCall& call, const at::Tensor& y, bool (*serves)(const launch::PlainConvolution&),
                       void (*run)(const launch::PlainConvolution&, launch::Stream)) {
  const auto dtype = y.scalar_type();
  if (libraries_alone > 0 || !is_half(dtype) || !fits(call.x, dtype) || !fits(y, dtype) || !call.weight.defined() ||
      call.weight.scalar_type() != dtype || call.weight.size(0) != y.size(1) || call.x.size(0) != y.size(0)) {
    return false;
  }
  const c10::cuda::CUDAGuard guard(y.device());
  const launch::PlainConvolution kernel{
      .element = half_of(y), .x = call.x.const_data_ptr(), .weight = call.weight.const_data_ptr(),
      .channels = call.x.size(1), .extents = extents_of(call.x, y, call.kernel, call.stride, call.padding),
      .bias = floats_of(call.bias), .y = y.mutable_data_ptr()};
  if (!serves(kernel)) return false;
  run(kernel, at::cuda::getCurrentCUDAStream().stream());
  return true;
}

}  // namespace

bool split_k_convolution(const SplitKCall& call, const at::Tensor& y) {
  if (libraries_alone > 0 || !fits(call, y)) return false;
  const c10::cuda::CUDAGuard guard(y.device());
  const int64_t most = kMostOutputsOfProcessor * at::cuda::getCurrentDeviceProperties()->multiProcessorCount;
  if (y.numel() > most && y.size(1) >= kManyOutputs) return false;
  const PointwiseTerm& past = call.past;
  launch::SplitKConvolution kernel{
      .element = half_of(y),
      .terms = {term(call.x, call.weight), term(past.x, past.weight),
                past.second.defined() ? term(past.second, past.weight, past.x.size(1)) : launch::ConvolutionTerm{}},
      .extents = extents_of(call.x, y, call.weight.size(2), call.stride, call.padding), .doubles = call.doubles,
      .bias = floats_of(call.bias), .residual = address_of(call.residual), .scale = call.scale, .y = y.mutable_data_ptr()};
  if (!launch::split_k_serves(kernel)) return false;
  launch::split_k_convolution(kernel, at::cuda::getCurrentCUDAStream().stream());
  return true;
}

at::Tensor thin_weight(const at::Tensor& weight) {
  const auto rows = weight.permute({0, 2, 3, 1}).reshape({weight.size(0), -1});
  if (!is_half(weight.scalar_type()) || rows.size(1) > launch::kThinProducts || rows.size(0) % launch::kThinOutputs != 0) return {};
  return at::constant_pad_nd(rows, {0, launch::kThinProducts - rows.size(1)}).contiguous();
}

bool thin_convolution(const PlainCall& call, const at::Tensor& y) {
  return plain_convolution(call, y, launch::thin_serves, launch::thin_convolution);
}

static_assert(narrow_outputs == launch::kNarrowOutputs);
bool narrow_convolution(const PlainCall& call, const at::Tensor& y) {
  const std::array sizes{y.size(1), call.x.size(1), call.kernel, call.kernel};
  return call.weight.defined() && call.weight.sizes() == at::IntArrayRef(sizes) && fits(call.weight, y.scalar_type()) &&
         plain_convolution(call, y, launch::narrow_serves, launch::narrow_convolution);
}

LibrariesAlone::LibrariesAlone() { ++libraries_alone; }
LibrariesAlone::~LibrariesAlone() { --libraries_alone; }

}  // namespace nd::cuda
