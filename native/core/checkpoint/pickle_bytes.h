#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/errors.h"

namespace nd {

/// The bytes of a pickle, read from front to back.
class PickleBytes {
 protected:
  PickleBytes(std::string_view bytes, const std::string& what) : bytes_(bytes), what_(what) {
    if (bytes.size() > kMaxBytes) refuse("it has more than ", kMaxBytes, " bytes");
  }

  template <typename... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(ErrorCode::checkpoint, what_, " is no pickle of tensors (at byte ", at_, "): ", parts...);
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) refuse("it ends early");
    const auto taken = bytes_.substr(at_, static_cast<size_t>(count));
    at_ += static_cast<size_t>(count);
    return taken;
  }

  /// A little-endian number.
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string_view text(uint64_t length) {
    if (length > kMaxText) refuse("a text has ", length, " bytes");
    return take(length);
  }

  std::string_view line() {
    const auto end = bytes_.substr(at_, kMaxText).find('\n');
    if (end == std::string_view::npos) refuse("a name has no end");
    const auto taken = take(end);
    at_ += 1;
    return taken;
  }

 private:
  static constexpr size_t kMaxBytes = 64 << 20, kMaxText = 1 << 16;

  std::string_view bytes_;
  const std::string& what_;
  size_t at_ = 0;
};

}  // namespace nd
