#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/group_norm.h"
#include "kernels/step_row.h"

struct CUstream_st;

/// The CUDA kernels' launchers. Every pointer is to device memory. They only put work on the stream, so a CUDA graph
/// can capture them; they throw nd::Error where a launch fails. All arithmetic is in float32, and a sample's result depends
/// neither on its slot nor on the batch.
namespace nd::kernels::cuda {

using Stream = ::CUstream_st*;

enum class Element { f32, f16, bf16 };

/// One sample's step; see StepRow. The entries that fill up a batch are not active.
struct DeviceStep {
  StepRow row;
  float k = 1;  // dynamic thresholding's s, which divides the clipped x0
  LearnedVariance learned = LearnedVariance::none;
  bool active = false;
  bool draws_philox = false;  // z made in registers, where noise is null
  uint64_t seed = 0;
  uint32_t draw = 0;  // as in PhiloxKey
  int32_t timestep = 0;
  float* x = nullptr;            // x_t, [channels, pixels] dense, which x_s overwrites
  const float* noise = nullptr;  // z; null: none, or Philox's
  float* x0 = nullptr;           // where the predicted original sample goes, or null
};

/// The UNet's output, or its transpose; strides in elements. Its variance half, where learned, is channels C … 2C − 1.
struct ModelOutput {
  const void* data;
  Element element;
  int64_t sample_stride, channel_stride, pixel_stride;
};

/// The UNet's input: to[i] is steps[i].x as [pixels, channels], timesteps[i] its timestep; zeros where not active.
void gather_samples(const DeviceStep* steps, int64_t count, int64_t channels, int64_t pixels, Element element, void* to,
                    int64_t* timesteps, Stream stream);

/// Every active sample's step, in one pass over memory. The bits are those of kernels::fused_step on the CPU.
void fused_step(const DeviceStep* steps, int64_t count, int64_t channels, int64_t pixels, const ModelOutput& out,
                Stream stream);

/// Where a draw goes; as in PhiloxKey.
struct PhiloxDraw {
  float* to;
  uint64_t seed;
  uint32_t draw;
};
/// Each of the draws, of `numel` elements. The bits of kernels::philox_normal on the CPU.
void philox_normal(const PhiloxDraw* draws, int64_t count, int64_t numel, Stream stream);

/// kernels::group_norm_nhwc of x + add. x may lie in two tensors that are side by side in its channels: up blocks so need no
/// concatenation.
struct GroupNormCall {
  GroupNormShape shape;
  GroupNormParameters parameters;
  Element element;
  const float* add = nullptr;  // the convolution's bias and the time embedding, [batch, channels], or null
  int64_t add_stride = 0;      // 0: one row for the whole batch
  const void* second = nullptr;  // [batch, pixels, channels − first_channels], or null: x has all
  int64_t first_channels = 0;    // of x, where there is a second
  int64_t chunk_pixels = 0;      // at most; 0: all of them, or as many as a block holds
  int64_t most_cluster = 0;      // blocks that share an image at most; 0: as many as the device allows
};
/// Bytes of workspace that it takes: 0 where an image is one chunk.
size_t group_norm_workspace(const GroupNormCall& call, const void* x, const void* y);
/// y may be x, where there is no second; the workspace is aligned to 8 bytes.
void group_norm(const GroupNormCall& call, const void* x, void* y, void* workspace, Stream stream);

/// y = (conv + bias_c + residual)·scale over [pixels, channels]. bias: [channels], or null, and so may residual be; y may be
/// conv or residual.
void add_bias_residual(Element element, const void* conv, const float* bias, const void* residual, float scale, void* y,
                       int64_t pixels, int64_t channels, Stream stream);

/// An image in NHWC memory: a pixel is `pixel_bytes` bytes, whatever they mean.
struct PixelCall {
  int64_t batch, height, width, pixel_bytes;
};
/// y: [batch, 2·height, 2·width], every pixel of x four times.
void upsample_nearest(const PixelCall& call, const void* x, void* y, Stream stream);
/// y: [batch, height + 1, width + 1], x with zeros on the right and below.
void pad_right_below(const PixelCall& call, const void* x, void* y, Stream stream);

/// y: [batch, 2·height, 2·width], y[2i + a, 2j + b] = z[2a + b][i, j]. z: [4, batch, height, width].
void interleave_phases(const PixelCall& call, const void* z, void* y, Stream stream);

/// y[2i + a, 2j + b] = z[i + a, j + b, 2a + b] + bias: the four convolutions that are one of a doubled image. z: [batch,
/// height + 1, width + 1, 4, channels], y: [batch, 2·height, 2·width, channels].
void join_phases(Element element, const void* z, const float* bias, void* y, int64_t batch, int64_t height, int64_t width,
                 int64_t channels, Stream stream);

/// Products of an image, [batch, height, width, channels], with weights: [out_channels, kernel, kernel, channels], the outputs'
/// at multiples of weight_stride.
struct ConvolutionTerm {
  const void* x = nullptr;
  const void* weight = nullptr;
  int64_t channels = 0, weight_stride = 0;
};
constexpr int kMostTerms = 3;

struct ConvolutionExtents {
  int64_t batch, height, width;  // of the input
  int64_t out_height, out_width, out_channels;
  int kernel, stride, padding;  // padding: zeros above and on the left; as many after the last as the output wants
};

/// y = (Σ terms + bias + residual)·scale: the first term is the convolution, of as many zeros around its image as the output
/// wants; the others are 1×1, of images of the output's size.
struct SplitKConvolution {
  Element element;  // a half
  ConvolutionTerm terms[kMostTerms];
  ConvolutionExtents extents;  // of the first term
  bool doubles;                // every pixel of its image is four
  const float* bias;           // [out_channels], or null
  const void* residual;        // of y's shape, or null
  float scale;
  void* y;  // [batch, out_height, out_width, out_channels], which shares memory with none of the others
  int64_t blocks = 0;  // wanted at least, if the smallest tiles make as many; 0: most of what the device runs at once
};
/// Whether the kernel takes such a call: channels in multiples of 32, output channels of 8, all in places of 16 bytes.
bool split_k_serves(const SplitKConvolution& call);
/// For outputs so few that a GPU is not filled by them. Their bits depend on neither the batch nor the blocks. Weights and bias
/// must be there before anything that is on the stream now: they are read while the kernel before may still run.
void split_k_convolution(const SplitKConvolution& call, Stream stream);

/// y = conv(x) + bias. Weight and bias must be there early, as for split_k_convolution.
struct PlainConvolution {
  Element element;  // a half
  const void* x;    // [batch, height, width, channels]
  const void* weight;
  int64_t channels;
  ConvolutionExtents extents;
  const float* bias;  // [out_channels], or null
  void* y;            // [batch, out_height, out_width, out_channels]
  int64_t strip_rows = 0;  // of narrow_convolution's strips at most, and no more than 8; 0: as many as leave every processor some
};
constexpr int kThinProducts = 32, kThinOutputs = 32;
/// For so few channels that kernel²·channels ≤ 32, and output channels in multiples of 32. weight: [out_channels, 32], taps times
/// channels, then zeros.
bool thin_serves(const PlainConvolution& call);
void thin_convolution(const PlainConvolution& call, Stream stream);
constexpr int kNarrowOutputs = 8;
/// For 8 output channels: 3×3, with a zero around the image, and channels in multiples of 32, up to 608. weight: [8, 3, 3, channels].
/// The bits depend on neither the batch nor the strips.
bool narrow_serves(const PlainConvolution& call);
void narrow_convolution(const PlainConvolution& call, Stream stream);

/// to[i] = table[rows[i]], of `width` floats; NaN where there is no such row.
void gather_rows(const float* table, int64_t width, const int64_t* rows, int64_t count, int64_t table_rows, float* to,
                 Stream stream);

}  // namespace nd::kernels::cuda
