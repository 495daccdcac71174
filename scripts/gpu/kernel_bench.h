#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "core/errors.h"
#include "kernels/cuda/kernels.h"

/// What kernel_bench.cpp measures with.
namespace bench {

using nd::kernels::cuda::Element;

inline void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
  std::exit(1);
}

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

inline int64_t size_of(Element element) { return element == Element::f32 ? 4 : 2; }
inline const char* name_of(Element element) {
  return element == Element::f32 ? "f32" : element == Element::f16 ? "f16" : "bf16";
}

/// Device memory, random normal numbers of the element type in it.
class Buffer {
 public:
  Buffer(Element element, int64_t count) : bytes_(static_cast<size_t>(count * size_of(element))) {
    check(cudaMalloc(&memory_, std::max<size_t>(bytes_, 1)), "cudaMalloc");
    const void* random = random_on_device(element);
    for (size_t at = 0; at < bytes_; at += kRandomBytes) {
      const size_t part = std::min(kRandomBytes, bytes_ - at);
      check(cudaMemcpy(static_cast<char*>(memory_) + at, random, part, cudaMemcpyDeviceToDevice), "cudaMemcpy");
    }
  }
  Buffer(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept : bytes_(other.bytes_), memory_(other.memory_) { other.memory_ = nullptr; }
  ~Buffer() { cudaFree(memory_); }

  void* get() const { return memory_; }
  float* floats() const { return static_cast<float*>(memory_); }

 private:
  static constexpr size_t kRandomBytes = 16 << 20;
  /// Made once, and kept to the end.
  static const void* random_on_device(Element element) {
    static void* of[2];
    const bool wide = element == Element::f32;
    void*& memory = of[wide ? 0 : 1];
    if (memory != nullptr) return memory;
    std::mt19937 bits(1);
    std::normal_distribution<float> normal;
    std::vector<unsigned char> bytes(kRandomBytes);
    for (size_t at = 0; at < bytes.size(); at += wide ? 4 : 2) {
      const float v = normal(bits);
      // A bfloat16 is a float's upper half; read as float16 it is a finite number too.
      std::memcpy(&bytes[at], reinterpret_cast<const char*>(&v) + (wide ? 0 : 2), wide ? 4 : 2);
    }
    check(cudaMalloc(&memory, kRandomBytes), "cudaMalloc");
    check(cudaMemcpy(memory, bytes.data(), kRandomBytes, cudaMemcpyHostToDevice), "cudaMemcpy");
    return memory;
  }

  size_t bytes_;
  void* memory_ = nullptr;
};

struct Result {
  std::string name;
  double microseconds, gigabytes_a_second, share_of_copy;
};

class Bench {
 public:
  /// What is measured goes to `json`, if that is one, with every result; of the names that begin with `prefix`.
  Bench(std::string json, std::string prefix) : json_(std::move(json)), prefix_(std::move(prefix)) {
    check(cudaGetDeviceProperties(&device_, 0), "device");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    for (cudaEvent_t* event : {&begin_, &end_}) check(cudaEventCreate(event), "event");
    constexpr int64_t bytes = int64_t{1} << 30;
    const Buffer from(Element::f32, bytes / 4), to(Element::f32, bytes / 4);
    const auto rate_of = [&](const auto& copy) { return 2.0 * static_cast<double>(bytes) / time(1, 1, copy) / 1e9; };
    memcpy_ = rate_of([&](int64_t) {
      const auto kind = cudaMemcpyDeviceToDevice;
      check(cudaMemcpyAsync(to.get(), from.get(), static_cast<size_t>(bytes), kind, stream_), "copy");
    });
    // A kernel can be faster than cudaMemcpy. This one adds zeros.
    constexpr int64_t channels = 128;
    const Buffer zeros(Element::f32, channels);
    check(cudaMemset(zeros.get(), 0, channels * sizeof(float)), "zeros");
    const double pass = rate_of([&](int64_t) {
      nd::kernels::cuda::add_bias_residual(Element::f32, from.get(), zeros.floats(), nullptr, 1, to.get(), bytes / 4 / channels, channels,
                                           stream_);
    });
    copy_ = std::max(memcpy_, pass);
    std::printf("%s: 1 GiB is read and written by cudaMemcpy with %.0f GB/s, by a kernel with %.0f; shares are of the faster\n",
                device_.name, memcpy_, pass);
    std::printf("%-44s %10s %8s %8s\n", "", "µs", "GB/s", "of copy");
  }

  /// Sets of buffers to take in turn, so that none is found in L2 again.
  int64_t sets_for(int64_t bytes) const {
    return std::clamp<int64_t>(3 * int64_t{device_.l2CacheSize} / bytes + 2, 2, 512);
  }

  /// `bytes` is what a call must move; launch(set) makes one call.
  void run(const std::string& name, int64_t sets, int64_t bytes, const std::function<void(int64_t)>& launch) {
    if (!name.starts_with(prefix_)) return;
    const double seconds = time(sets, std::max<int64_t>(sets, 20), launch);
    const double rate = static_cast<double>(bytes) / seconds / 1e9;
    results_.push_back({name, seconds * 1e6, rate, rate / copy_});
    std::printf("%-44s %10.2f %8.0f %7.0f%%\n", name.c_str(), seconds * 1e6, rate, 100.0 * rate / copy_);
    if (!json_.empty() && !write_json()) nd::fail(nd::ErrorCode::argument, "cannot write ", json_);
  }

  nd::kernels::cuda::Stream stream() const { return stream_; }

 private:
  bool write_json() const {
    FILE* file = std::fopen(json_.c_str(), "w");
    if (file == nullptr) return false;
    std::fprintf(file, "{\n  \"device\": \"%s\",\n  \"memcpyGigabytesPerSecond\": %.1f,\n  \"copyGigabytesPerSecond\": %.1f,\n  \"results\": [",
                 device_.name, memcpy_, copy_);
    for (size_t i = 0; i < results_.size(); ++i) {
      const Result& r = results_[i];
      std::fprintf(file, "%s\n    {\"name\": \"%s\", \"microseconds\": %.3f, ", i == 0 ? "" : ",", r.name.c_str(),
                   r.microseconds);
      std::fprintf(file, "\"gigabytesPerSecond\": %.1f, \"shareOfCopy\": %.4f}", r.gigabytes_a_second, r.share_of_copy);
    }
    std::fprintf(file, "\n  ]\n}\n");
    return std::fclose(file) == 0;
  }

  /// Seconds a call: the median of many launches of one CUDA graph of `calls` calls, which leaves launch overhead out.
  double time(int64_t sets, int64_t calls, const std::function<void(int64_t)>& launch) {
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    check(cudaDeviceSynchronize(), "buffers");  // what fills them may be under way on another stream
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capture");
    for (int64_t call = 0; call < calls; ++call) launch(call % sets);
    check(cudaStreamEndCapture(stream_, &graph), "capture");
    check(cudaGraphInstantiate(&executable, graph, 0), "graph");
    constexpr int warm_ups = 3, repeats = 25;
    std::vector<double> seconds;
    for (int i = 0; i < warm_ups + repeats; ++i) {
      check(cudaEventRecord(begin_, stream_), "event");
      check(cudaGraphLaunch(executable, stream_), "graph");
      check(cudaEventRecord(end_, stream_), "event");
      check(cudaEventSynchronize(end_), "kernel");
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, begin_, end_), "event");
      if (i >= warm_ups) seconds.push_back(1e-3 * milliseconds / static_cast<double>(calls));
    }
    check(cudaGraphExecDestroy(executable), "graph");
    check(cudaGraphDestroy(graph), "graph");
    return median(seconds);
  }

  cudaDeviceProp device_{};
  cudaStream_t stream_{};
  cudaEvent_t begin_{}, end_{};
  const std::string json_, prefix_;
  double memcpy_ = 0, copy_ = 0;
  std::vector<Result> results_;
};

}  // namespace bench
