#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

/// The part of cuDNN's graph interface that a convolution with an epilogue wants.
namespace nd::cuda::cudnn {

/// A call that cuDNN refused: mostly because it has no such kernel.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void check(cudnnStatus_t status);

/// What cuDNN calls the type of an attribute's elements.
template <typename T>
inline constexpr cudnnBackendAttributeType_t type_name = T::has_no_name;
template <>
inline constexpr auto type_name<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr auto type_name<int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr auto type_name<float> = CUDNN_TYPE_FLOAT;
template <>
inline constexpr auto type_name<void*> = CUDNN_TYPE_VOID_PTR;
template <>
inline constexpr auto type_name<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
inline constexpr auto type_name<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr auto type_name<cudnnConvolutionMode_t> = CUDNN_TYPE_CONVOLUTION_MODE;
template <>
inline constexpr auto type_name<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr auto type_name<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr auto type_name<cudnnBackendNumericalNote_t> = CUDNN_TYPE_NUMERICAL_NOTE;

/// One of the backend's descriptors. What it is made of is only needed until it is finalized.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t kind) { check(cudnnBackendCreateDescriptor(kind, &value_)); }
  ~Descriptor() {
    if (value_ != nullptr) cudnnBackendDestroyDescriptor(value_);
  }
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }

  template <typename T>
  Descriptor& set(cudnnBackendAttributeName_t name, std::span<const T> values) {
    return set(name, type_name<T>, values.size(), values.data());
  }
  template <typename T, size_t n>
  Descriptor& set(cudnnBackendAttributeName_t name, const std::array<T, n>& values) {
    return set(name, std::span<const T>(values));
  }
  template <typename T>
  Descriptor& set(cudnnBackendAttributeName_t name, T value) {
    return set(name, type_name<T>, 1, &value);
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& part) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part.value_);
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& parts) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, parts.size(), raw(parts).data());
  }
  Descriptor&& finalized() {
    check(cudnnBackendFinalize(value_));
    return std::move(*this);
  }

  int64_t integer(cudnnBackendAttributeName_t name) const;
  /// At most `most` of them.
  std::vector<cudnnBackendNumericalNote_t> notes(cudnnBackendAttributeName_t name, int64_t most) const;
  /// All of a list of one kind.
  std::vector<Descriptor> parts(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t kind) const;

  cudnnBackendDescriptor_t get() const { return value_; }

 private:
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, size_t count, const void* values) {
    check(cudnnBackendSetAttribute(value_, name, type, static_cast<int64_t>(count), values));
    return *this;
  }
  static std::vector<cudnnBackendDescriptor_t> raw(const std::vector<Descriptor>& parts);

  cudnnBackendDescriptor_t value_ = nullptr;
};

/// What every tensor's address must be a multiple of.
inline constexpr int64_t alignment = 16;

/// Batch, channels, height, width.
using Sizes = std::array<int64_t, 4>;

/// In NHWC memory. A virtual one is in none: one operation's result that another one reads.
Descriptor tensor(int64_t id, cudnnDataType_t type, const Sizes& sizes, bool is_virtual = false);

/// Height's and width's.
using Pair = std::array<int64_t, 2>;
/// y = conv(x) in float32, of x with zeros before its first pixels and after its last.
Descriptor convolution(const Descriptor& x, const Descriptor& weight, const Descriptor& y, int64_t stride, const Pair& before,
                       const Pair& after);

/// y = a + b in float32.
Descriptor sum(const Descriptor& a, const Descriptor& b, const Descriptor& y);

Descriptor graph(cudnnHandle_t handle, const std::vector<Descriptor>& operations);

/// The engines that can do it and their settings, first what cuDNN takes for the fastest. None where it knows none.
std::vector<Descriptor> engine_configs(const Descriptor& graph, cudnnBackendHeurMode_t mode);

std::vector<cudnnBackendNumericalNote_t> numerical_notes(const Descriptor& engine_config);

/// A kernel, or several, ready to run, on the device that its graph's handle is of.
class Plan {
 public:
  explicit Plan(Descriptor engine_config);

  int64_t workspace_bytes() const { return workspace_bytes_; }
  /// On the handle's stream. Not from two threads at once: not every engine allows that.
  void run(cudnnHandle_t handle, std::span<const int64_t> ids, std::span<void* const> tensors, void* workspace) const;

 private:
  Descriptor config_, plan_;  // the configuration lives as long as what is made of it
  int64_t workspace_bytes_;
};

}  // namespace nd::cuda::cudnn
