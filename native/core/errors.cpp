#include "core/errors.h"

namespace nd {

const char* code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::argument: return "ERR_ARGUMENT";
    case ErrorCode::shape: return "ERR_SHAPE";
    case ErrorCode::dtype: return "ERR_DTYPE";
    case ErrorCode::device: return "ERR_DEVICE";
    case ErrorCode::config: return "ERR_CONFIG";
    case ErrorCode::timestep: return "ERR_TIMESTEP";
    case ErrorCode::checkpoint: return "ERR_CHECKPOINT";
    case ErrorCode::not_found: return "ERR_NOT_FOUND";
    case ErrorCode::queue_full: return "ERR_QUEUE_FULL";
    case ErrorCode::deadline: return "ERR_DEADLINE";
    case ErrorCode::aborted: return "ERR_ABORTED";
    case ErrorCode::closed: return "ERR_CLOSED";
    case ErrorCode::disposed: return "ERR_DISPOSED";
    case ErrorCode::out_of_memory: return "ERR_OUT_OF_MEMORY";
    case ErrorCode::op: return "ERR_OP";
  }
  throw std::logic_error("an ErrorCode without a name");
}

bool is_out_of_memory(const std::string& message) {
  const auto has = [&](const char* part) { return message.find(part) != std::string::npos; };
  return has("DefaultCPUAllocator") || has("out of memory") || has("Storage size calculation overflowed");
}

}  // namespace nd
