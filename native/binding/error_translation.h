#pragma once

#include <c10/core/InferenceMode.h>
#include <napi.h>

#include <exception>
#include <utility>

namespace nd::binding {

/// The JavaScript error (a DiffusersError with its code) of whatever native code threw.
Napi::Error translate(Napi::Env env, std::exception_ptr exception);

/// Runs the body of a bound function: without autograd, and with every exception translated.
template <typename Body>
auto guarded(Napi::Env env, Body&& body) {
  try {
    c10::InferenceMode inference;
    return std::forward<Body>(body)();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw translate(env, std::current_exception());
  }
}

}  // namespace nd::binding
