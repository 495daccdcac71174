#include "kernels/conv3x3.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "kernels/cpu/winograd_kernels.h"
#include "kernels/kernel_check.h"

namespace {

using nd::kernels::Conv3x3Epilogue;
using nd::kernels::Scratch;
using nd::kernels::Conv3x3Shape;
using nd::kernels::Conv3x3Weights;
using nd::kernels::Isa;

at::Tensor random(at::IntArrayRef sizes, uint64_t seed) {
  return at::randn(sizes, at::detail::createCPUGenerator(seed), at::kFloat);
}

struct Case {
  Conv3x3Shape shape;
  int64_t in, out;
};

/// Activations as they come out of SiLU, weights as they are initialised; everything NHWC.
struct Inputs {
  Case sizes;
  at::Tensor x, weight, bias, offset, residual;  // the last three undefined where not used
  float factor = 1;

  Conv3x3Epilogue<float> epilogue() const {
    const auto pointer = [](const at::Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; };
    return {pointer(bias), pointer(offset), offset.defined() ? offset.stride(0) : 0, pointer(residual), factor};
  }
};

Inputs make_inputs(const Case& sizes, bool with_epilogue) {
  const auto [batch, height, width] = sizes.shape;
  Inputs in;
  in.sizes = sizes;
  in.x = at::silu(random({batch, height, width, sizes.in}, 1));
  in.weight = random({sizes.out, sizes.in, 3, 3}, 2).div(std::sqrt(9.0 * static_cast<double>(sizes.in)));
  if (with_epilogue) {
    in.bias = random({sizes.out}, 3);
    in.offset = random({batch, sizes.out + 5}, 4).narrow(1, 2, sizes.out);  // rows of a wider table
    in.residual = random({batch, height, width, sizes.out}, 5);
    in.factor = 0.70710678F;
  }
  return in;
}

at::Tensor reference(const Inputs& in) {
  const auto wide = [](const at::Tensor& t) { return t.to(at::kDouble); };
  at::Tensor y = at::conv2d(wide(in.x).permute({0, 3, 1, 2}), wide(in.weight), {}, 1, 1).permute({0, 2, 3, 1});
  if (in.bias.defined()) y = y + wide(in.bias);
  if (in.offset.defined()) y = y + wide(in.offset).unsqueeze(1).unsqueeze(1);
  if (in.residual.defined()) y = y + wide(in.residual);
  return y * in.factor;
}

at::Tensor run(const Inputs& in, Isa isa) {
  const Conv3x3Weights<float> weights(in.weight.const_data_ptr<float>(), in.sizes.out, in.sizes.in);
  const auto [batch, height, width] = in.sizes.shape;
  at::Tensor y = at::full({batch, height, width, in.sizes.out}, std::nan(""), at::kFloat);
  Scratch scratch;
  nd::kernels::conv3x3_on(isa, in.x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), in.sizes.shape, weights,
                          in.epilogue(), scratch);
  return y;
}

double relative_error(const at::Tensor& y, const at::Tensor& wanted) {
  return ((y.to(at::kDouble) - wanted).norm() / wanted.norm()).item<double>();
}

Inputs sample_of(const Inputs& in, int64_t b) {
  Inputs one = in;
  one.sizes.shape.batch = 1;
  one.x = in.x.narrow(0, b, 1);
  if (in.offset.defined()) one.offset = in.offset.narrow(0, b, 1);
  if (in.residual.defined()) one.residual = in.residual.narrow(0, b, 1);
  return one;
}

const std::vector<Case> kCases = {
    {{1, 32, 32}, 3, 128}, {{1, 16, 16}, 128, 96}, {{2, 8, 8}, 64, 256}, {{3, 4, 4}, 512, 32},  {{1, 32, 32}, 128, 3},
    {{1, 1, 1}, 1, 1},     {{2, 2, 3}, 7, 5},      {{1, 5, 7}, 32, 33},  {{5, 9, 4}, 65, 48},   {{1, 1, 13}, 17, 16},
    {{1, 13, 1}, 3, 100},  {{2, 28, 28}, 32, 64},  {{1, 6, 6}, 96, 17},  {{7, 3, 3}, 130, 31},  {{1, 40, 36}, 7, 1},
    {{2, 7, 7}, 128, 128}, {{9, 4, 4}, 40, 24},    {{1, 10, 10}, 1, 40},
};

}  // namespace

TEST("equals the direct convolution in double for every shape and instruction set") {
  for (const Case& sizes : kCases) {
    for (const bool with_epilogue : {false, true}) {
      const Inputs in = make_inputs(sizes, with_epilogue);
      const at::Tensor wanted = reference(in);
      for (const Isa isa : isas()) EXPECT_NEAR(relative_error(run(in, isa), wanted), 0.0, 1.5e-6);
    }
  }
}

TEST("each part of the epilogue alone") {
  const Inputs all = make_inputs({{2, 5, 6}, 20, 37}, true);
  for (int part = 0; part < 4; ++part) {
    Inputs in = make_inputs(all.sizes, false);
    if (part == 0) in.bias = all.bias;
    if (part == 1) in.offset = all.offset;
    if (part == 2) in.residual = all.residual;
    if (part == 3) in.factor = all.factor;
    const at::Tensor wanted = reference(in);
    for (const Isa isa : isas()) EXPECT_NEAR(relative_error(run(in, isa), wanted), 0.0, 1.5e-6);
  }
}

TEST("the residual may be the output") {
  for (const Case& sizes : kCases) {
    const Inputs in = make_inputs(sizes, true);
    const Conv3x3Weights<float> weights(in.weight.const_data_ptr<float>(), sizes.out, sizes.in);
    Scratch scratch;
    at::Tensor y = in.residual.clone();
    Conv3x3Epilogue<float> epilogue = in.epilogue();
    epilogue.residual = y.const_data_ptr<float>();
    nd::kernels::conv3x3_nhwc(in.x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), sizes.shape, weights, epilogue,
                              scratch);
    EXPECT(same_bits(y, run(in, nd::kernels::best_isa())));
  }
}

TEST("a sample's bits depend neither on its neighbours nor on the threads") {
  const int threads = at::get_num_threads();
  const std::vector<Case> cases = {{{5, 32, 32}, 35, 40}, {{8, 4, 4}, 100, 64}, {{3, 8, 8}, 64, 96},
                                   {{6, 5, 9}, 130, 33},  {{2, 16, 16}, 7, 128}};
  for (const Case& sizes : cases) {
    const Inputs in = make_inputs(sizes, true);
    for (const Isa isa : isas()) {
      at::set_num_threads(1);
      const at::Tensor whole = run(in, isa);
      for (const int count : {1, 2, 3, 7}) {
        at::set_num_threads(count);
        EXPECT(same_bits(run(in, isa), whole));
        for (int64_t b = 0; b < sizes.shape.batch; ++b) {
          EXPECT(same_bits(run(sample_of(in, b), isa), whole.narrow(0, b, 1)));
        }
      }
    }
  }
  at::set_num_threads(threads);
}

TEST("NaN and infinity stay in their sample") {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    Inputs in = make_inputs({{3, 8, 8}, 16, 32}, true);
    in.x[1][3][3][5] = bad;
    for (const Isa isa : isas()) {
      const at::Tensor y = run(in, isa);
      EXPECT(!at::isfinite(y[1]).all().item<bool>());
      for (const int64_t b : {0, 2}) EXPECT(same_bits(y.narrow(0, b, 1), run(sample_of(in, b), isa)));
    }
  }
}

TEST("bfloat16 is rounded once, at the end") {
  for (const Case& sizes : kCases) {
    Inputs in = make_inputs(sizes, true);
    const at::Tensor x = in.x.to(at::kBFloat16), weight = in.weight.to(at::kBFloat16);
    const at::Tensor residual = in.residual.to(at::kBFloat16);
    in.x = x.to(at::kFloat);
    in.weight = weight.to(at::kFloat);
    in.residual = residual.to(at::kFloat);
    const auto bits = [](const at::Tensor& t) { return static_cast<uint16_t*>(t.data_ptr()); };
    const Conv3x3Weights<uint16_t> packed(bits(weight), sizes.out, sizes.in);
    const Conv3x3Epilogue<float> wide = in.epilogue();
    const Conv3x3Epilogue<uint16_t> epilogue{wide.bias, wide.offset, wide.offset_stride, bits(residual), wide.factor};
    at::Tensor back = at::empty_like(weight);
    packed.unpack(bits(back));
    EXPECT(same_bits(back, weight));
    for (const Isa isa : isas()) {
      Scratch scratch;
      at::Tensor y = at::empty_like(residual);
      nd::kernels::conv3x3_on(isa, bits(x), bits(y), sizes.shape, packed, epilogue, scratch);
      EXPECT(same_bits(y, run(in, isa).to(at::kBFloat16)));
    }
  }
}

TEST("one scratch serves convolutions of every size in turn") {
  Scratch scratch;
  for (int round = 0; round < 2; ++round) {
    for (const Case& sizes : kCases) {
      const Inputs in = make_inputs(sizes, true);
      const Conv3x3Weights<float> weights(in.weight.const_data_ptr<float>(), sizes.out, sizes.in);
      at::Tensor y = at::empty_like(in.residual);
      nd::kernels::conv3x3_nhwc(in.x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), sizes.shape, weights,
                                in.epilogue(), scratch);
      EXPECT(same_bits(y, run(in, nd::kernels::best_isa())));
    }
  }
}

TEST("weights come back as they went in, and take no more memory than whole vectors ask") {
  for (const Case& sizes : kCases) {
    at::Tensor weight = random({sizes.out, sizes.in, 3, 3}, 9);
    weight.view({-1})[0] = std::nan("");
    weight.view({-1})[1] = -0.0;
    const Conv3x3Weights<float> packed(weight.const_data_ptr<float>(), sizes.out, sizes.in);
    at::Tensor back = at::empty_like(weight);
    packed.unpack(back.mutable_data_ptr<float>());
    EXPECT(same_bits(back, weight));
    const int64_t vectors = (sizes.out + 15) / 16;
    EXPECT(static_cast<int64_t>(packed.bytes()) <= (vectors + 1) * 16 * sizes.in * 9 * 4);
    if (sizes.out % 16 == 0) EXPECT_EQUAL(packed.bytes(), weight.nbytes());
  }
}
