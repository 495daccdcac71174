#include <ATen/ATen.h>

#include <limits>

#include "check.h"
#include "kernels/kernel_check.h"
#include "kernels/step_inputs.h"

using namespace nd;
using namespace nd::test;

namespace {

void expect_reference(const std::vector<StepRow>& rows, const StepInputs& in, bool same = true) {
  const auto fused = affine_step(rows, in), plain = affine_step_reference(rows, in);
  for (const auto& [got, wanted] : {std::pair(fused.prev_sample, plain.prev_sample),
                                    std::pair(fused.pred_original_sample, plain.pred_original_sample)}) {
    EXPECT_EQUAL(got.scalar_type(), wanted.scalar_type());
    EXPECT_EQUAL(got.sizes(), wanted.sizes());
    EXPECT(same ? same_bits(got.contiguous(), wanted.contiguous()) : at::allclose(got, wanted, 1e-6, 1e-6));
  }
}

}  // namespace

TEST("the reference's bits with and without clip and noise, for batches of every rank") {
  for (const bool clipped : {false, true}) {
    for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{{3}, {3, 5}, {3, 2, 7}, {3, 3, 32, 32}, {3, 1, 2, 3, 4}, {3, 0, 4}}) {
      auto in = inputs(shape);
      expect_reference(rows(clipped), in);
      in.noise.reset();
      expect_reference(rows(clipped), in);
    }
  }
}

TEST("one row serves the whole batch") {
  for (const StepRow& row : rows(true)) expect_reference({row}, inputs({3, 2, 5}));
  auto in = inputs({3, 2, 50});
  in.threshold = DynamicThreshold{0.9, 2.0};
  expect_reference({rows(false)[0]}, in);
}

TEST("the model's and the noise's dtype may be half, the sample's decides") {
  for (const auto output : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    for (const auto sample : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      auto in = inputs({3, 2, 4, 5});
      in.sample = in.sample.to(sample);
      in.model_output = in.model_output.to(output);
      in.noise = in.noise.to(output);
      expect_reference(rows(true), in);
      EXPECT_EQUAL(affine_step(rows(true), in).prev_sample.scalar_type(), at::promote_types(sample, output));
    }
  }
}

TEST("any strides: channels last, transposed, expanded, parts of larger tensors, negated views") {
  const auto dense = inputs({3, 4, 6, 6});
  std::vector<StepInputs> all(5, dense);
  all[0].sample = dense.sample.contiguous(at::MemoryFormat::ChannelsLast);
  all[0].model_output = dense.model_output.contiguous(at::MemoryFormat::ChannelsLast);
  all[1].model_output = dense.model_output.transpose(2, 3);
  all[1].noise = random({1, 4, 6, 6}, 4).expand({3, 4, 6, 6});
  all[2].sample = random({6, 4, 6, 6}, 5).slice(0, 0, 6, 2);
  all[2].model_output = random({3, 8, 6, 6}, 6).narrow(1, 4, 4);
  all[3].noise = random({3, 4, 6, 12}, 7).slice(3, 0, 12, 2);
  all[4].model_output = at::_neg_view(dense.model_output);
  for (const auto& in : all) expect_reference(rows(true), in);
}

TEST("learned variances, and dynamic thresholding with ᾱ = 0 among the rows") {
  for (const auto learned : {LearnedVariance::direct, LearnedVariance::range}) {
    auto in = inputs({3, 4, 5, 5});
    const auto output = random({3, 8, 5, 5}, 8);
    in.model_output = output.narrow(1, 0, 4);
    in.learned_variance = output.narrow(1, 4, 4).abs();
    in.learned = learned;
    expect_reference(rows(true), in, /*same=*/false);
    in.learned_variance = output.narrow(1, 4, 4);
    if (learned == LearnedVariance::range) expect_reference(rows(false), in, /*same=*/false);
  }
  auto in = inputs({3, 3, 16, 16});
  in.threshold = DynamicThreshold{0.995, 2.0};
  auto of_threshold = rows(false);
  expect_reference(of_threshold, in);
  of_threshold[1].d = 0;
  expect_reference(of_threshold, in);
  in.model_output = in.model_output.to(at::kHalf);
  expect_reference(of_threshold, in);
}

TEST("x0 is made only where it is wanted") {
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    auto in = inputs({3, 3, 4, 4});
    in.sample = in.sample.to(dtype);
    const auto both = affine_step(rows(true), in);
    in.want_x0 = false;
    const auto one = affine_step(rows(true), in);
    EXPECT(!one.pred_original_sample.defined() && same_bits(one.prev_sample, both.prev_sample));
  }
}
