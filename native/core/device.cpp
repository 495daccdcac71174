#include "core/device.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <thread>
#include <utility>

#include "core/errors.h"

namespace nd {
namespace {

constexpr std::array<std::pair<const char*, at::ScalarType>, 8> kDtypes{{{"float32", at::kFloat},
                                                                         {"float64", at::kDouble},
                                                                         {"float16", at::kHalf},
                                                                         {"bfloat16", at::kBFloat16},
                                                                         {"int64", at::kLong},
                                                                         {"int32", at::kInt},
                                                                         {"uint8", at::kByte},
                                                                         {"bool", at::kBool}}};

/// The quota of cgroup v2's cpu.max ("max 100000" or "150000 100000") or of v1's two files, in CPUs; infinity without one.
double cgroup_quota() {
  double quota = -1, period = 100000;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  if (v2 >> quota >> period && quota > 0 && period > 0) return quota / period;
  std::ifstream quota_v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), period_v1("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_v1 >> quota && period_v1 >> period && quota > 0 && period > 0) return quota / period;
  return INFINITY;
}

}  // namespace

at::ScalarType parse_dtype(const std::string& name) {
  std::string wanted;
  for (const auto& [text, dtype] : kDtypes) {
    if (name == text) return dtype;
    wanted += (wanted.empty() ? "'" : ", '") + std::string(text) + "'";
  }
  fail(ErrorCode::dtype, "dtype must be one of ", wanted, ", got '", name, "'");
}

std::string dtype_name(at::ScalarType dtype) {
  for (const auto& [text, value] : kDtypes) {
    if (value == dtype) return text;
  }
  return c10::toString(dtype);
}

at::Device parse_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  const bool indexed = name.starts_with("cuda:") && name.size() > 5 && name.size() < 9 &&
                       std::all_of(name.begin() + 5, name.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (name != "cuda" && !indexed) fail(ErrorCode::device, "device must be 'cpu', 'cuda' or 'cuda:N', got '", name, "'");
  if (!at::hasCUDA()) {
    fail(ErrorCode::device, "device '", name, "' is not here: libtorch sees no CUDA device, or is a CPU build; "
                            "'npx node-diffusers doctor' tells which");
  }
  const at::Device device(name);
  const auto count = at::getNumGPUs();
  if (device.has_index() && static_cast<size_t>(device.index()) >= count) {
    fail(ErrorCode::device, "device '", name, "' is not here: there are ", count, " CUDA devices");
  }
  return device.has_index() ? device : at::Device(at::kCUDA, 0);
}

void allow_tf32(bool allowed) {
  auto& context = at::globalContext();
  context.setFloat32MatmulPrecision(allowed ? "high" : "highest");
  const auto precision = allowed ? at::Float32Precision::TF32 : at::Float32Precision::IEEE;
  for (const auto op : {at::Float32Op::CONV, at::Float32Op::RNN}) {
    context.setFloat32Precision(at::Float32Backend::CUDA, op, precision);  // libtorch wants both alike
  }
}

bool tf32_allowed() { return at::globalContext().float32MatmulPrecision() != at::Float32MatmulPrecision::HIGHEST; }

int available_threads() {
  const int cpus = std::max(1u, std::thread::hardware_concurrency());
  return std::max(1, std::min(cpus, static_cast<int>(std::ceil(std::min(cgroup_quota(), 1e6)))));
}

}  // namespace nd
