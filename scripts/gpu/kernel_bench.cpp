#include "kernel_bench.h"

/// cuda_kernel_bench [JSON [PREFIX]]: the time of CUDA kernels that memory bounds, and the bandwidth over the bytes that they must move,
/// as a share of the fastest large copy's in the same run (both count reads and writes). Built with -DNODE_DIFFUSERS_CUDA=ON
/// -DNODE_DIFFUSERS_BENCH=ON.

namespace {

using namespace bench;
using namespace nd::kernels::cuda;
using nd::kernels::GroupNormShape;
using nd::kernels::NormActivation;

std::vector<Buffer> buffers(int64_t sets, Element element, int64_t count) {
  std::vector<Buffer> all;
  for (int64_t i = 0; i < sets; ++i) all.emplace_back(element, count);
  return all;
}

/// An array in device memory.
template <typename T>
Buffer on_device(const std::vector<T>& values) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  Buffer buffer(Element::f32, (bytes + 3) / 4);
  check(cudaMemcpy(buffer.get(), values.data(), static_cast<size_t>(bytes), cudaMemcpyHostToDevice), "cudaMemcpy");
  return buffer;
}

std::string text(const std::string& what, int64_t batch, int64_t pixels, int64_t channels, Element element) {
  return what + " " + std::to_string(batch) + "x" + std::to_string(pixels) + "x" + std::to_string(channels) + " " +
         name_of(element);
}

enum class Noise { none, philox };

void bench_step(Bench& bench, int64_t batch, int64_t pixels, Element element, Noise noise, bool with_x0) {
  const int64_t channels = 3, numel = channels * pixels;
  const int64_t bytes = batch * numel * (8 + size_of(element) + (with_x0 ? 4 : 0)), sets = bench.sets_for(bytes);
  const auto x = buffers(sets, Element::f32, batch * numel), out = buffers(sets, element, batch * numel);
  const auto x0 = buffers(sets, Element::f32, with_x0 ? batch * numel : 0);
  std::vector<Buffer> steps;
  for (int64_t set = 0; set < sets; ++set) {
    const auto at = static_cast<size_t>(set);
    std::vector<DeviceStep> host;
    for (int64_t i = 0; i < batch; ++i) {
      DeviceStep step;
      step.row.p = 1, step.row.q = -0.37F, step.row.d = 0.929F, step.row.bound = 1;
      step.row.c_x0 = 0.46F, step.row.c_xt = 0.53F, step.row.sigma = noise == Noise::none ? 0 : 0.1F;
      step.active = true, step.draws_philox = noise == Noise::philox;
      step.seed = static_cast<uint64_t>(i), step.draw = 1, step.timestep = 10;
      step.x = x[at].floats() + i * numel;
      step.x0 = with_x0 ? x0[at].floats() + i * numel : nullptr;
      host.push_back(step);
    }
    steps.push_back(on_device(host));
  }
  const auto of = [&](int64_t set) { return static_cast<const DeviceStep*>(steps[static_cast<size_t>(set)].get()); };
  const std::string name = std::string("step") + (noise == Noise::philox ? "+philox" : "") + (with_x0 ? "+x0" : "");
  bench.run(text(name, batch, pixels, channels, element), sets, bytes, [&](int64_t set) {
    const void* data = out[static_cast<size_t>(set)].get();
    fused_step(of(set), batch, channels, pixels, {data, element, numel, 1, channels}, bench.stream());
  });
  if (noise == Noise::philox && !with_x0) {
    const Buffer timesteps(Element::f32, 2 * batch);
    bench.run(text("gather_samples", batch, pixels, channels, element), sets, batch * numel * (4 + size_of(element)),
              [&](int64_t set) {
      gather_samples(of(set), batch, channels, pixels, element, out[static_cast<size_t>(set)].get(),
                     static_cast<int64_t*>(timesteps.get()), bench.stream());
    });
  }
}

/// `first`: channels of the first of two tensors side by side, as an up block's first norm reads them; 0: one has all.
void bench_group_norm(Bench& bench, int64_t batch, int64_t pixels, int64_t channels, Element element, int64_t first = 0) {
  const int64_t numel = batch * pixels * channels, bytes = 2 * numel * size_of(element), sets = bench.sets_for(bytes);
  const int64_t first_channels = first == 0 ? channels : first;
  const auto x = buffers(sets, element, batch * pixels * first_channels), y = buffers(sets, element, numel);
  const auto second = buffers(sets, element, batch * pixels * (channels - first_channels));
  const Buffer gamma(Element::f32, channels), beta(Element::f32, channels), add(Element::f32, batch * channels);
  GroupNormCall call{GroupNormShape{batch, pixels, channels, 32},
                     {gamma.floats(), beta.floats(), nullptr, nullptr, 0, 1e-6F, NormActivation::silu},
                     element, add.floats(), channels};
  call.first_channels = first;
  const auto of_set = [&](int64_t set) {
    if (first != 0) call.second = second[static_cast<size_t>(set)].get();
    return static_cast<size_t>(set);
  };
  of_set(0);
  const Buffer workspace(Element::f32, static_cast<int64_t>(group_norm_workspace(call, x[0].get(), y[0].get()) / 4));
  bench.run(text(first == 0 ? "group_norm" : "group_norm of two", batch, pixels, channels, element), sets, bytes, [&](int64_t set) {
    const auto at = of_set(set);
    group_norm(call, x[at].get(), y[at].get(), workspace.get(), bench.stream());
  });
}

void bench_pixels(Bench& bench, int64_t batch, int64_t size, int64_t channels, Element element) {
  const int64_t numel = batch * size * size * channels, bytes = 5 * numel * size_of(element);
  const int64_t sets = bench.sets_for(9 * numel * size_of(element));
  const auto x = buffers(sets, element, numel), y = buffers(sets, element, 4 * numel), z = buffers(sets, element, 4 * numel);
  const PixelCall call{batch, size, size, channels * size_of(element)};
  bench.run(text("upsample_nearest", batch, size * size, channels, element), sets, bytes, [&](int64_t set) {
    const auto at = static_cast<size_t>(set);
    upsample_nearest(call, x[at].get(), y[at].get(), bench.stream());
  });
  bench.run(text("interleave_phases", batch, size * size, channels, element), sets, 8 * numel * size_of(element), [&](int64_t set) {
    const auto at = static_cast<size_t>(set);
    interleave_phases(call, z[at].get(), y[at].get(), bench.stream());
  });
  bench.run(text("pad_right_below", batch, size * size, channels, element), sets, 2 * numel * size_of(element), [&](int64_t set) {
    const auto at = static_cast<size_t>(set);
    pad_right_below(call, x[at].get(), y[at].get(), bench.stream());
  });
}

void bench_bias_residual(Bench& bench, int64_t batch, int64_t pixels, int64_t channels, Element element) {
  const int64_t numel = batch * pixels * channels, bytes = 3 * numel * size_of(element), sets = bench.sets_for(bytes);
  const auto conv = buffers(sets, element, numel), residual = buffers(sets, element, numel);
  const auto y = buffers(sets, element, numel);
  const Buffer bias(Element::f32, channels);
  bench.run(text("add_bias_residual", batch, pixels, channels, element), sets, bytes, [&](int64_t set) {
    const auto at = static_cast<size_t>(set);
    add_bias_residual(element, conv[at].get(), bias.floats(), residual[at].get(), 0.7F, y[at].get(), batch * pixels, channels,
                      bench.stream());
  });
}

/// A model's last convolution.
void bench_narrow(Bench& bench, int64_t batch, int64_t size, int64_t channels, Element element) {
  const int64_t pixels = batch * size * size, bytes = pixels * (channels + kNarrowOutputs) * size_of(element);
  const int64_t sets = bench.sets_for(bytes);
  const auto x = buffers(sets, element, pixels * channels), y = buffers(sets, element, pixels * kNarrowOutputs);
  const Buffer weight(element, 9 * channels * kNarrowOutputs), bias(Element::f32, kNarrowOutputs);
  bench.run(text("narrow_convolution", batch, size * size, channels, element), sets, bytes, [&](int64_t set) {
    const auto at = static_cast<size_t>(set);
    const ConvolutionExtents extents{batch, size, size, size, size, kNarrowOutputs, 3, 1, 1};
    narrow_convolution({element, x[at].get(), weight.get(), channels, extents, bias.floats(), y[at].get()}, bench.stream());
  });
}

void bench_draws(Bench& bench, int64_t count, int64_t numel) {
  const int64_t sets = bench.sets_for(4 * count * numel);
  const auto to = buffers(sets, Element::f32, count * numel);
  std::vector<Buffer> draws;
  for (const Buffer& set : to) {
    std::vector<PhiloxDraw> host;
    for (int64_t i = 0; i < count; ++i) host.push_back({set.floats() + i * numel, static_cast<uint64_t>(i), 0});
    draws.push_back(on_device(host));
  }
  bench.run(text("philox_normal", count, numel, 1, Element::f32), sets, 4 * count * numel, [&](int64_t set) {
    philox_normal(static_cast<const PhiloxDraw*>(draws[static_cast<size_t>(set)].get()), count, numel, bench.stream());
  });
}

void bench_rows(Bench& bench, int64_t count, int64_t width) {
  const int64_t table_rows = 1000;
  const Buffer table(Element::f32, table_rows * width), to(Element::f32, count * width);
  std::vector<int64_t> host;
  for (int64_t i = 0; i < count; ++i) host.push_back(i * 997 % table_rows);
  const Buffer rows = on_device(host);
  bench.run(text("gather_rows", count, 1, width, Element::f32), 1, 8 * count * width, [&](int64_t) {
    const auto* indices = static_cast<const int64_t*>(rows.get());
    gather_rows(table.floats(), width, indices, count, table_rows, to.floats(), bench.stream());
  });
}

}  // namespace

int main(int argc, char** argv) try {
  Bench bench(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "");
  struct Images {
    int64_t batch, pixels;
  };
  for (const Images images : {Images{64, 1024}, Images{256, 1024}, Images{16, 65536}}) {
    for (const Element element : {Element::bf16, Element::f32}) {
      for (const Noise noise : {Noise::none, Noise::philox}) {
        for (const bool with_x0 : {false, true}) {
          bench_step(bench, images.batch, images.pixels, element, noise, with_x0);
        }
      }
    }
    bench_draws(bench, images.batch, images.pixels * 3);
  }
  struct Layer {
    int64_t pixels, channels;
  };
  const Layer cifar10[] = {{1024, 128}, {1024, 256}, {1024, 384}, {256, 256}, {256, 384}, {256, 512},
                           {64, 256},   {64, 512},   {16, 256},   {16, 512}};
  for (const Element element : {Element::bf16, Element::f32}) {
    for (const int64_t batch : {1, 8, 64, 256}) {
      for (const Layer& layer : cifar10) bench_group_norm(bench, batch, layer.pixels, layer.channels, element);
    }
    for (const int64_t batch : {1, 4, 16}) {
      for (const int64_t pixels : {4096, 16384, 65536}) bench_group_norm(bench, batch, pixels, 128, element);
    }
    for (const int64_t batch : {1, 64, 256}) {
      bench_group_norm(bench, batch, 1024, 384, element, 256);
      bench_pixels(bench, batch, 16, 256, element);
    }
    for (const int64_t batch : {1, 64, 256}) bench_bias_residual(bench, batch, 1024, 128, element);
  }
  for (const int64_t batch : {1, 64, 256, 512}) bench_narrow(bench, batch, 32, 128, Element::bf16);
  for (const int64_t batch : {1, 4}) bench_narrow(bench, batch, 256, 128, Element::bf16);
  bench_rows(bench, 64, 8192);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
