#include "kernels/cuda_ops.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>

#include "core/errors.h"

namespace nd::cuda {
namespace {

namespace launch = kernels::cuda;

launch::Element element_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return launch::Element::f32;
    case at::kHalf: return launch::Element::f16;
    case at::kBFloat16: return launch::Element::bf16;
    default: fail(ErrorCode::dtype, "the CUDA kernels take float32, float16 and bfloat16, got ", tensor.scalar_type());
  }
}

launch::Stream stream() { return at::cuda::getCurrentCUDAStream().stream(); }

void check_nhwc(const at::Tensor& tensor) {
  if (tensor.is_contiguous(at::MemoryFormat::ChannelsLast)) return;
  fail(ErrorCode::shape, "NHWC memory is wanted, got strides ", tensor.strides());
}

kernels::GroupNormShape shape_of(const at::Tensor& x, int64_t groups) {
  return {x.size(0), x.size(2) * x.size(3), x.size(1), groups};
}

launch::PixelCall pixels_of(const at::Tensor& x) {
  check_nhwc(x);
  return {x.size(0), x.size(2), x.size(3), x.size(1) * static_cast<int64_t>(x.element_size())};
}

/// An empty one of x's batch, dtype and device.
at::Tensor image_of(const at::Tensor& x, int64_t channels, int64_t height, int64_t width) {
  return at::empty({x.size(0), channels, height, width}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
}

}  // namespace

bool serves(at::Device device, at::ScalarType dtype) {
  if (!device.is_cuda() || (dtype != at::kFloat && dtype != at::kHalf && dtype != at::kBFloat16)) return false;
  // The kernels are compiled for Ampere and what came after it.
  return at::cuda::getDeviceProperties(device.index())->major >= 8;
}

ChannelRows channel_rows(const at::Tensor& rows, int64_t column) {
  if (!rows.defined()) return {};
  return {rows.const_data_ptr<float>() + column, rows.size(0) == 1 ? 0 : rows.stride(0)};
}

void group_norm(const at::Tensor& x, const at::Tensor& second, const at::Tensor& y, ChannelRows add, int64_t groups,
                const kernels::GroupNormParameters& parameters) {
  const c10::cuda::CUDAGuard guard(x.device());
  check_nhwc(x);
  check_nhwc(y);
  launch::GroupNormCall call{shape_of(y, groups), parameters, element_of(x), add.first, add.stride};
  if (second.defined()) {
    check_nhwc(second);
    if (x.size(0) != second.size(0) || x.size(2) != second.size(2) || x.size(3) != second.size(3) ||
        x.size(1) + second.size(1) != y.size(1)) {
      fail(ErrorCode::shape, "group_norm: ", x.sizes(), " and ", second.sizes(), " side by side are no ", y.sizes());
    }
    call.second = second.const_data_ptr();
    call.first_channels = x.size(1);
  }
  const auto bytes = static_cast<int64_t>(launch::group_norm_workspace(call, x.const_data_ptr(), y.const_data_ptr()));
  const auto workspace = bytes == 0 ? at::Tensor() : at::empty({bytes}, x.options().dtype(at::kByte));
  launch::group_norm(call, x.const_data_ptr(), y.mutable_data_ptr(), bytes == 0 ? nullptr : workspace.mutable_data_ptr(),
                     stream());
}

void add_bias_residual_(const at::Tensor& y, const at::Tensor& bias, const at::Tensor& residual, float scale) {
  const c10::cuda::CUDAGuard guard(y.device());
  check_nhwc(y);
  if (residual.defined()) check_nhwc(residual);
  const auto [batch, pixels, channels, groups] = shape_of(y, 1);
  launch::add_bias_residual(element_of(y), y.const_data_ptr(), bias.const_data_ptr<float>(),
                            residual.defined() ? residual.const_data_ptr() : nullptr, scale, y.mutable_data_ptr(),
                            batch * pixels, channels, stream());
}

at::Tensor upsample_nearest(const at::Tensor& x) {
  const c10::cuda::CUDAGuard guard(x.device());
  const auto y = image_of(x, x.size(1), 2 * x.size(2), 2 * x.size(3));
  launch::upsample_nearest(pixels_of(x), x.const_data_ptr(), y.mutable_data_ptr(), stream());
  return y;
}

at::Tensor pad_right_below(const at::Tensor& x) {
  const c10::cuda::CUDAGuard guard(x.device());
  const auto y = image_of(x, x.size(1), x.size(2) + 1, x.size(3) + 1);
  launch::pad_right_below(pixels_of(x), x.const_data_ptr(), y.mutable_data_ptr(), stream());
  return y;
}

at::Tensor interleave_phases(const at::Tensor& z) {
  const c10::cuda::CUDAGuard guard(z.device());
  check_nhwc(z);
  const auto phase = z.narrow(0, 0, z.size(0) / 4);
  const auto y = image_of(phase, z.size(1), 2 * z.size(2), 2 * z.size(3));
  launch::interleave_phases(pixels_of(phase), z.const_data_ptr(), y.mutable_data_ptr(), stream());
  return y;
}

at::Tensor join_phases(const at::Tensor& z, const at::Tensor& bias) {
  const c10::cuda::CUDAGuard guard(z.device());
  check_nhwc(z);
  const int64_t batch = z.size(0), channels = z.size(1) / 4, height = z.size(2) - 1, width = z.size(3) - 1;
  const auto y = image_of(z, channels, 2 * height, 2 * width);
  launch::join_phases(element_of(z), z.const_data_ptr(), bias.const_data_ptr<float>(), y.mutable_data_ptr(), batch, height,
                      width, channels, stream());
  return y;
}

void philox_normal(const std::vector<launch::PhiloxDraw>& draws, int64_t numel, at::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  const auto bytes = static_cast<int64_t>(draws.size() * sizeof(launch::PhiloxDraw));
  const auto there = send(at::from_blob(const_cast<launch::PhiloxDraw*>(draws.data()), {bytes}, at::kByte), device);
  launch::philox_normal(static_cast<const launch::PhiloxDraw*>(there.const_data_ptr()), static_cast<int64_t>(draws.size()), numel,
                        stream());
}

at::Tensor gather_rows(const at::Tensor& table, const at::Tensor& rows) {
  const c10::cuda::CUDAGuard guard(table.device());
  const auto to = at::empty({rows.size(0), table.size(1)}, table.options());
  launch::gather_rows(table.const_data_ptr<float>(), table.size(1), rows.const_data_ptr<int64_t>(), rows.size(0),
                      table.size(0), to.mutable_data_ptr<float>(), stream());
  return to;
}

void gather_samples(DeviceSteps steps, const at::Tensor& x, const at::Tensor& timesteps) {
  const c10::cuda::CUDAGuard guard(x.device());
  check_nhwc(x);
  launch::gather_samples(steps.first, steps.count, x.size(1), x.size(2) * x.size(3), element_of(x), x.mutable_data_ptr(),
                         timesteps.mutable_data_ptr<int64_t>(), stream());
}

void fused_step(DeviceSteps steps, int64_t channels, const at::Tensor& out) {
  const c10::cuda::CUDAGuard guard(out.device());
  const int64_t height = out.size(2), width = out.size(3);
  // One stride for both dimensions of the image.
  const auto dense = out.stride(2) == width * out.stride(3) ? out : out.contiguous();
  const launch::ModelOutput output{dense.const_data_ptr(), element_of(dense), dense.stride(0), dense.stride(1), dense.stride(3)};
  launch::fused_step(steps.first, steps.count, channels, height * width, output, stream());
}

StepBuffer::StepBuffer(int64_t count, at::Device device) : count_(count) {
  const auto bytes = count * static_cast<int64_t>(sizeof(launch::DeviceStep));
  for (auto& host : host_) host = at::zeros({bytes}, at::dtype(at::kByte).pinned_memory(true));
  device_ = at::empty({bytes}, at::dtype(at::kByte).device(device));
}

launch::DeviceStep& StepBuffer::operator[](int64_t i) {
  return static_cast<launch::DeviceStep*>(host_[turn_].mutable_data_ptr())[i];
}

DeviceSteps StepBuffer::on_device() const {
  return {static_cast<const launch::DeviceStep*>(device_.const_data_ptr()), count_};
}

void StepBuffer::send() {
  device_.copy_(host_[turn_], /*non_blocking=*/true);
  turn_ = 1 - turn_;
}

at::Tensor send(const at::Tensor& tensor, at::Device device) {
  return tensor.pin_memory().to(device, tensor.scalar_type(), /*non_blocking=*/true);
}

}  // namespace nd::cuda
