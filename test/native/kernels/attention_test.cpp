#include "kernels/attention.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "kernels/cpu/attention_kernels.h"
#include "kernels/kernel_check.h"

namespace {

using nd::kernels::Scratch;
using nd::kernels::AttentionShape;
using nd::kernels::Isa;

/// [batch, tokens, 3, heads, head_dim], normally distributed.
at::Tensor make_qkv(const AttentionShape& shape, uint64_t seed = 1) {
  return at::randn({shape.batch, shape.tokens, 3, shape.heads, shape.head_dim}, at::detail::createCPUGenerator(seed),
                   at::kFloat);
}

/// The formula in double: [batch, tokens, heads, head_dim].
at::Tensor reference(const at::Tensor& qkv) {
  const at::Tensor parts = qkv.to(at::kDouble).permute({2, 0, 3, 1, 4});
  const at::Tensor scores = parts[0].matmul(parts[1].transpose(-1, -2)) / std::sqrt(static_cast<double>(qkv.size(4)));
  return at::softmax(scores, -1).matmul(parts[2]).transpose(1, 2).contiguous();
}

at::Tensor torch_attention(const at::Tensor& qkv) {
  const at::Tensor parts = qkv.permute({2, 0, 3, 1, 4});
  return at::scaled_dot_product_attention(parts[0], parts[1], parts[2]).transpose(1, 2).contiguous();
}

template <typename T>
at::Tensor run_in(const at::Tensor& qkv, Isa isa, Scratch& scratch) {
  const AttentionShape shape{qkv.size(0), qkv.size(1), qkv.size(3), qkv.size(4)};
  at::Tensor out = at::full({shape.batch, shape.tokens, shape.heads, shape.head_dim}, std::nan(""), qkv.options());
  nd::kernels::attention_on(isa, static_cast<const T*>(qkv.const_data_ptr()), static_cast<T*>(out.mutable_data_ptr()),
                            shape, scratch);
  return out;
}

at::Tensor run(const at::Tensor& qkv, Isa isa) {
  Scratch scratch;
  return qkv.scalar_type() == at::kFloat ? run_in<float>(qkv, isa, scratch) : run_in<uint16_t>(qkv, isa, scratch);
}

double relative_error(const at::Tensor& y, const at::Tensor& wanted) {
  return ((y.to(at::kDouble) - wanted).norm() / wanted.norm()).item<double>();
}

/// Whole and broken tiles, panels, chunks and vectors; one block of keys and several, the last of one key too.
const std::vector<AttentionShape> kShapes = {
    {1, 256, 1, 256}, {2, 16, 1, 256}, {2, 64, 6, 16},  {1, 256, 1, 512}, {2, 64, 28, 8}, {1, 1, 1, 1},
    {3, 1, 2, 5},     {2, 2, 3, 1},    {1, 15, 2, 7},   {2, 17, 1, 33},   {1, 35, 3, 9},  {1, 49, 2, 40},
    {2, 63, 1, 65},   {1, 97, 1, 127}, {1, 300, 1, 3},  {1, 513, 1, 20},  {1, 577, 1, 6}, {1, 130, 1, 700},
    {1, 40, 1, 4100}, {2, 271, 2, 24}, {1, 1024, 2, 8},
};

}  // namespace

TEST("equals the formula in double for every shape and instruction set") {
  for (const AttentionShape& shape : kShapes) {
    const at::Tensor qkv = make_qkv(shape), wanted = reference(qkv);
    // Beyond 512 dimensions the scores' own rounding grows.
    const double limit = shape.head_dim > 512 ? 3e-6 : 1e-6;
    for (const Isa isa : isas()) EXPECT_NEAR(relative_error(run(qkv, isa), wanted), 0.0, limit);
  }
}

TEST("4096 tokens, in blocks of keys and queries") {
  const at::Tensor qkv = make_qkv({1, 4096, 1, 40}), wanted = reference(qkv);
  for (const Isa isa : isas()) EXPECT_NEAR(relative_error(run(qkv, isa), wanted), 0.0, 1e-6);
}

TEST("large scores neither overflow nor lose the sum") {
  for (const double magnitude : {30.0, 3e4, 1e15}) {
    at::Tensor qkv = make_qkv({2, 600, 2, 24});
    qkv.narrow(2, 0, 2).mul_(magnitude);
    const at::Tensor wanted = reference(qkv);
    for (const Isa isa : isas()) {
      const at::Tensor y = run(qkv, isa);
      EXPECT(at::isfinite(y).all().item<bool>());
      EXPECT_NEAR(relative_error(y, wanted), 0.0, magnitude < 100 ? 1e-3 : 1e-1);
    }
  }
}

TEST("a falling and a rising highest score from block to block") {
  for (const bool falling : {false, true}) {
    at::Tensor qkv = make_qkv({1, 1200, 1, 16});
    at::Tensor ramp = at::arange(1200, at::kFloat).div(150);
    if (falling) ramp = ramp.flip(0);
    qkv.select(2, 0).select(-1, 0).fill_(4);
    qkv.select(2, 1).select(-1, 0).copy_(ramp.reshape({1, 1200, 1}));
    const at::Tensor wanted = reference(qkv);
    for (const Isa isa : isas()) EXPECT_NEAR(relative_error(run(qkv, isa), wanted), 0.0, 1e-6);
  }
}

TEST("equal scores give the mean of the values") {
  for (const int64_t tokens : {7, 50, 700}) {
    at::Tensor qkv = make_qkv({1, tokens, 2, 12});
    qkv.select(2, 0).zero_();
    const at::Tensor mean = qkv.select(2, 2).to(at::kDouble).mean(1, true).expand({1, tokens, 2, 12});
    for (const Isa isa : isas()) EXPECT_NEAR(relative_error(run(qkv, isa), mean), 0.0, 1e-5);
  }
}

TEST("NaN and the infinities come out as the formula has them") {
  const float far = std::numeric_limits<float>::infinity();
  for (const int64_t tokens : {20, 1100}) {
    for (const float odd : {std::nanf(""), far, -far}) {
      for (int part = 0; part < 3; ++part) {
        for (const int64_t token : {int64_t{3}, tokens - 1}) {
          at::Tensor qkv = make_qkv({2, tokens, 2, 9});
          qkv[1][token][part][1][4].fill_(odd);
          const at::Tensor wanted = reference(qkv).to(at::kFloat);
          for (const Isa isa : isas()) {
            EXPECT(at::allclose(run(qkv, isa), wanted, 1e-4, 1e-5, /*equal_nan=*/true));
          }
        }
      }
    }
  }
}

TEST("a sample's bits depend neither on its neighbours nor on the threads") {
  const int threads = at::get_num_threads();
  for (const AttentionShape& shape : std::vector<AttentionShape>{{5, 64, 6, 16}, {3, 256, 1, 40}, {2, 1030, 1, 9}}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor qkv = make_qkv(shape).to(dtype);
      for (const Isa isa : isas()) {
        at::set_num_threads(1);
        const at::Tensor whole = run(qkv, isa);
        for (const int count : {2, 3, 5, 16}) {
          at::set_num_threads(count);
          EXPECT(same_bits(run(qkv, isa), whole));
          for (int64_t b = 0; b < shape.batch; ++b) {
            EXPECT(same_bits(run(qkv.narrow(0, b, 1).clone(), isa), whole.narrow(0, b, 1)));
          }
        }
      }
    }
  }
  at::set_num_threads(threads);
}

TEST("bfloat16 in and out, everything between in float") {
  for (const AttentionShape& shape : kShapes) {
    const at::Tensor qkv = make_qkv(shape).to(at::kBFloat16), wanted = reference(qkv);
    const double of_torch = relative_error(torch_attention(qkv), wanted);
    for (const Isa isa : isas()) {
      const at::Tensor y = run(qkv, isa);
      EXPECT(same_bits(y, run(qkv.to(at::kFloat), isa).to(at::kBFloat16)));
      EXPECT_NEAR(relative_error(y, wanted), 0.0, 1.1 * of_torch + 1e-4);
    }
  }
}

TEST("an empty batch is left alone, and one scratch serves every shape") {
  Scratch scratch;
  for (const AttentionShape& shape : kShapes) {
    const at::Tensor qkv = make_qkv(shape);
    EXPECT(same_bits(run_in<float>(qkv, nd::kernels::best_isa(), scratch), run(qkv, nd::kernels::best_isa())));
  }
  EXPECT_EQUAL(run(at::empty({0, 16, 3, 1, 8}), Isa::portable).numel(), 0);
}
