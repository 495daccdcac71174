#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace nd {

/// The stable codes of the public API (ts/errors.ts holds the same list).
enum class ErrorCode {
  argument,
  shape,
  dtype,
  device,
  config,
  timestep,
  checkpoint,
  not_found,
  queue_full,
  deadline,
  aborted,
  closed,
  disposed,
  out_of_memory,
  op,
};

/// The public name of a code: ErrorCode::shape is "ERR_SHAPE".
const char* code_name(ErrorCode code);

/// What core throws: a code, and a message that names the argument, what it got and what it wants.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

/// Whether this is what libtorch says when memory runs out: on the CPU a plain c10::Error, known by its text alone.
bool is_out_of_memory(const std::string& libtorch_message);

/// Throws Error{code, all parts one after the other}.
template <typename... Parts>
[[noreturn]] void fail(ErrorCode code, Parts&&... parts) {
  std::ostringstream message;
  (message << ... << std::forward<Parts>(parts));
  throw Error(code, message.str());
}

}  // namespace nd
