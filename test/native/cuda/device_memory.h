#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cuda/kernels.h"

// A GPU's memory, or where the kernels are emulated the heap, which AddressSanitizer guards.
namespace device_memory {

void* allocate(size_t bytes);
void release(void* memory) noexcept;
/// Wait for the kernels before them, and throw what these met.
void copy_in(void* to, const void* from, size_t bytes);
void copy_out(void* to, const void* from, size_t bytes);

}  // namespace device_memory

/// `count` elements on the device, `offset` elements behind a boundary of 256 bytes. What lies on both sides must stay
/// as it is.
template <typename T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t count, size_t offset = 0) : count_(count), before_(offset * sizeof(T)) {
    const size_t bytes = before_ + count * sizeof(T) + kMargin;
    memory_ = static_cast<unsigned char*>(device_memory::allocate(bytes));
    std::vector<unsigned char> poison(bytes, kPoison);
    device_memory::copy_in(memory_, poison.data(), bytes);
  }
  explicit DeviceBuffer(const std::vector<T>& values, size_t offset = 0) : DeviceBuffer(values.size(), offset) {
    device_memory::copy_in(get(), values.data(), count_ * sizeof(T));
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  DeviceBuffer(DeviceBuffer&& other) noexcept : count_(other.count_), before_(other.before_), memory_(other.memory_) {
    other.memory_ = nullptr;
  }
  ~DeviceBuffer() { device_memory::release(memory_); }

  T* get() const { return reinterpret_cast<T*>(memory_ + before_); }
  std::vector<T> values() const {
    std::vector<T> out(count_);
    device_memory::copy_out(out.data(), get(), count_ * sizeof(T));
    return out;
  }
  /// Whether nothing beside the elements was written.
  bool margins_hold() const {
    std::vector<unsigned char> bytes(before_ + count_ * sizeof(T) + kMargin);
    device_memory::copy_out(bytes.data(), memory_, bytes.size());
    for (size_t i = 0; i < bytes.size(); ++i) {
      if ((i < before_ || i >= before_ + count_ * sizeof(T)) && bytes[i] != kPoison) return false;
    }
    return true;
  }

 private:
  static constexpr unsigned char kPoison = 0xFF;  // NaN in every element type
  static constexpr size_t kMargin = 64;

  size_t count_, before_;
  unsigned char* memory_;
};
