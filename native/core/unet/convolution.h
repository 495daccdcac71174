#pragma once

#include "core/unet/parameters.h"
#include "kernels/conv3x3.h"

#include <memory>
#include <string>
#include <variant>

namespace nd {

/// What is done to an image before it is convolved: zeros for a column on the right and a row below, or nearest neighbours.
enum class Before { nothing, zeros_right_below, doubling };

struct ConvShape {
  int64_t in;
  int64_t out;
  int64_t kernel;
  int64_t stride = 1;
  int64_t padding = 0;
  Before before = Before::nothing;
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

class CudaConvolution;

/// A convolution whose weights lie once in memory, in the form that the fastest way of this device and dtype wants: our own
/// Winograd kernel for 3×3 on the CPU, oneDNN's prepacked convolution for the rest there, the fastest of cuDNN's, cuBLAS's and
/// our own on CUDA, libtorch's plain one elsewhere.
class Convolution {
 public:
  /// weight [out, in, k, k] and bias [out], in the target's dtype and on its device; undefined ones make an empty shell.
  Convolution(const at::Tensor& weight, const at::Tensor& bias, ConvShape shape, ModelTarget target, ImageSize size);
  ~Convolution();
  /// Takes `weight` and `bias` of the scope, and keeps them for it.
  static std::shared_ptr<const Convolution> take(const Scope& scope, ConvShape shape, ImageSize size);

  /// x: [B, in, H, W] in NHWC memory, before what shape.before says; NHWC too is the result, or the first channels of a wider one.
  at::Tensor operator()(const at::Tensor& x, const Epilogue& epilogue = {}) const;

  /// conv(x) alone, where the kernels of CUDA serve: what reads it next adds the bias.
  at::Tensor without_bias(const at::Tensor& x) const;
  /// The same of two side by side in their channels; a 1×1 convolution's.
  at::Tensor without_bias_of_two(const at::Tensor& x, const at::Tensor& second) const;
  /// conv(x), finished as said, + the shortcut without its bias of `past`, and of `second` beside it where that is defined.
  at::Tensor with_shortcut(const at::Tensor& x, const Convolution& shortcut, const at::Tensor& past, const at::Tensor& second,
                           const Epilogue& epilogue) const;
  /// The weight as it was given, row-major.
  at::Tensor weight() const;
  const ConvolutionBias& bias() const { return bias_; }

 private:
  template <typename T>
  at::Tensor winograd(const kernels::Conv3x3Weights<T>& weights, const at::Tensor& x, const Epilogue& epilogue) const;
  at::Tensor onednn(const at::Tensor& x, const Epilogue& epilogue) const;
  at::Tensor plain(const at::Tensor& x, const Epilogue& epilogue) const;
  template <typename T>
  using WinogradWeights = std::unique_ptr<const kernels::Conv3x3Weights<T>>;
  struct OneDnnWeight {
    at::Tensor packed;
  };
  using CudaWeight = std::unique_ptr<const CudaConvolution>;
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

/// x after what is done to it before it is convolved.
at::Tensor prepared(const at::Tensor& x, Before before);

/// libtorch's convolution or its transpose, without a bias: TF32 only where allow_tf32 has it, algorithms measured while
/// cuda::MeasuredAlgorithms lives on this thread.
at::Tensor conv2d_as_set(const at::Tensor& x, const at::Tensor& weight, int64_t stride, int64_t padding, int64_t groups = 1,
                        bool transposed = false);

/// torch's default for a layer of so many inputs a unit: U(±1/√fan_in), for the weight (kaiming_uniform_ with a = √5) and
/// the bias alike.
Init fan_in_weight_init(int64_t fan_in);
Init fan_in_bias_init(int64_t fan_in);

}  // namespace nd
