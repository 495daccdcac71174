#include "core/out_of_memory.h"

#include <c10/util/Exception.h>

#include <new>

#include "core/errors.h"

namespace nd {

bool ran_out_of_memory(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& e) {
    return e.code() == ErrorCode::out_of_memory;
  } catch (const c10::OutOfMemoryError&) {
    return true;
  } catch (const c10::Error& e) {
    return is_out_of_memory(e.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace nd
