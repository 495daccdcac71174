#include "kernels/cudnn_convolution.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/cudnn/Handle.h>
#include <c10/cuda/CUDAGuard.h>
#include <cudnn.h>

#include <memory>
#include <type_traits>

// cuDNN 9 calls this interface deprecated and keeps it; its successor's header is not part of cuDNN.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace nd::cuda {
namespace {

template <typename T, cudnnStatus_t (*kMake)(T*), cudnnStatus_t (*kDestroy)(T)>
class Descriptor {
 public:
  Descriptor() { made_ = kMake(&value_) == CUDNN_STATUS_SUCCESS; }
  ~Descriptor() {
    if (made_) kDestroy(value_);
  }
  Descriptor(const Descriptor&) = delete;
  operator T() const { return value_; }

 private:
  T value_ = nullptr;
  bool made_ = false;
};
using TensorDescriptor = Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor = Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor =
    Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;
using ActivationDescriptor =
    Descriptor<cudnnActivationDescriptor_t, cudnnCreateActivationDescriptor, cudnnDestroyActivationDescriptor>;

cudnnDataType_t type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kHalf: return CUDNN_DATA_HALF;
    case at::kBFloat16: return CUDNN_DATA_BFLOAT16;
    default: return CUDNN_DATA_FLOAT;
  }
}

cudnnMathType_t math_of(const at::Tensor& tensor) {
  if (tensor.scalar_type() != at::kFloat) return CUDNN_TENSOR_OP_MATH;
  const bool tf32 = at::globalContext().float32MatmulPrecision() != at::Float32MatmulPrecision::HIGHEST;
  return tf32 ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH;
}

/// Whether all went well; no call after one that did not.
class Status {
 public:
  template <typename Function, typename... Arguments>
  Status& then(Function function, const Arguments&... arguments) {
    if (good_) good_ = function(arguments...) == CUDNN_STATUS_SUCCESS;
    return *this;
  }
  bool good() const { return good_; }

 private:
  bool good_ = true;
};

void describe(Status& status, cudnnTensorDescriptor_t descriptor, const at::Tensor& tensor) {
  status.then(cudnnSetTensor4dDescriptor, descriptor, CUDNN_TENSOR_NHWC, type_of(tensor), static_cast<int>(tensor.size(0)),
              static_cast<int>(tensor.size(1)), static_cast<int>(tensor.size(2)), static_cast<int>(tensor.size(3)));
}

/// The only algorithm that cuDNN has without an activation.
constexpr auto kAlgorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;

}  // namespace

bool convolution_bias_residual(const FusedConvolution& call, const at::Tensor& y) {
  const c10::cuda::CUDAGuard guard(y.device());
  const auto handle = at::native::getCudnnHandle();
  TensorDescriptor x, out, bias;
  FilterDescriptor weight;
  ConvolutionDescriptor convolution;
  ActivationDescriptor identity;
  const int padding = static_cast<int>(call.padding), stride = static_cast<int>(call.stride);

  Status status;
  describe(status, x, call.x);
  describe(status, out, y);
  describe(status, bias, call.bias.view({1, -1, 1, 1}));
  status
      .then(cudnnSetFilter4dDescriptor, weight, type_of(call.weight), CUDNN_TENSOR_NHWC, static_cast<int>(call.weight.size(0)),
            static_cast<int>(call.weight.size(1)), static_cast<int>(call.weight.size(2)), static_cast<int>(call.weight.size(3)))
      .then(cudnnSetConvolution2dDescriptor, convolution, padding, padding, stride, stride, 1, 1, CUDNN_CROSS_CORRELATION,
            CUDNN_DATA_FLOAT)
      .then(cudnnSetConvolutionMathType, convolution, math_of(call.x))
      .then(cudnnSetActivationDescriptor, identity, CUDNN_ACTIVATION_IDENTITY, CUDNN_PROPAGATE_NAN, 0.0);
  size_t bytes = 0;
  status.then(cudnnGetConvolutionForwardWorkspaceSize, handle, x, weight, convolution, out, kAlgorithm, &bytes);
  if (!status.good()) return false;
  const auto workspace = at::empty({static_cast<int64_t>(bytes)}, y.options().dtype(at::kByte).memory_format(std::nullopt));

  const float one = 1;
  return cudnnConvolutionBiasActivationForward(
             handle, &one, x, call.x.const_data_ptr(), weight, call.weight.const_data_ptr(), convolution, kAlgorithm,
             bytes == 0 ? nullptr : workspace.mutable_data_ptr(), bytes, &one, out, call.residual.const_data_ptr(), bias,
             call.bias.const_data_ptr(), identity, out, y.mutable_data_ptr()) == CUDNN_STATUS_SUCCESS;
}

}  // namespace nd::cuda
