#pragma once

#include <cmath>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/errors.h"

// The names are not CHECK and its like, which libtorch's logging defines.
// A test is a function that returns or throws; main.cpp runs those of one file, or all.
namespace check {

struct Test {
  std::string file;
  std::string name;
  std::function<void()> run;
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

struct Register {
  Register(const char* file, const char* name, std::function<void()> run) { tests().push_back({file, name, std::move(run)}); }
};

template <typename... Parts>
[[noreturn]] void failed(const char* file, int line, const Parts&... parts) {
  std::ostringstream message;
  message << file << ":" << line << ": ";
  (message << ... << parts);
  throw std::runtime_error(message.str());
}

/// Returns the message.
template <typename Body>
std::string throws(const char* file, int line, nd::ErrorCode code, const std::string& text, Body&& body) {
  try {
    body();
  } catch (const nd::Error& e) {
    if (e.code() != code) failed(file, line, "threw ", nd::code_name(e.code()), ", wanted ", nd::code_name(code), ": ", e.what());
    if (std::string(e.what()).find(text) == std::string::npos) failed(file, line, "'", text, "' is not in '", e.what(), "'");
    return e.what();
  }
  failed(file, line, "threw nothing, wanted ", nd::code_name(code));
}

}  // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define TEST(name)                                                                           \
  static void CHECK_JOIN(test_, __LINE__)();                                                 \
  static const check::Register CHECK_JOIN(register_, __LINE__){__FILE__, name, CHECK_JOIN(test_, __LINE__)}; \
  static void CHECK_JOIN(test_, __LINE__)()

#define EXPECT(condition) \
  do { \
    if (!(condition)) check::failed(__FILE__, __LINE__, "not so: ", #condition); \
  } while (false)
#define EXPECT_EQUAL(a, b) \
  do { \
    if (!((a) == (b))) check::failed(__FILE__, __LINE__, #a, " = ", (a), ", wanted ", #b, " = ", (b)); \
  } while (false)
#define EXPECT_NEAR(a, b, tolerance) \
  do { \
    if (!(std::abs((a) - (b)) <= (tolerance))) check::failed(__FILE__, __LINE__, #a, " = ", (a), ", wanted ", (b), " ± ", (tolerance)); \
  } while (false)
#define EXPECT_ERROR(code, text, expression) \
  check::throws(__FILE__, __LINE__, nd::ErrorCode::code, text, [&] { static_cast<void>(expression); })
