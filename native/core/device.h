#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace nd {

/// The public name of a dtype ('float32', 'bfloat16', …). Throws ERR_DTYPE for one that the API does not have.
at::ScalarType parse_dtype(const std::string& name);
std::string dtype_name(at::ScalarType dtype);

/// 'cpu', 'cuda' or 'cuda:N'. Throws ERR_DEVICE for another name and for a device that is not here.
at::Device parse_device(const std::string& name);

/// Whether float32 products and convolutions may be computed with TF32's 10 bits of mantissa where the hardware has it, in the
/// whole process. torch lets convolutions unless told; here nothing does.
void allow_tf32(bool allowed);
bool tf32_allowed();

/// How many threads this process may use: the CPUs of its affinity mask, or less where a cgroup's quota is smaller.
int available_threads();

}  // namespace nd
