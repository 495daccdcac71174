#pragma once

#include "core/unet/measured_way.h"
#include "core/unet/parameters.h"
#include "kernels/conv3x3.h"

#include <memory>
#include <string>
#include <variant>

namespace nd {

struct ConvShape {
  int64_t in;
  int64_t out;
  int64_t kernel;
  int64_t stride = 1;
  int64_t padding = 0;
};

/// Height and width of the activations that a layer mostly sees: what weights are laid out for. Others work too.
struct ImageSize {
  int64_t height;
  int64_t width;
  ImageSize halved() const { return {(height + 1) / 2, (width + 1) / 2}; }
  ImageSize doubled() const { return {height * 2, width * 2}; }
};

/// [out].
struct ConvolutionBias {
  at::Tensor values;  // in the model's dtype; undefined in an empty shell
  at::Tensor floats;  // the same in float32
};

/// What a convolution does with its sums before it writes them: y = (conv(x) + bias + offset + residual)/divisor.
struct Epilogue {
  at::Tensor offset = {};    // [B, out], undefined for none
  at::Tensor residual = {};  // of the output's shape, undefined for none
  bool into_residual = false;  // y may be written over the residual: nobody else holds it
  double divisor = 1;
  const ConvolutionBias* bias = nullptr;  // in place of the layer's own, where the kernels of CUDA serve
};

/// A convolution whose weights lie once in memory, in the form that the fastest way of this device and dtype wants: our own
/// Winograd kernel for 3×3 on the CPU, oneDNN's prepacked convolution for the rest there, cuDNN's and cuBLAS's products with
/// an epilogue of our own on CUDA, libtorch's plain one elsewhere.
class Convolution {
 public:
  /// weight [out, in, k, k] and bias [out], in the target's dtype and on its device; undefined ones make an empty shell.
  Convolution(const at::Tensor& weight, const at::Tensor& bias, ConvShape shape, ModelTarget target, ImageSize size);
  /// Takes `weight` and `bias` of the scope, and keeps them for it.
  static std::shared_ptr<const Convolution> take(const Scope& scope, ConvShape shape, ImageSize size);

  /// x: [B, in, H, W] in NHWC memory, and so is the result.
  at::Tensor operator()(const at::Tensor& x, const Epilogue& epilogue = {}) const;

  /// conv(x) alone, where the kernels of CUDA serve: what reads it next adds the bias.
  at::Tensor without_bias(const at::Tensor& x) const;
  /// The same of two side by side in their channels; a 1×1 convolution's.
  at::Tensor without_bias_of_two(const at::Tensor& x, const at::Tensor& second) const;
  /// The weight as it was given, row-major.
  at::Tensor weight() const;
  const ConvolutionBias& bias() const { return bias_; }

 private:
  template <typename T>
  at::Tensor winograd(const kernels::Conv3x3Weights<T>& weights, const at::Tensor& x, const Epilogue& epilogue) const;
  at::Tensor onednn(const at::Tensor& x, const Epilogue& epilogue) const;
  at::Tensor on_cuda(const at::Tensor& x, const Epilogue& epilogue) const;
  at::Tensor plain(const at::Tensor& x, const Epilogue& epilogue) const;
  /// Whether it is a product over the pixels, whose channels lie side by side.
  bool is_product() const { return shape_.kernel == 1 && shape_.stride == 1 && shape_.padding == 0; }
  at::Tensor weight_columns(int64_t first, int64_t count) const;

  template <typename T>
  using WinogradWeights = std::unique_ptr<const kernels::Conv3x3Weights<T>>;
  struct OneDnnWeight {
    at::Tensor packed;
  };
  struct CudaWeight {
    at::Tensor channels_last;
    std::unique_ptr<MeasuredWay> epilogue;  // ours, or cuDNN's
    at::Tensor widened;                     // with zeros for more input channels, or undefined
    std::unique_ptr<MeasuredWay> width;     // as it is, or widened
  };
  struct PlainWeight {
    at::Tensor channels_last;
  };

  ConvShape shape_;
  at::ScalarType dtype_;
  ConvolutionBias bias_;
  std::variant<std::monostate, WinogradWeights<float>, WinogradWeights<uint16_t>, OneDnnWeight, CudaWeight, PlainWeight>
      weight_;
};

using ConvolutionPtr = std::shared_ptr<const Convolution>;

/// libtorch's convolution or its transpose, without a bias: TF32 only where allow_tf32 has it, algorithms measured while
/// cuda::MeasuredAlgorithms lives on this thread.
at::Tensor conv2d_as_set(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding, int64_t groups = 1,
                        bool transposed = false);

/// torch's default for a layer of so many inputs a unit: U(±1/√fan_in), for the weight (kaiming_uniform_ with a = √5) and
/// the bias alike.
Init fan_in_weight_init(int64_t fan_in);
Init fan_in_bias_init(int64_t fan_in);

}  // namespace nd
