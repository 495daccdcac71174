#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace nd {

/// The public name of a dtype ('float32', 'bfloat16', …). Throws ERR_DTYPE for one that the API does not have.
at::ScalarType parse_dtype(const std::string& name);
std::string dtype_name(at::ScalarType dtype);

/// 'cpu', 'cuda' or 'cuda:N'. Throws ERR_DEVICE for another name and for a device that is not here.
at::Device parse_device(const std::string& name);

/// How many threads this process may use: the CPUs of its affinity mask, or less where a cgroup's quota is smaller.
int available_threads();

}  // namespace nd
