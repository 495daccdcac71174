#pragma once

#include <exception>

namespace nd {

/// Whether something was thrown for lack of memory, in any of the ways that there are: a device's allocator, the CPU's, the
/// standard library's, and what an archive's forward makes of them.
bool ran_out_of_memory(const std::exception_ptr& thrown);

}  // namespace nd
