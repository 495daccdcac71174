#pragma once

#include "check.h"
#include "cuda/values.h"

/// What the tests of GroupNorm share.
namespace group_norm_case {

using namespace nd::kernels::cuda;
using nd::kernels::GroupNormShape;
using nd::kernels::NormActivation;

/// What a call reads or writes.
enum class Operand { none, x, second, y, add, gamma, beta, scale, shift };

struct Case {
  GroupNormShape shape;
  Element element = Element::f32;
  bool affine = true, modulated = false, silu = false, added = false;
  int64_t add_stride = -1;  // −1: as long as a row is
  int64_t chunk = 0;  // pixels of a block at most
  int64_t most_cluster = 0;
  float mean = 0.5F;
  bool in_place = false;
  int64_t first_channels = 0;  // the others in a second tensor; 0: all in one
  Operand unaligned = Operand::none;
  int64_t padding = 0;  // floats behind each row of what is added and of the modulation
};

struct Inputs {
  std::vector<float> x, gamma, beta, scale, shift, add;
};

inline int64_t add_stride(const Case& c) { return c.add_stride < 0 ? c.shape.channels : c.add_stride; }

inline Inputs make_inputs(const Case& c) {
  const GroupNormShape& s = c.shape;
  Inputs in;
  in.x = values::rounded(c.element, values::random(s.batch * s.pixels * s.channels, 1, c.mean, 1.5F));
  in.gamma = values::random(s.channels, 2);
  in.beta = values::random(s.channels, 3);
  in.scale = values::random(s.batch * s.channels, 4, 0, 0.5F);
  in.shift = values::random(s.batch * s.channels, 5);
  in.add = values::random(s.batch * s.channels, 6);
  return in;
}

inline constexpr float kEps = 1e-6F;

/// Channels [first, end) of every pixel.
inline std::vector<float> channels_of(const Case& c, const Inputs& in, int64_t first, int64_t end) {
  std::vector<float> part;
  for (int64_t pixel = 0; pixel < c.shape.batch * c.shape.pixels; ++pixel) {
    const auto row = in.x.begin() + pixel * c.shape.channels;
    part.insert(part.end(), row + first, row + end);
  }
  return part;
}

/// Rows of the shape's channels with the case's padding, NaN, behind each.
inline std::vector<float> padded(const Case& c, const std::vector<float>& rows) {
  std::vector<float> all;
  for (auto row = rows.begin(); row != rows.end(); row += c.shape.channels) {
    all.insert(all.end(), row, row + c.shape.channels);
    all.insert(all.end(), static_cast<size_t>(c.padding), NAN);
  }
  return all;
}

inline std::vector<float> run(const Case& c, const Inputs& in) {
  const int64_t first_channels = c.first_channels == 0 ? c.shape.channels : c.first_channels;
  const auto offset = [&](Operand operand, size_t size) { return c.unaligned == operand ? size : 0; };
  const size_t size = values::size_of(c.element);
  const DeviceBuffer<unsigned char> x(values::encode(c.element, channels_of(c, in, 0, first_channels)), offset(Operand::x, size));
  const DeviceBuffer<unsigned char> second(values::encode(c.element, channels_of(c, in, first_channels, c.shape.channels)),
                                           offset(Operand::second, size));
  const DeviceBuffer<unsigned char> apart(in.x.size() * size, offset(Operand::y, size));
  const DeviceBuffer<unsigned char>& y = c.in_place ? x : apart;
  const DeviceBuffer<float> gamma(in.gamma, offset(Operand::gamma, 1)), beta(in.beta, offset(Operand::beta, 1));
  const DeviceBuffer<float> scale(padded(c, in.scale), offset(Operand::scale, 1));
  const DeviceBuffer<float> shift(padded(c, in.shift), offset(Operand::shift, 1));
  const DeviceBuffer<float> add(padded(c, in.add), offset(Operand::add, 1));
  const GroupNormCall call{.shape = c.shape,
                           .parameters = {c.affine ? gamma.get() : nullptr, c.affine ? beta.get() : nullptr,
                                          c.modulated ? scale.get() : nullptr, c.modulated ? shift.get() : nullptr,
                                          c.shape.channels + c.padding, kEps, c.silu ? NormActivation::silu : NormActivation::none},
                           .element = c.element,
                           .add = c.added ? add.get() : nullptr,
                           .add_stride = add_stride(c) == 0 ? 0 : add_stride(c) + c.padding,
                           .second = c.first_channels == 0 ? nullptr : second.get(),
                           .first_channels = c.first_channels,
                           .chunk_pixels = c.chunk,
                           .most_cluster = c.most_cluster};
  const DeviceBuffer<unsigned char> workspace(group_norm_workspace(call, x.get(), y.get()));
  group_norm(call, x.get(), y.get(), workspace.get(), nullptr);
  EXPECT(y.margins_hold() && workspace.margins_hold());
  return values::decode(c.element, y.values());
}

inline std::vector<double> reference(const Case& c, const Inputs& in) {
  const GroupNormShape& s = c.shape;
  const int64_t size = s.channels / s.groups;
  std::vector<double> y(in.x.size());
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t group = 0; group < s.groups; ++group) {
      const auto each = [&](const auto& visit) {
        for (int64_t pixel = 0; pixel < s.pixels; ++pixel) {
          for (int64_t channel = group * size; channel < (group + 1) * size; ++channel) {
            const auto at = static_cast<size_t>((b * s.pixels + pixel) * s.channels + channel);
            const double a = c.added ? in.add[static_cast<size_t>(b * add_stride(c) + channel)] : 0.0;
            visit(at, static_cast<size_t>(channel), in.x[at] + a);
          }
        }
      };
      double sum = 0, squares = 0;
      const double count = static_cast<double>(s.pixels * size);
      each([&](size_t, size_t, double v) { sum += v; });
      const double mean = sum / count;
      each([&](size_t, size_t, double v) { squares += (v - mean) * (v - mean); });
      each([&](size_t at, size_t channel, double v) {
        double out = (v - mean) / std::sqrt(squares / count + kEps);
        if (c.affine) out = out * in.gamma[channel] + in.beta[channel];
        const size_t row = static_cast<size_t>(b * s.channels) + channel;
        if (c.modulated) out = out * (1.0 + in.scale[row]) + in.shift[row];
        y[at] = c.silu ? out / (1.0 + std::exp(-out)) : out;
      });
    }
  }
  return y;
}

/// Half of the output's last place, and `tolerance` of 1 + |y|.
inline void expect_near(const Case& c, const std::vector<float>& y, const std::vector<double>& exact, double tolerance) {
  for (size_t i = 0; i < y.size(); ++i) {
    EXPECT_NEAR(y[i], exact[i], 0.51 * values::spacing(c.element, exact[i]) + tolerance * (1.0 + std::abs(exact[i])));
  }
}

/// Halves round at 5e-4 of the result.
inline double tolerance_of(Element element) { return element == Element::f32 ? 2e-6 : 1e-5; }

/// Makes more chunks of a large image than lanes of a group merge them, and none of a small one.
inline constexpr int64_t kChunk = 7;

}  // namespace group_norm_case
