#include "core/unet/onednn_ops.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/List.h>

#include <array>

#include "kernels/cpu/isa.h"

namespace nd::onednn {
namespace {

using at::IntArrayRef;
using at::Scalar;
using at::Tensor;
using std::optional;
using std::string_view;
using Scalars = c10::List<optional<Scalar>>;

using Reorder = Tensor(const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef, int64_t, at::OptionalIntArrayRef);
using Pointwise = Tensor(const Tensor&, const Tensor&, const optional<Tensor>&, IntArrayRef, IntArrayRef, IntArrayRef,
                         int64_t, string_view, Scalars, optional<string_view>);
using Binary = Tensor(const Tensor&, const Tensor&, const Tensor&, const optional<Tensor>&, IntArrayRef, IntArrayRef,
                      IntArrayRef, int64_t, string_view, optional<Scalar>, optional<string_view>, Scalars,
                      optional<string_view>);
using BinaryInPlace = Tensor&(Tensor&, const Tensor&, const Tensor&, const optional<Tensor>&, IntArrayRef, IntArrayRef,
                              IntArrayRef, int64_t, string_view, optional<Scalar>, optional<string_view>, Scalars,
                              optional<string_view>);

template <typename Signature>
c10::TypedOperatorHandle<Signature> find(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

struct Operators {
  c10::TypedOperatorHandle<Reorder> reorder = find<Reorder>("mkldnn::_reorder_convolution_weight");
  c10::TypedOperatorHandle<Pointwise> pointwise = find<Pointwise>("mkldnn::_convolution_pointwise");
  c10::TypedOperatorHandle<Binary> binary = find<Binary>("mkldnn::_convolution_pointwise", "binary");
  c10::TypedOperatorHandle<BinaryInPlace> binary_ = find<BinaryInPlace>("mkldnn::_convolution_pointwise_", "binary");
};

/// None where libtorch has no oneDNN or other signatures.
const optional<Operators>& operators() {
  static const optional<Operators> found = []() -> optional<Operators> {
    try {
      return Operators{};
    } catch (const c10::Error&) {
      return std::nullopt;
    }
  }();
  return found;
}

constexpr std::array<int64_t, 2> no_dilation{1, 1};
constexpr int64_t one_group = 1;

struct Pairs {
  std::array<int64_t, 2> stride, padding;
  explicit Pairs(ConvGeometry geometry)
      : stride{geometry.stride, geometry.stride}, padding{geometry.padding, geometry.padding} {}
};

}  // namespace

bool available(at::ScalarType dtype) {
  if (!at::hasMKLDNN() || !operators()) return false;
  const auto isa = kernels::best_isa();
  if (dtype == at::kFloat) return isa != kernels::Isa::portable;
  return dtype == at::kBFloat16 && isa == kernels::Isa::avx512;  // below, oneDNN has no bfloat16
}

Tensor pack(const Tensor& weight, ConvGeometry geometry, IntArrayRef input_size) {
  const Pairs pairs(geometry);
  return operators()->reorder.call(weight, pairs.padding, pairs.stride, no_dilation, one_group, input_size);
}

Tensor convolution(const Tensor& x, const Tensor& packed, const Tensor& bias, ConvGeometry geometry) {
  const Pairs pairs(geometry);
  return operators()->pointwise.call(x, packed, bias, pairs.padding, pairs.stride, no_dilation, one_group, "none",
                                     Scalars(), "");
}

Tensor convolution_add(const Tensor& x, const Tensor& addend, const Tensor& packed, const Tensor& bias,
                       ConvGeometry geometry) {
  const Pairs pairs(geometry);
  return operators()->binary.call(x, addend, packed, bias, pairs.padding, pairs.stride, no_dilation, one_group, "add", 1.0,
                                  std::nullopt, Scalars(), std::nullopt);
}

void convolution_accumulate(Tensor& sum, const Tensor& x, const Tensor& packed, const Tensor& bias, ConvGeometry geometry) {
  const Pairs pairs(geometry);
  operators()->binary_.call(sum, x, packed, bias, pairs.padding, pairs.stride, no_dilation, one_group, "add", 1.0,
                            std::nullopt, Scalars(), std::nullopt);
}

}  // namespace nd::onednn
