#include "cuda/group_norm_case.h"

using namespace group_norm_case;

namespace {

const std::vector<GroupNormShape> kShapes = {
    {2, 64, 128, 32}, {1, 16, 256, 32}, {1, 16, 512, 32}, {2, 25, 384, 32}, {3, 1, 96, 32},
    {2, 35, 6, 2},    {2, 17, 7, 1},
    {1, 9, 33, 11},   {2, 300, 20, 4},  {1, 999, 3, 3},   {2, 77, 100, 4},  {1, 30, 48, 48},
    {1, 20, 264, 1},  {1, 3, 2064, 1},
    {1, 1500, 32, 8},
    {1, 1000, 48, 4},  // many pixels a thread
    {1, 12, 48, 8},    // vectors whose parts, of one group each, are of two channels
};

}  // namespace

TEST("equals group_norm in double for every shape, element and option") {
  for (const GroupNormShape& shape : kShapes) {
    for (const Element element : values::kElements) {
      for (const int options : {0, 1, 5, 11, 14, 15}) {
        const Case c{.shape = shape, .element = element, .affine = (options & 1) != 0, .modulated = (options & 2) != 0,
                     .silu = (options & 4) != 0, .added = (options & 8) != 0, .in_place = options == 5};
        const Inputs in = make_inputs(c);
        expect_near(c, run(c, in), reference(c, in), tolerance_of(c.element));
      }
    }
  }
}

TEST("in chunks too, where a block does not hold an image") {
  for (const GroupNormShape& shape : kShapes) {
    for (const Element element : values::kElements) {
      const Case c{.shape = shape, .element = element, .silu = true, .added = true, .chunk = kChunk,
                   .in_place = shape.batch == 1};
      const Inputs in = make_inputs(c);
      expect_near(c, run(c, in), reference(c, in), tolerance_of(c.element));
    }
  }
}

TEST("groups of halves so wide that a block has few pixels of them") {
  for (const GroupNormShape& shape : {GroupNormShape{1, 3, 7680, 1}, GroupNormShape{2, 5, 4584, 4}}) {
    const Case c{.shape = shape, .element = Element::bf16, .modulated = true, .silu = true, .added = true};
    const Inputs in = make_inputs(c);
    expect_near(c, run(c, in), reference(c, in), tolerance_of(c.element));
  }
}

TEST("of two tensors side by side: what their concatenation has") {
  struct Split {
    GroupNormShape shape;
    int64_t first_channels;
  };
  // Groups on both sides of the seam, vectors of one side alone; and a seam within what would be a vector.
  const Split splits[] = {{{2, 40, 384, 32}, 256}, {{2, 16, 512, 32}, 256}, {{1, 300, 96, 4}, 40}, {{2, 9, 24, 3}, 5}};
  for (const Split& split : splits) {
    for (const Element element : values::kElements) {
      for (const int64_t chunk : {int64_t{0}, kChunk}) {
        Case c{.shape = split.shape, .element = element, .silu = true, .added = true, .chunk = chunk};
        const Inputs in = make_inputs(c);
        const auto together = run(c, in);
        c.first_channels = split.first_channels;
        const auto apart = run(c, in);
        // Where the seam allows no vectors, the sums come in another order.
        if (split.first_channels % 8 == 0) EXPECT(values::same(apart, together));
        expect_near(c, apart, reference(c, in), tolerance_of(c.element));
      }
    }
  }
}

TEST("an image is cut where a block does not hold it, or where it is told to") {
  GroupNormCall call{.shape = {2, 2048, 128, 32}, .parameters = {}, .element = Element::bf16};
  EXPECT_EQUAL(group_norm_workspace(call, nullptr, nullptr), 0U);
  call.chunk_pixels = 1000;
  EXPECT_EQUAL(group_norm_workspace(call, nullptr, nullptr), 3U * 2 * 32 * 8);
  call.chunk_pixels = 0;
  call.shape.pixels = 65536;
  EXPECT(group_norm_workspace(call, nullptr, nullptr) >= 2 * 2 * 32 * 8U);
  call = {.shape = {1, 2, 8192, 1}, .parameters = {}, .element = Element::f32};
  EXPECT_ERROR(shape, "holds no pixel of a group of 8192", group_norm(call, &call, &call, &call, nullptr));
  call.shape.groups = 5;
  EXPECT_ERROR(shape, "8192 channels in 5 groups", group_norm_workspace(call, nullptr, nullptr));
}

TEST("one row to add serves a batch") {
  const Case c{.shape = {3, 20, 32, 8}, .added = true, .add_stride = 0};
  const Inputs in = make_inputs(c);
  expect_near(c, run(c, in), reference(c, in), tolerance_of(c.element));
}

TEST("operands may lie anywhere") {
  for (const auto unaligned : {Operand::x, Operand::second, Operand::y, Operand::add, Operand::gamma, Operand::beta,
                               Operand::scale, Operand::shift}) {
    for (const Element element : values::kElements) {
      for (const int64_t chunk : {int64_t{0}, kChunk}) {
        const Case c{.shape = {2, 20, 64, 4}, .element = element, .modulated = true, .silu = true, .added = true,
                     .chunk = chunk, .first_channels = 48, .unaligned = unaligned};
        const Inputs in = make_inputs(c);
        expect_near(c, run(c, in), reference(c, in), tolerance_of(c.element));
      }
    }
  }
}

TEST("rows to add and to modulate by may be columns of a wider table") {
  for (const int64_t padding : {1, 4}) {
    for (const Element element : values::kElements) {
      const Case c{.shape = {3, 20, 32, 4}, .element = element, .modulated = true, .added = true, .padding = padding};
      const Inputs in = make_inputs(c);
      expect_near(c, run(c, in), reference(c, in), tolerance_of(c.element));
    }
  }
}

TEST("a sample's bits do not depend on its neighbours, nor on how many they are") {
  // The last five are cut otherwise than each of their samples alone (group_norm_slices_test), or would be if pairs did not count.
  const Case cases[] = {
      {.shape = {4, 70, 96, 24}, .element = Element::bf16, .modulated = true},
      {.shape = {4, 70, 96, 24}, .element = Element::bf16, .modulated = true, .chunk = kChunk},
      {.shape = {50, 64, 512, 32}, .element = Element::bf16},
      {.shape = {20, 1024, 64, 16}},
      {.shape = {20, 4096, 32, 8}},
      {.shape = {20, 1024, 128, 32}, .element = Element::f16},
      {.shape = {20, 1024, 64, 4}},
      {.shape = {40, 480, 64, 16}},
  };
  for (Case c : cases) {
    c.silu = c.added = true;
    const Inputs in = make_inputs(c);
    const auto whole = run(c, in);
    expect_near(c, whole, reference(c, in), tolerance_of(c.element));
    const int64_t samples = c.shape.batch;
    for (const int64_t b : {int64_t{0}, int64_t{1}, samples / 2, samples - 1}) {
      const auto part = [&](const std::vector<float>& v) {
        const auto size = static_cast<int64_t>(v.size()) / samples;
        return std::vector<float>(v.begin() + b * size, v.begin() + (b + 1) * size);
      };
      Case one = c;
      one.shape.batch = 1;
      const Inputs alone{part(in.x), in.gamma, in.beta, part(in.scale), part(in.shift), part(in.add)};
      EXPECT(values::same(run(one, alone), part(whole)));
    }
  }
}

TEST("images that blocks share, and near to the same where no block may") {
  const GroupNormShape shapes[] = {{1, 1024, 128, 32}, {1, 1024, 384, 32}, {1, 2304, 64, 8},
                                   {2, 4096, 32, 8},   {1, 1500, 40, 4},   {1, 16384, 16, 2}};
  for (const GroupNormShape& shape : shapes) {
    for (const Element element : values::kElements) {
      Case c{.shape = shape, .element = element, .modulated = true, .silu = true, .added = true, .in_place = element == Element::f16};
      const Inputs in = make_inputs(c);
      const auto exact = reference(c, in);
      for (const int64_t most_cluster : {0, 2, 1}) {
        c.most_cluster = most_cluster;
        expect_near(c, run(c, in), exact, tolerance_of(c.element));
      }
    }
  }
}

TEST("nothing to normalise launches nothing") {
  for (const GroupNormShape& shape : {GroupNormShape{0, 4, 8, 2}, GroupNormShape{2, 0, 8, 2}, GroupNormShape{2, 4, 0, 2}}) {
    const GroupNormCall call{.shape = shape, .parameters = {}, .element = Element::f32};
    EXPECT_EQUAL(group_norm_workspace(call, nullptr, nullptr), 0U);
    group_norm(call, nullptr, nullptr, nullptr, nullptr);
  }
}

TEST("calls that no launch can do are refused") {
  GroupNormCall call{.shape = {1, 2048, 128, 32}, .parameters = {}, .element = Element::bf16, .chunk_pixels = 1000};
  EXPECT_ERROR(argument, "no workspace", group_norm(call, &call, &call, nullptr, nullptr));
  call = {.shape = {int64_t{1} << 31, 1, 32, 8}, .parameters = {}, .element = Element::f32};
  EXPECT_ERROR(shape, "2147483648 samples are too many", group_norm(call, &call, &call, nullptr, nullptr));
}
