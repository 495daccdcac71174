#include "unet_parts.h"

#include <ATen/ATen.h>

#include <map>
#include <sstream>

#include "core/unet/block_layout.h"
#include "core/unet/onednn_ops.h"
#include "core/unet/time_embedding.h"
#include "kernels/attention.h"
#include "kernels/scratch.h"

namespace nd::bench {
namespace {

using Kind = UNetLayer::Kind;

/// What comes after the size of the image.
template <typename... Parts>
std::string describe(ImageSize size, const Parts&... parts) {
  std::ostringstream text;
  text << size.height;
  if (size.height == size.width) {
    text << "² ";
  } else {
    text << "×" << size.width << " ";
  }
  (text << ... << parts);
  return text.str();
}

/// Makes the layers and inputs of one part.
class Maker {
 public:
  explicit Maker(const UNetCase& unet)
      : unet_(unet), parameters_(random_parameters(at::detail::createCPUGenerator(0), unet.target)) {}

  Scope scope(const std::string& name) const { return Scope(*parameters_) / name; }
  ConvolutionPtr convolution(const std::string& name, ConvShape shape, ImageSize size) const {
    return Convolution::take(scope(name), shape, size);
  }
  at::Tensor random(at::IntArrayRef shape) const { return at::randn(shape).to(unet_.target.dtype); }

  /// Activations, [B, channels, H, W] in NHWC memory; the same for the same size.
  at::Tensor input(int64_t channels, ImageSize size) {
    auto& x = inputs_[{channels, size.height, size.width}];
    if (!x.defined()) x = random({unet_.batch, channels, size.height, size.width}).contiguous(at::MemoryFormat::ChannelsLast);
    return x;
  }

 private:
  const UNetCase& unet_;
  std::shared_ptr<Parameters> parameters_;
  std::map<std::array<int64_t, 3>, at::Tensor> inputs_;
};

/// Ways to do something with x, which the layer before has just written.
Job job_on(const at::Tensor& x, std::string shape, std::vector<std::function<at::Tensor()>> ways) {
  Job job{std::move(shape), {}};
  for (auto& way : ways) job.arms.push_back({[x] { x.sum(); }, std::move(way)});
  return job;
}

/// libtorch's convolution, which lays its weights out anew in each call.
std::function<at::Tensor()> plain(const at::Tensor& x, const Convolution& layer, ConvShape shape) {
  return [x, shape, weight = layer.weight().contiguous(at::MemoryFormat::ChannelsLast), bias = layer.bias().values] {
    return at::conv2d(x, weight, bias, shape.stride, shape.padding);
  };
}

bool is_winograds(const ConvShape& shape) { return shape.kernel == 3 && shape.stride == 1; }

/// [B, C, H, W] in NHWC memory as [B, HW, C].
at::Tensor tokens(const at::Tensor& x) { return x.permute({0, 2, 3, 1}).flatten(1, 2); }

/// to_q, to_k and to_v: three linear layers, or one convolution for them all.
Job query_key_value(const at::Tensor& x, const UNetLayer& layer, const ConvolutionPtr& together) {
  const auto weights = together->weight().flatten(1).chunk(3), biases = together->bias().values.chunk(3);
  const auto one_by_one = [=, rows = tokens(x)] {
    const auto q = at::linear(rows, weights[0], biases[0]);
    at::linear(rows, weights[1], biases[1]);
    at::linear(rows, weights[2], biases[2]);
    return q;
  };
  const auto at_once = [=] { return tokens((*together)(x)).narrow(2, 0, layer.shape.out); };
  return job_on(x, describe(layer.size, layer.shape.in, " → 3·", layer.shape.out), {one_by_one, at_once});
}

Job attention_output(const at::Tensor& x, const UNetLayer& layer, const ConvolutionPtr& out) {
  const auto linear = [rows = tokens(x), weight = out->weight().flatten(1), bias = out->bias().values] {
    return at::linear(rows, weight, bias);
  };
  return job_on(x, describe(layer.size, layer.shape.out, " → ", layer.shape.in, " linear"),
                {linear, [=] { return tokens((*out)(x)); }});
}

template <typename T>
at::Tensor own_attention(const at::Tensor& qkv, kernels::AttentionShape shape) {
  auto y = at::empty({shape.batch, shape.tokens, shape.heads, shape.head_dim}, qkv.options());
  kernels::attention_nhwc<T>(static_cast<const T*>(qkv.const_data_ptr()), static_cast<T*>(y.mutable_data_ptr()), shape,
                             kernels::Scratch::of_this_thread());
  return y;
}

at::Tensor plain_attention(const at::Tensor& qkv) {
  const auto parts = qkv.permute({2, 0, 3, 1, 4}).unbind();
  return at::scaled_dot_product_attention(parts[0], parts[1], parts[2]).transpose(1, 2).contiguous();
}

}  // namespace

Part convolutions_3x3(const UNetCase& unet) {
  Maker make(unet);
  Part part{"3×3 convolutions", {"libtorch", "oneDNN packed", "ours"}, {}};
  for (const auto& layer : unet.layers) {
    if (layer.kind != Kind::convolution || !is_winograds(layer.shape)) continue;
    const auto x = make.input(layer.shape.in, layer.size);
    const auto own = make.convolution(layer.name, layer.shape, layer.size);
    const onednn::ConvGeometry geometry{layer.shape.stride, layer.shape.padding};
    const auto packed = [=, weight = onednn::pack(own->weight(), geometry, x.sizes())] {
      return onednn::convolution(x, weight, own->bias().values, geometry);
    };
    part.jobs.push_back(job_on(x, describe(layer.size, layer.shape.in, " → ", layer.shape.out),
                               {plain(x, *own, layer.shape), packed, [=] { return (*own)(x); }}));
  }
  return part;
}

Part products(const UNetCase& unet) {
  Maker make(unet);
  Part part{"1×1, strided and linear", {"libtorch", "ours"}, {}};
  for (const auto& layer : unet.layers) {
    const auto [in, out] = std::pair{layer.shape.in, layer.shape.out};
    if (layer.kind == Kind::convolution && !is_winograds(layer.shape)) {
      const auto x = make.input(in, layer.size);
      const auto own = make.convolution(layer.name, layer.shape, layer.size);
      const auto shape = describe(layer.size, in, " → ", out, layer.shape.stride == 2 ? " strided" : "");
      part.jobs.push_back(job_on(x, shape, {plain(x, *own, layer.shape), [=] { return (*own)(x); }}));
    } else if (layer.kind == Kind::attention) {
      part.jobs.push_back(query_key_value(make.input(in, layer.size), layer,
                                          make.convolution(layer.name + ".to_qkv", {in, 3 * out, 1}, layer.size)));
      part.jobs.push_back(attention_output(make.input(out, layer.size), layer,
                                           make.convolution(layer.name + ".to_out.0", {out, in, 1}, layer.size)));
    }
  }
  return part;
}

Part norms(const UNetCase& unet) {
  Maker make(unet);
  Part part{"GroupNorm and SiLU", {"libtorch", "ours"}, {}};
  for (const auto& layer : unet.layers) {
    if (layer.kind != Kind::norm) continue;
    const auto channels = layer.shape.in, groups = norm_groups(unet.config, channels);
    const bool silu = layer.last() != "group_norm";
    const auto x = make.input(channels, layer.size);
    const auto two_passes = [=, eps = unet.config.norm_eps, weight = at::ones(channels, x.options()),
                             bias = at::zeros(channels, x.options())] {
      const auto y = at::group_norm(x, groups, weight, bias, eps);
      return silu ? at::silu(y) : y;
    };
    const auto own = std::make_shared<const GroupNorm>(
        make.scope(layer.name), channels, groups, unet.config.norm_eps,
        silu ? std::optional(Activation::silu) : std::nullopt);
    part.jobs.push_back(job_on(x, describe(layer.size, channels, silu ? "" : " without SiLU"),
                               {two_passes, [=] { return (*own)(x); }}));
  }
  return part;
}

Part attentions(const UNetCase& unet) {
  Maker make(unet);
  Part part{"attention", {"libtorch", "ours"}, {}};
  for (const auto& layer : unet.layers) {
    if (layer.kind != Kind::attention) continue;
    const auto dim = head_dim(unet.config, layer.shape.in), heads = layer.shape.out / dim;
    const kernels::AttentionShape shape{unet.batch, layer.size.height * layer.size.width, heads, dim};
    const auto qkv = make.random({shape.batch, shape.tokens, 3, heads, dim});
    const auto own = [=, single = unet.target.dtype == at::kFloat] {
      return single ? own_attention<float>(qkv, shape) : own_attention<uint16_t>(qkv, shape);
    };
    part.jobs.push_back(job_on(qkv, describe(layer.size, heads, " × ", dim),
                               {[=] { return plain_attention(qkv); }, own}));
  }
  return part;
}

Part epilogues(const UNetCase& unet) {
  Maker make(unet);
  Part part{"residual and time added", {"apart", "with the convolution"}, {}};
  for (const auto& layer : unet.layers) {
    const bool adds_time = layer.last() == "conv1", adds_residual = layer.last() == "conv2";
    if (!adds_time && !adds_residual) continue;
    const auto x = make.input(layer.shape.in, layer.size);
    const auto conv = make.convolution(layer.name, layer.shape, layer.size);
    const auto offset = adds_time ? make.random({unet.batch, layer.shape.out}) : at::Tensor();
    const auto residual = adds_residual ? make.input(layer.shape.out, layer.size) : at::Tensor();
    const auto apart = [=] {
      const auto y = (*conv)(x);
      return y.add_(adds_time ? offset.unsqueeze(-1).unsqueeze(-1) : residual);
    };
    part.jobs.push_back(
        job_on(x, describe(layer.size, layer.shape.in, " → ", layer.shape.out, adds_time ? " + time" : " + residual"),
               {apart, [=] { return (*conv)(x, {.offset = offset, .residual = residual}); }}));
  }
  return part;
}

Part time_embedding(const UNetCase& unet) {
  Maker make(unet);
  const auto time = std::make_shared<TimeEmbedding>(make.scope("time"), unet.config);
  TimeProjections::Slot slot{};
  int64_t width = 0;
  for (const auto& layer : unet.layers) {
    if (layer.kind != Kind::time_projection) continue;
    slot = time->projections().add(make.scope(layer.name), layer.shape.in, layer.shape.out);
    width += layer.shape.out;
  }
  time->projections().finish();
  const auto timesteps = at::arange(unet.batch, at::kLong), others = timesteps.clone();
  const auto rows = [time, slot](const at::Tensor& t) {
    (*time)(t, {})[slot];
    return at::Tensor();
  };
  const Arm computed{[=] { others.add_(unet.batch); }, [=] { return rows(others); }};
  const Arm cached{[=] { rows(timesteps); }, [=] { return rows(timesteps); }};
  return {"time embedding", {"computed", "cached"}, {{std::to_string(width) + " wide", {computed, cached}}}};
}

Part buffers(const UNetCase& unet, std::shared_ptr<const UNet2DModel> model) {
  const auto [height, width] = unet.layers.front().size;
  const auto unit = unet.config.size_unit();
  const auto forward = [model](const at::Tensor& x) { return model->forward(x, at::full({x.size(0)}, 500, at::kLong)); };
  const auto x = at::randn({unet.batch, unet.config.in_channels, height, width});
  // The model drops the buffers that its last forward did not use: after a tiny one, all that matter here.
  const auto tiny = at::randn({1, unet.config.in_channels, unit, unit});
  const auto run = [=] { return forward(x); };
  return {"buffers of the whole forward", {"new", "kept"}, {{"", {{[=] { forward(tiny); }, run}, {[=] { forward(x); }, run}}}}};
}

}  // namespace nd::bench
