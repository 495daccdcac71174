#include "core/json.h"

#include <nlohmann/json.hpp>

#include <set>
#include <string>
#include <vector>

namespace nd {

using nlohmann::json;

namespace {

/// Builds nothing, and throws for what is beyond the limits. (The parser's own callback, which could do the same while it
/// builds, takes a time that is quadratic in an object's entries.)
class Checker final : public json::json_sax_t {
 public:
  Checker(const JsonLimits& limits, const std::string& what, ErrorCode code) : limits_(limits), what_(what), code_(code) {}

  bool null() override { return count(); }
  bool boolean(bool) override { return count(); }
  bool number_integer(json::number_integer_t) override { return count(); }
  bool number_unsigned(json::number_unsigned_t) override { return count(); }
  bool number_float(json::number_float_t, const std::string&) override { return count(); }
  bool string(std::string&) override { return count(); }
  bool binary(json::binary_t&) override { return count(); }
  bool start_object(size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool start_array(size_t) override { return enter(); }
  bool end_array() override { return leave(); }
  bool key(std::string& name) override {
    if (!levels_.back().insert(name).second) fail(code_, what_, " has the key ", show_json(name), " twice");
    return count();
  }
  bool parse_error(size_t, const std::string&, const json::exception& error) override { throw error; }

 private:
  bool count() {
    if (++values_ > limits_.values) fail(code_, what_, " must be JSON of at most ", limits_.values, " values");
    return true;
  }
  bool enter() {
    if (levels_.size() >= static_cast<size_t>(limits_.depth)) {
      fail(code_, what_, " must be JSON of at most ", limits_.depth, " levels");
    }
    levels_.emplace_back();
    return count();
  }
  bool leave() {
    levels_.pop_back();
    return true;
  }

  const JsonLimits& limits_;
  const std::string& what_;
  const ErrorCode code_;
  std::vector<std::set<std::string>> levels_;  // the keys of the objects that are open
  uint64_t values_ = 0;
};

}  // namespace

json parse_json(std::string_view text, const JsonLimits& limits, const std::string& what, ErrorCode code) {
  if (text.size() > limits.bytes) {
    fail(code, what, " must be JSON of at most ", limits.bytes, " bytes, got ", text.size());
  }
  try {
    Checker checker(limits, what, code);
    json::sax_parse(text, &checker);
    return json::parse(text);
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
