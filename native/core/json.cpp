#include "core/json.h"

#include <nlohmann/json.hpp>

#include <set>
#include <vector>

namespace nd {

using nlohmann::json;

json parse_json(std::string_view text, const JsonLimits& limits, const std::string& what, ErrorCode code) {
  if (text.size() > limits.bytes) {
    fail(code, what, " must be JSON of at most ", limits.bytes, " bytes, got ", text.size());
  }
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  uint64_t values = 0;
  // Called before a value is stored or the next level entered, so that nothing is built beyond the limits.
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth >= limits.depth &&
        (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start)) {
      fail(code, what, " must be JSON of at most ", limits.depth, " levels");
    }
    if (++values > limits.values) fail(code, what, " must be JSON of at most ", limits.values, " values");
    if (event == json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key &&
               !keys.back().insert(parsed.get_ref<const std::string&>()).second) {
      fail(code, what, " has the key ", show_json(parsed), " twice");
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception& e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: …"
    const std::string reason = e.what();
    const auto start = reason.find("] ");
    fail(code, what, " is no valid JSON: ", start == std::string::npos ? reason : reason.substr(start + 2, 300));
  }
}

std::string show_json(const json& value) {
  constexpr size_t kShown = 80;
  if (value.is_structured() && value.size() > kShown) {
    return value.is_array() ? "an array of " + std::to_string(value.size()) : "an object";
  }
  auto text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() <= kShown) return text;
  size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not within a character
  return text.substr(0, end) + "…";
}

}  // namespace nd
