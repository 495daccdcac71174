#include <algorithm>
#include <limits>

#include "check.h"
#include "cuda/values.h"
#include "kernels/fused_step.h"

namespace {

using namespace nd::kernels::cuda;
using nd::LearnedVariance;
using nd::StepRow;
using nd::kernels::PhiloxKey;
using nd::kernels::SampleStep;
using values::same;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Rows of every kind: ᾱ = 0 with its d = 0, clipped and not, without noise and with.
const std::vector<StepRow> kRows = {
    {.p = 1, .q = -0.999F, .d = 0, .bound = 1, .c_x0 = 0.06F, .c_xt = 0.1F,
     .sigma = 0, .log_beta = -1, .log_posterior_variance = -20},
    {.p = 1.25F, .q = -0.75F, .d = 0.6F, .c_x0 = 0.8F, .c_out = 0.3F,
     .sigma = 0.2F, .log_beta = -3, .log_posterior_variance = -5},
    {.p = 1, .q = -0.37F, .d = 0.929F, .bound = 1.5F, .c_x0 = 0.46F, .c_xt = 0.53F, .c_out = 0.07F,
     .sigma = 1, .log_beta = -4.6F, .log_posterior_variance = -6},
};

enum class Noise { none, given, philox };

struct Case {
  int64_t channels, pixels;
  Element element = Element::f32;
  bool pixels_last = true;  // the output's channels side by side
  LearnedVariance learned = LearnedVariance::none;
  Noise noise = Noise::philox;
  bool wants_x0 = true;
  size_t offset = 0, noise_offset = 0, x0_offset = 0;  // of x, z and x0, in elements from an aligned place

  int64_t numel() const { return channels * pixels; }
};

struct Sample {
  StepRow row;
  float k;
  bool active;
  PhiloxKey key;
  std::vector<float> x, out, variance, noise;
};

void sprinkle(std::vector<float>& v, size_t first) {
  const float odd[] = {std::nanf(""), kInfinity, -kInfinity, -0.0F, 0.0F, 3e38F, -3e38F, 1e-40F, -1e-40F, 1.0F};
  for (size_t i = first, j = 0; i < v.size(); i += 11, ++j) v[i] = odd[j % 10];
}

std::vector<Sample> make_samples(const Case& c, size_t count) {
  std::vector<Sample> samples;
  for (size_t i = 0; i < count; ++i) {
    // Every row is that of one that is active.
    Sample s{.row = kRows[i % kRows.size()], .k = i % 2 == 0 ? 1.0F : 1.5F, .active = i % 4 != 3,
             .key = {0x243F6A8885A308D3U + i, static_cast<uint32_t>(i + 7)}};
    s.x = values::random(c.numel(), 10 * i + 1);
    s.out = values::rounded(c.element, values::random(c.numel(), 10 * i + 2));
    sprinkle(s.x, 3);
    if (c.element == Element::f32) sprinkle(s.out, 8);
    if (c.learned != LearnedVariance::none) {
      s.variance = values::rounded(c.element, values::random(c.numel(), 10 * i + 3));
      for (float& v : s.variance) v = c.learned == LearnedVariance::direct ? std::abs(v) : std::clamp(v, -1.2F, 1.2F);
      s.variance = values::rounded(c.element, s.variance);
    }
    if (c.noise == Noise::given) s.noise = values::random(c.numel(), 10 * i + 4);
    if (s.row.sigma == 0) std::fill(s.noise.begin(), s.noise.end(), std::nanf(""));  // which does not count
    samples.push_back(s);
  }
  return samples;
}

struct Results {
  std::vector<std::vector<float>> x, x0;
};

/// The model's output as it lies in memory: [samples, pixels, channels] or [samples, channels, pixels].
std::vector<unsigned char> output_bytes(const Case& c, const std::vector<Sample>& samples) {
  const int64_t all = c.channels * (c.learned == LearnedVariance::none ? 1 : 2);
  std::vector<float> out(samples.size() * static_cast<size_t>(all * c.pixels));
  for (size_t s = 0; s < samples.size(); ++s) {
    for (int64_t channel = 0; channel < all; ++channel) {
      for (int64_t pixel = 0; pixel < c.pixels; ++pixel) {
        const auto& from = channel < c.channels ? samples[s].out : samples[s].variance;
        const int64_t at = c.pixels_last ? pixel * all + channel : channel * c.pixels + pixel;
        out[s * static_cast<size_t>(all * c.pixels) + static_cast<size_t>(at)] =
            from[static_cast<size_t>(channel % c.channels * c.pixels + pixel)];
      }
    }
  }
  return values::encode(c.element, out);
}

Results run(const Case& c, const std::vector<Sample>& samples) {
  const int64_t all = c.channels * (c.learned == LearnedVariance::none ? 1 : 2);
  std::vector<DeviceBuffer<float>> x, x0, noise;
  std::vector<DeviceStep> steps;
  for (const Sample& s : samples) {
    x.emplace_back(s.x, c.offset);
    x0.emplace_back(static_cast<size_t>(c.numel()), c.x0_offset);
    noise.emplace_back(s.noise, c.noise_offset);
    steps.push_back({.row = s.row, .k = s.k, .learned = c.learned, .active = s.active,
                     .draws_philox = c.noise == Noise::philox, .seed = s.key.seed, .draw = s.key.draw, .timestep = 5,
                     .x = x.back().get(), .noise = c.noise == Noise::given ? noise.back().get() : nullptr,
                     .x0 = c.wants_x0 ? x0.back().get() : nullptr});
  }
  const DeviceBuffer<DeviceStep> device_steps(steps);
  const DeviceBuffer<unsigned char> out(output_bytes(c, samples));
  const ModelOutput output{out.get(), c.element, all * c.pixels, c.pixels_last ? 1 : c.pixels, c.pixels_last ? all : 1};
  fused_step(device_steps.get(), static_cast<int64_t>(samples.size()), c.channels, c.pixels, output, nullptr);
  Results results;
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT(x[i].margins_hold() && x0[i].margins_hold());
    results.x.push_back(x[i].values());
    results.x0.push_back(x0[i].values());
  }
  return results;
}

/// The CPU's step of each sample; what stands in the buffers where nothing is to be written.
Results wanted(const Case& c, const std::vector<Sample>& samples) {
  Results results;
  for (const Sample& s : samples) {
    results.x.push_back(s.x);
    results.x0.emplace_back(s.x.size(), std::nanf(""));  // DeviceBuffer's poison
    if (!s.active) continue;
    const SampleStep step{.row = s.row, .k = s.k, .learned = c.learned, .x = s.x.data(), .out = s.out.data(),
                          .variance = s.variance.data(), .noise = c.noise == Noise::given ? s.noise.data() : nullptr,
                          .philox = c.noise == Noise::philox ? &s.key : nullptr, .prev = results.x.back().data(),
                          .x0 = c.wants_x0 ? results.x0.back().data() : nullptr};
    nd::kernels::fused_step(&step, 1, c.numel());
  }
  return results;
}

void expect_same(const Results& a, const Results& b) {
  for (size_t i = 0; i < a.x.size(); ++i) EXPECT(same(a.x[i], b.x[i]) && same(a.x0[i], b.x0[i]));
}

struct Image {
  int64_t channels, pixels;
};
const Image kImages[] = {{1, 1},  {3, 1},  {3, 5},   {1, 63},   {3, 64},  {2, 65},
                         {4, 36}, {5, 7},  {3, 100}, {3, 1024}, {3, 4096}};

}  // namespace

TEST("a step gives the CPU's bits: every size, element, layout and noise, NaN and the infinities among the numbers") {
  for (const Image& image : kImages) {
    for (const Element element : values::kElements) {
      for (int options = 0; options < 12; ++options) {
        const Case c{.channels = image.channels, .pixels = image.pixels, .element = element,
                     .pixels_last = options % 2 == 0, .noise = static_cast<Noise>(options / 4),
                     .wants_x0 = options / 2 % 2 == 0};
        const auto samples = make_samples(c, 5);
        expect_same(run(c, samples), wanted(c, samples));
      }
    }
  }
}

TEST("a learned variance is the output's second half, in the CPU's bits too") {
  for (const Image& image : kImages) {
    for (const Element element : values::kElements) {
      for (const auto learned : {LearnedVariance::direct, LearnedVariance::range}) {
        for (int options = 0; options < 4; ++options) {
          const Case c{.channels = image.channels, .pixels = image.pixels, .element = element,
                       .pixels_last = options % 2 == 0, .learned = learned,
                       .noise = options / 2 == 0 ? Noise::given : Noise::philox};
          const auto samples = make_samples(c, 3);
          expect_same(run(c, samples), wanted(c, samples));
        }
      }
    }
  }
}

TEST("samples need not be aligned") {
  for (const size_t offset : {1, 2, 3}) {
    for (const Noise noise : {Noise::given, Noise::philox}) {
      for (int which = 0; which < 4; ++which) {
        const auto of = [&](int one) { return which == one || which == 3 ? offset : 0; };
        const Case c{.channels = 3, .pixels = 100, .noise = noise, .offset = of(0), .noise_offset = of(1), .x0_offset = of(2)};
        const auto samples = make_samples(c, 4);
        expect_same(run(c, samples), wanted(c, samples));
      }
    }
  }
}

TEST("a sample's bits depend on neither its slot nor its neighbours") {
  const Case c{.channels = 3, .pixels = 256, .element = Element::bf16};
  const auto samples = make_samples(c, 6);
  const Results together = run(c, samples);
  for (size_t i = 0; i < samples.size(); ++i) {
    const Results alone = run(c, {samples[i]});
    EXPECT(same(alone.x[0], together.x[i]) && same(alone.x0[0], together.x0[i]));
    const Results last = run(c, {samples[1], samples[0], samples[i]});
    EXPECT(same(last.x[2], together.x[i]));
  }
}

TEST("more samples than a grid has rows") {
  const int64_t count = 66'000;
  const auto host = values::random(count, 1), out = values::random(count, 2);
  const DeviceBuffer<float> x(host), model(out), to(static_cast<size_t>(count));
  const DeviceBuffer<int64_t> timesteps(static_cast<size_t>(count));
  std::vector<float> expected = host;
  std::vector<DeviceStep> steps;
  std::vector<SampleStep> cpu;
  for (int64_t i = 0; i < count; ++i) {
    steps.push_back({.row = kRows[0], .active = true, .timestep = static_cast<int32_t>(i), .x = x.get() + i});
    cpu.push_back({.row = kRows[0], .x = &expected[static_cast<size_t>(i)], .out = &out[static_cast<size_t>(i)],
                   .variance = nullptr, .noise = nullptr, .philox = nullptr, .prev = &expected[static_cast<size_t>(i)],
                   .x0 = nullptr});
  }
  const DeviceBuffer<DeviceStep> device_steps(steps);
  gather_samples(device_steps.get(), count, 1, 1, Element::f32, to.get(), timesteps.get(), nullptr);
  EXPECT(same(to.values(), host));
  EXPECT_EQUAL(timesteps.values().back(), count - 1);
  fused_step(device_steps.get(), count, 1, 1, {model.get(), Element::f32, 1, 1, 1}, nullptr);
  nd::kernels::fused_step(cpu.data(), count, 1);
  EXPECT(same(x.values(), expected));
}

TEST("draws have the CPU's bits, wherever they go") {
  const PhiloxKey keys[] = {{0, 0}, {~uint64_t{0}, ~uint32_t{0}}, {0x243F6A88U, 7}};
  for (const int64_t numel : {1, 3, 15, 16, 17, 63, 64, 65, 100, 3072, 20'001}) {
    std::vector<DeviceBuffer<float>> z;
    std::vector<PhiloxDraw> draws;
    for (const size_t offset : {0, 1}) {
      for (const PhiloxKey key : keys) {
        z.emplace_back(static_cast<size_t>(numel), offset);
        draws.push_back({z.back().get(), key.seed, key.draw});
      }
    }
    const DeviceBuffer<PhiloxDraw> on_device(draws);
    philox_normal(on_device.get(), static_cast<int64_t>(draws.size()), numel, nullptr);
    for (size_t i = 0; i < draws.size(); ++i) {
      std::vector<float> cpu(static_cast<size_t>(numel));
      nd::kernels::philox_normal(cpu.data(), numel, {draws[i].seed, draws[i].draw});
      EXPECT(same(z[i].values(), cpu));
      EXPECT(z[i].margins_hold());
    }
  }
}

TEST("samples are gathered as the UNet wants them, zeros where none is active") {
  for (const Image& image : kImages) {
    for (const Element element : values::kElements) {
      const int64_t numel = image.channels * image.pixels;
      std::vector<DeviceBuffer<float>> x;
      std::vector<DeviceStep> steps;
      std::vector<float> expected;
      std::vector<int64_t> timesteps;
      for (size_t i = 0; i < 5; ++i) {
        const auto host = values::random(numel, i);
        const bool active = i % 3 != 1;
        x.emplace_back(host, i % 2);
        steps.push_back({.active = active, .timestep = static_cast<int32_t>(100 * i + 1)});
        if (active) steps.back().x = x.back().get();
        timesteps.push_back(active ? steps.back().timestep : 0);
        for (int64_t e = 0; e < numel; ++e) {
          const auto at = static_cast<size_t>(e % image.channels * image.pixels + e / image.channels);
          expected.push_back(active ? values::rounded(element, host[at]) : 0.0F);
        }
      }
      const DeviceBuffer<DeviceStep> device_steps(steps);
      for (const size_t offset : {size_t{0}, values::size_of(element)}) {  // unaligned
        const DeviceBuffer<unsigned char> to(expected.size() * values::size_of(element), offset);
        const DeviceBuffer<int64_t> device_timesteps(timesteps.size());
        gather_samples(device_steps.get(), 5, image.channels, image.pixels, element, to.get(), device_timesteps.get(),
                       nullptr);
        EXPECT(same(values::decode(element, to.values()), expected));
        EXPECT(device_timesteps.values() == timesteps);
        EXPECT(to.margins_hold() && device_timesteps.margins_hold());
      }
    }
  }
}

TEST("no samples and no elements launch nothing") {
  fused_step(nullptr, 0, 3, 64, {nullptr, Element::f32, 0, 0, 0}, nullptr);
  fused_step(nullptr, 2, 3, 0, {nullptr, Element::f32, 0, 0, 0}, nullptr);
  gather_samples(nullptr, 0, 3, 64, Element::f32, nullptr, nullptr, nullptr);
  philox_normal(nullptr, 0, 64, nullptr);
  philox_normal(nullptr, 2, 0, nullptr);
}
