#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <string_view>

#include "core/errors.h"

namespace nd {

/// What a JSON text from outside may take up.
struct JsonLimits {
  uint64_t bytes = 16 << 20;
  int depth = 32;             // objects and arrays in one another
  uint64_t values = 1 << 22;  // and keys
};

/// Parses a text that may be hostile. `what` opens the message, as in "unet/config.json". Throws Error{code} for a text
/// that is malformed, exceeds `limits`, or has one key twice in an object.
nlohmann::json parse_json(std::string_view text, const JsonLimits& limits, const std::string& what, ErrorCode code);

/// The value as JSON, cut to fit a message.
std::string show_json(const nlohmann::json& value);

}  // namespace nd
