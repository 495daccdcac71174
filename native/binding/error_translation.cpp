#include "binding/error_translation.h"

#include <c10/util/Exception.h>

#include <new>
#include <regex>
#include <string>

#include "binding/napi_setup.h"
#include "core/errors.h"

namespace nd::binding {
namespace {

Napi::Error make_error(Napi::Env env, ErrorCode code, const std::string& message) {
  const auto& factory = addon_data(env).make_error;
  const auto text = Napi::String::New(env, message);
  if (factory.IsEmpty()) return Napi::Error::New(env, message);
  return Napi::Error(env, factory.Call({Napi::String::New(env, code_name(code)), text}));
}

/// The first line of what libtorch says, without places in its sources: the rest is for its developers.
std::string essence(std::string message) {
  // "[enforce fail at x.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: …"
  static const std::regex enforced(R"re(^\[enforce fail at [^\]]*\] (?:[^.]*\. (?=\S))?)re");
  message = std::regex_replace(message.substr(0, 4000), enforced, "");
  message = message.substr(0, message.find('\n'));
  // "/…/Functions.cpp:3063: SymIntArrayRef expected …", "… INTERNAL ASSERT FAILED at "/…/x.cpp":12, please report a bug …"
  static const std::regex place(R"re((^\S+\.(?:cpp|cu|cuh|h):\d+: ?)|( at "?\S+\.(?:cpp|cu|cuh|h)"?:\d+(?:, please report a bug to PyTorch\.?)?))re");
  message = std::regex_replace(message, place, "");
  constexpr size_t kLongest = 500;
  return message.size() <= kLongest ? message : message.substr(0, message.find(". ", 100)) + " …";
}

}  // namespace

Napi::Error translate(Napi::Env env, std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Napi::Error& e) {
    return e;
  } catch (const Error& e) {
    return make_error(env, e.code(), e.what());
  } catch (const c10::OutOfMemoryError& e) {
    return make_error(env, ErrorCode::out_of_memory, essence(e.what_without_backtrace()));
  } catch (const c10::Error& e) {
    const std::string message = e.what_without_backtrace();
    return make_error(env, is_out_of_memory(message) ? ErrorCode::out_of_memory : ErrorCode::op, essence(message));
  } catch (const std::bad_alloc&) {
    return make_error(env, ErrorCode::out_of_memory, "out of memory");
  } catch (const std::exception& e) {
    return make_error(env, ErrorCode::op, e.what());
  } catch (...) {
    return make_error(env, ErrorCode::op, "native code threw something that is no std::exception");
  }
}

}  // namespace nd::binding
