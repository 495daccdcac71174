#pragma once

#include <cmath>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/errors.h"

/// The tests' own few macros. A test is registered under its file's name; main runs one file's tests or all.
namespace nd::test {

struct Test {
  std::string file, name;
  std::function<void()> body;
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline std::string stem(const std::string& path) {
  const auto start = path.find_last_of("/\\") + 1;
  return path.substr(start, path.rfind('.') - start);
}

struct Registration {
  Registration(const char* file, const char* name, std::function<void()> body) {
    tests().push_back({stem(file), name, std::move(body)});
  }
};

template <typename... Parts>
[[noreturn]] void failed(const char* file, int line, const Parts&... parts) {
  std::ostringstream message;
  message << file << ":" << line << ": ";
  (message << ... << parts);
  throw std::runtime_error(message.str());
}

/// Checks that `call` throws nd::Error with this code and with `part` in its message; returns the message.
template <typename Call>
std::string check_error(const char* file, int line, ErrorCode code, const std::string& part, Call&& call) {
  try {
    call();
  } catch (const Error& e) {
    const std::string message = e.what();
    if (e.code() != code) failed(file, line, "threw ", code_name(e.code()), " (", message, "), wanted ", code_name(code));
    if (message.find(part) == std::string::npos) failed(file, line, "threw \"", message, "\", wanted \"", part, "\" in it");
    return message;
  }
  failed(file, line, "threw nothing, wanted ", code_name(code));
}

}  // namespace nd::test

#define ND_JOIN_(a, b) a##b
#define ND_JOIN(a, b) ND_JOIN_(a, b)
#define TEST(name)                                                                                             \
  static void ND_JOIN(test_at_, __LINE__)();                                                                   \
  static const nd::test::Registration ND_JOIN(registered_at_, __LINE__)(__FILE__, name, ND_JOIN(test_at_, __LINE__)); \
  static void ND_JOIN(test_at_, __LINE__)()
#define EXPECT(condition) \
  do {                   \
    if (!(condition)) nd::test::failed(__FILE__, __LINE__, #condition); \
  } while (false)
#define EXPECT_EQUAL(actual, expected)                                                                              \
  do {                                                                                                             \
    const auto nd_actual = (actual);                                                                               \
    const decltype(nd_actual) nd_expected = (expected);                                                            \
    if (!(nd_actual == nd_expected)) {                                                                             \
      nd::test::failed(__FILE__, __LINE__, #actual, " is ", nd_actual, ", wanted ", nd_expected);                  \
    }                                                                                                              \
  } while (false)
#define EXPECT_ERROR(code, part, ...) nd::test::check_error(__FILE__, __LINE__, nd::ErrorCode::code, part, [&] { (void)(__VA_ARGS__); })
