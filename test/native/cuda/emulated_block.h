#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3() = default;
  explicit dim3(unsigned x, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
inline dim3 threadIdx{0}, blockIdx{0}, blockDim, gridDim;

// A launch on the CPU: blocks one after another, the threads of a block as contexts of one thread. A GPU promises no order
// between two barriers, so it is drawn: that of the blocks, and that of the threads which a barrier lets go on, of which each
// then runs as far ahead of the others as it can. What lacks a barrier comes out wrong.
namespace emulation {

[[noreturn]] inline void stop(const char* why) {
  std::fprintf(stderr, "%s\n", why);
  std::abort();
}

/// Into an order that is another at every call, and the same in every run.
inline void shuffle(std::vector<unsigned>& items) {
  static std::minstd_rand source;
  std::shuffle(items.begin(), items.end(), source);
}

/// 0 to count − 1.
inline std::vector<unsigned> shuffled(size_t count) {
  std::vector<unsigned> items(count);
  std::iota(items.begin(), items.end(), 0U);
  shuffle(items);
  return items;
}

class Block;
/// Of which a thread now runs; null where its threads run one by one, as those of a launch without shared memory do.
inline Block* block = nullptr;

/// Where so many threads meet.
class Barrier {
 public:
  explicit Barrier(size_t threads) : threads_(threads) {}
  void arrive_and_wait();

 private:
  size_t threads_;
  std::vector<unsigned> waiting_;
};

/// 32 threads, or what is left of the block, and what they tell each other.
struct Warp {
  explicit Warp(size_t threads) : barrier(threads) {}
  Barrier barrier;
  float lanes[32] = {};
  uint32_t fragments[32][6] = {};
};

class Block {
 public:
  Block(size_t threads, size_t shared_bytes, const std::function<void()>& body)
      : barrier(threads), shared(std::make_unique_for_overwrite<unsigned char[]>(shared_bytes)), body_(body),
        contexts_(threads) {
    for (size_t first = 0; first < threads; first += 32) warps_.emplace_back(std::min<size_t>(threads - first, 32));
    while (stacks.size() < threads) stacks.push_back(std::make_unique_for_overwrite<char[]>(kStack));
    std::memset(shared.get(), 0xFF, shared_bytes);  // NaN
  }

  void run() {
    block = this;
    unfinished_ = contexts_.size();
    for (size_t i = 0; i < contexts_.size(); ++i) prepare(contexts_[i], stacks[i].get());
    let_go(shuffled(contexts_.size()));
    switch_from(caller_);
    block = nullptr;
  }

  Warp& warp() { return warps_[threadIdx.x / 32]; }

  /// These may go on, before all others that may.
  void let_go(const std::vector<unsigned>& threads) { ready_.insert(ready_.end(), threads.begin(), threads.end()); }
  void wait() { switch_from(contexts_[threadIdx.x]); }

  Barrier barrier;
  std::unique_ptr<unsigned char[]> shared;  // new aligns to 16 bytes

 private:
  static constexpr size_t kStack = 1 << 16;
  inline static std::vector<std::unique_ptr<char[]>> stacks;  // of all blocks, one after another

  static void prepare(ucontext_t& context, char* stack) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = kStack;
    makecontext(&context, run_thread, 0);
  }
  static void run_thread() {
    block->body_();
    --block->unfinished_;
    block->wait();
  }

  void switch_from(ucontext_t& from) {
    if (ready_.empty()) {
      if (unfinished_ > 0) stop("threads wait for others of their block or warp that never come");
      swapcontext(&from, &caller_);
      return;
    }
    threadIdx = dim3(ready_.back());
    ready_.pop_back();
    ucontext_t& next = contexts_[threadIdx.x];
    if (&next != &from) swapcontext(&from, &next);
  }

  const std::function<void()>& body_;
  std::vector<ucontext_t> contexts_;
  std::vector<Warp> warps_;
  std::vector<unsigned> ready_;
  size_t unfinished_ = 0;
  ucontext_t caller_{};
};

inline void Barrier::arrive_and_wait() {
  waiting_.push_back(threadIdx.x);
  if (waiting_.size() == threads_) {
    shuffle(waiting_);
    block->let_go(waiting_);
    waiting_.clear();
  }
  block->wait();
}

/// Calls body for every thread of every block.
inline void run(dim3 grid, int threads, size_t shared_bytes, const std::function<void()>& body) {
  constexpr size_t kMostShared = 99 << 10;  // the least that a device of compute capability 8 or 9 has for a block
  if (grid.x < 1 || grid.x > 0x7FFFFFFF || grid.y < 1 || grid.y > 0xFFFF || threads < 1 || threads > 1024 ||
      shared_bytes > kMostShared) {
    throw std::logic_error("no GPU takes such a launch");
  }
  blockDim = dim3(static_cast<unsigned>(threads));
  gridDim = grid;
  for (const unsigned at : shuffled(size_t{grid.x} * grid.y)) {
    blockIdx = dim3(at % grid.x, at / grid.x);
    if (shared_bytes > 0) {
      Block(blockDim.x, shared_bytes, body).run();
      continue;
    }
    for (const unsigned thread : shuffled(blockDim.x)) {
      threadIdx = dim3(thread);
      body();
    }
  }
}

}  // namespace emulation
