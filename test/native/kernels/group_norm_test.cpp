#include "kernels/group_norm.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <limits>
#include <vector>

#include "check.h"
#include "kernels/cpu/group_norm_kernels.h"
#include "kernels/kernel_check.h"

namespace {

using nd::kernels::GroupNormParameters;
using nd::kernels::GroupNormShape;
using nd::kernels::Isa;
using nd::kernels::NormActivation;

at::Tensor random(at::IntArrayRef sizes, int64_t seed) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(seed));
  return at::randn(sizes, generator, at::kFloat);
}

struct Inputs {
  GroupNormShape shape;
  at::Tensor x, gamma, beta, scale, shift;  // undefined where not used
  float eps = 1e-5F;
  bool silu = false;

  GroupNormParameters parameters() const {
    const auto pointer = [](const at::Tensor& t) { return t.defined() ? t.const_data_ptr<float>() : nullptr; };
    return {pointer(gamma), pointer(beta), pointer(scale), pointer(shift), scale.defined() ? scale.stride(0) : 0, eps,
            silu ? NormActivation::silu : NormActivation::none};
  }
};

Inputs make_inputs(GroupNormShape shape, bool affine, bool modulated, bool silu, double mean = 0.5) {
  Inputs in;
  in.shape = shape;
  in.x = random({shape.batch, shape.pixels, shape.channels}, 1).mul(1.5).add(mean);
  if (affine) {
    in.gamma = random({shape.channels}, 2);
    in.beta = random({shape.channels}, 3);
  }
  if (modulated) {
    const at::Tensor both = random({shape.batch, 2 * shape.channels}, 4);
    in.scale = both.narrow(1, 0, shape.channels);
    in.shift = both.narrow(1, shape.channels, shape.channels);
  }
  in.silu = silu;
  return in;
}

at::Tensor reference(const Inputs& in) {
  const auto double_or_none = [](const at::Tensor& t) { return t.defined() ? t.to(at::kDouble) : at::Tensor(); };
  at::Tensor y = at::group_norm(in.x.to(at::kDouble).transpose(1, 2).contiguous(), in.shape.groups,
                                double_or_none(in.gamma), double_or_none(in.beta), in.eps).transpose(1, 2);
  if (in.scale.defined()) {
    y = y * (in.scale.to(at::kDouble).unsqueeze(1) + 1) + in.shift.to(at::kDouble).unsqueeze(1);
  }
  return in.silu ? at::silu(y.contiguous()) : y;
}

at::Tensor run(const Inputs& in, Isa isa) {
  at::Tensor y = at::empty_like(in.x);
  nd::kernels::group_norm_on(isa, in.x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), in.shape, in.parameters());
  return y;
}

double relative_error(const at::Tensor& y, const at::Tensor& wanted) {
  return ((y.to(at::kDouble) - wanted).norm() / wanted.norm()).item<double>();
}

const uint16_t* bits(const at::Tensor& t) { return static_cast<const uint16_t*>(t.const_data_ptr()); }
uint16_t* mutable_bits(const at::Tensor& t) { return static_cast<uint16_t*>(t.mutable_data_ptr()); }

const std::vector<GroupNormShape> kShapes = {
    {1, 1024, 128, 32}, {2, 256, 256, 32}, {3, 64, 512, 32}, {1, 16, 32, 32}, {5, 1, 96, 32},  {2, 35, 6, 2},
    {4, 17, 7, 1},      {1, 9, 33, 11},    {2, 300, 20, 5},  {1, 4100, 3, 3}, {7, 77, 100, 4}, {1, 2, 1, 1},
};

}  // namespace

TEST("equals group_norm in double for every shape, option and instruction set") {
  for (const GroupNormShape shape : kShapes) {
    if (shape.pixels * (shape.channels / shape.groups) < 2) continue;  // no deviation
    for (int options = 0; options < 8; ++options) {
      const Inputs in = make_inputs(shape, options & 1, options & 2, options & 4);
      const at::Tensor wanted = reference(in);
      for (const Isa isa : isas()) EXPECT_NEAR(relative_error(run(in, isa), wanted), 0.0, 5e-7);
    }
  }
}

TEST("statistics hold where the mean dwarfs the deviation") {
  const Inputs in = make_inputs({2, 5000, 64, 16}, true, false, false, 300.0);
  const at::Tensor wanted = reference(in);
  const at::Tensor by_channel = in.x.transpose(1, 2).contiguous();
  const at::Tensor torch = at::group_norm(by_channel, 16, in.gamma, in.beta, in.eps).transpose(1, 2);
  const double of_torch = relative_error(torch, wanted);
  for (const Isa isa : isas()) EXPECT_NEAR(relative_error(run(in, isa), wanted), 0.0, 2.0 * of_torch + 1e-6);
}

TEST("a constant group gives its offset") {
  Inputs in = make_inputs({1, 40, 24, 3}, true, false, false);
  in.x.fill_(3.25);  // 1/√ε = 316 magnifies rounding
  for (const Isa isa : isas()) EXPECT_NEAR((run(in, isa) - in.beta).abs().max().item<double>(), 0.0, 1e-3);
}

TEST("silu is accurate over the whole line, and NaN and the infinities come out as torch's") {
  Inputs in = make_inputs({1, 40001, 1, 1}, false, false, true);
  const float far = std::numeric_limits<float>::infinity();
  in.x = at::arange(-20000, 20001, at::kFloat).div(200).reshape({1, 40001, 1});
  // Undoes the division by the deviation: arguments of silu from −100 to 100.
  in.gamma = in.x.std(/*unbiased=*/false).reshape({1});
  for (const Isa isa : isas()) {
    Inputs plain = in;
    plain.silu = false;
    const at::Tensor exact = at::silu(run(plain, isa).to(at::kDouble));
    // Not below 1e-30: e⁸⁹ is ∞ in float, and silu(−89) −0.
    const at::Tensor error = (run(in, isa).to(at::kDouble) - exact).abs() / exact.abs().clamp_min(1e-30);
    EXPECT_NEAR(error.max().item<double>(), 0.0, 4e-7);
  }
  const std::vector<float> special = {far, -far, std::nanf(""), -1e30F, 1e30F, -0.0F, -200.0F, 88.8F, -88.8F};
  const auto count = static_cast<int64_t>(special.size());
  Inputs odd = make_inputs({1, 1, count, count}, false, false, true);  // each group one value: y = silu(β)
  odd.gamma = at::zeros({count});
  odd.beta = at::from_blob(const_cast<float*>(special.data()), {count}, at::kFloat);
  const at::Tensor torch = at::silu(odd.beta);
  for (const Isa isa : isas()) {
    EXPECT(at::allclose(run(odd, isa).reshape({count}), torch, 1e-6, 1e-36, /*equal_nan=*/true));
  }
}

TEST("a sample's bits depend neither on its neighbours nor on the threads") {
  const int threads = at::get_num_threads();
  for (const GroupNormShape shape : std::vector<GroupNormShape>{{5, 1024, 36, 9}, {3, 70, 128, 32}, {8, 400, 33, 3}}) {
    const Inputs in = make_inputs(shape, true, true, true);
    for (const Isa isa : isas()) {
      at::set_num_threads(1);
      const at::Tensor whole = run(in, isa);
      for (const int count : {2, 3, 5}) {
        at::set_num_threads(count);
        EXPECT(same_bits(run(in, isa), whole));
        for (int64_t b = 0; b < shape.batch; ++b) {
          Inputs one = in;
          one.shape.batch = 1;
          one.x = in.x.narrow(0, b, 1);
          one.scale = in.scale.narrow(0, b, 1);
          one.shift = in.shift.narrow(0, b, 1);
          EXPECT(same_bits(run(one, isa), whole.narrow(0, b, 1)));
        }
      }
    }
  }
  at::set_num_threads(threads);
}

TEST("works in place") {
  for (const GroupNormShape shape : kShapes) {
    const Inputs in = make_inputs(shape, true, false, true);
    at::Tensor y = in.x.clone();
    nd::kernels::group_norm_nhwc(y.const_data_ptr<float>(), y.mutable_data_ptr<float>(), shape, in.parameters());
    EXPECT(same_bits(y, run(in, nd::kernels::best_isa())));
  }
}

TEST("bfloat16 in and out, statistics in float") {
  for (const GroupNormShape shape : kShapes) {
    Inputs in = make_inputs(shape, true, true, true);
    const at::Tensor x = in.x.to(at::kBFloat16);
    in.x = x.to(at::kFloat);
    for (const Isa isa : isas()) {
      at::Tensor y = at::empty_like(x);
      nd::kernels::group_norm_on(isa, bits(x), mutable_bits(y), shape, in.parameters());
      EXPECT(same_bits(y, run(in, isa).to(at::kBFloat16)));
    }
    at::Tensor y = x.clone();
    nd::kernels::group_norm_nhwc(bits(y), mutable_bits(y), shape, in.parameters());
    EXPECT(same_bits(y, run(in, nd::kernels::best_isa()).to(at::kBFloat16)));
  }
}
