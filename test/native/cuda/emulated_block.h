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

#include "kernels/cuda/limits.h"

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3() = default;
  explicit dim3(unsigned x, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
inline dim3 threadIdx{0}, blockIdx{0}, blockDim, gridDim;

// A launch on the CPU: clusters of blocks one after another, the threads of one as contexts of one thread. A GPU promises no order
// between two barriers, so it is drawn: that of the blocks, and that of the threads which a barrier lets go on, of which each
// then runs as far ahead of the others as it can. What lacks a barrier comes out wrong.
namespace emulation {

[[noreturn]] inline void stop(const char* why) {
  std::fprintf(stderr, "%s\n", why);
  std::abort();
}

/// Chance that is another at every call, and the same in every run.
inline std::minstd_rand chance;
inline void shuffle(std::vector<unsigned>& items) { std::shuffle(items.begin(), items.end(), chance); }

/// 0 to count − 1.
inline std::vector<unsigned> shuffled(size_t count) {
  std::vector<unsigned> items(count);
  std::iota(items.begin(), items.end(), 0U);
  shuffle(items);
  return items;
}

class Cluster;
/// Of which a thread now runs; null where its threads run one by one, as those of a launch without shared memory do.
inline Cluster* cluster = nullptr;

/// Where so many threads meet.
class Barrier {
 public:
  explicit Barrier(size_t threads) : threads_(threads) {}
  void arrive_and_wait();
  /// The meeting that wait is for. Those who arrive all go on at once, or all let the others run first.
  size_t arrive();
  void wait(size_t meeting);

 private:
  void count_in();
  size_t threads_, arrived_ = 0, meeting_ = 0;
  bool lets_run_ = false;
  std::vector<unsigned> waiting_;
};

/// 32 threads, or what is left of the block, and what they tell each other.
struct Warp {
  explicit Warp(size_t threads) : barrier(threads) {}
  Barrier barrier;
  float lanes[32] = {};
  uint32_t fragments[32][6] = {};
};

/// A block's own.
struct Block {
  Block(size_t threads, size_t shared_bytes)
      : barrier(threads), shared(std::make_unique_for_overwrite<unsigned char[]>(shared_bytes)), shared_bytes(shared_bytes),
        running(threads) {
    for (size_t first = 0; first < threads; first += 32) warps.emplace_back(std::min<size_t>(threads - first, 32));
    poison();
  }
  /// Its memory has nothing in it before it runs, and nothing after.
  void poison() { std::memset(shared.get(), 0xFF, shared_bytes); }  // NaN
  Barrier barrier;
  std::unique_ptr<unsigned char[]> shared;  // new aligns to 16 bytes
  size_t shared_bytes, running;
  std::vector<Warp> warps;
};

/// Blocks that run at once, next to each other along x.
class Cluster {
 public:
  Cluster(dim3 first, size_t count, size_t threads, size_t shared_bytes, const std::function<void()>& body)
      : barrier(count * threads), first_(first), threads_(threads), body_(body), contexts_(count * threads), meetings_(count * threads) {
    for (size_t i = 0; i < count; ++i) blocks_.emplace_back(threads, shared_bytes);
    while (stacks.size() < contexts_.size()) stacks.push_back(std::make_unique_for_overwrite<char[]>(kStack));
  }

  void run() {
    cluster = this;
    unfinished_ = contexts_.size();
    for (size_t i = 0; i < contexts_.size(); ++i) prepare(contexts_[i], stacks[i].get());
    let_go(shuffled(contexts_.size()));
    switch_from(caller_);
    cluster = nullptr;
  }

  /// That of the thread which runs now, or the one of that rank.
  Block& block() { return blocks_[now_ / threads_]; }
  Block& block(size_t rank) { return blocks_.at(rank); }
  Warp& warp() { return block().warps[threadIdx.x / 32]; }

  /// Which thread of all runs now.
  unsigned now() const { return now_; }
  /// These may go on, before all others that may.
  void let_go(const std::vector<unsigned>& threads) { ready_.insert(ready_.end(), threads.begin(), threads.end()); }
  void wait() { switch_from(contexts_[now_]); }
  void let_others_run() {
    ready_.insert(ready_.begin(), now_);
    wait();
  }

  void arrive() {
    const auto thread = now_;
    meetings_[thread] = barrier.arrive();
  }
  void wait_for_arrived() { barrier.wait(meetings_[now_]); }

  Barrier barrier;

 private:
  static constexpr size_t kStack = 1 << 16;
  inline static std::vector<std::unique_ptr<char[]>> stacks;  // of all clusters, one after another

  static void prepare(ucontext_t& context, char* stack) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = kStack;
    makecontext(&context, run_thread, 0);
  }
  static void run_thread() {
    cluster->body_();
    if (--cluster->block().running == 0) cluster->block().poison();
    --cluster->unfinished_;
    cluster->wait();
  }

  void switch_from(ucontext_t& from) {
    if (ready_.empty()) {
      if (unfinished_ > 0) stop("threads wait for others of their warp, block or cluster that never come");
      swapcontext(&from, &caller_);
      return;
    }
    now_ = ready_.back();
    ready_.pop_back();
    threadIdx = dim3(now_ % static_cast<unsigned>(threads_));
    blockIdx = dim3(first_.x + now_ / static_cast<unsigned>(threads_), first_.y);
    ucontext_t& next = contexts_[now_];
    if (&next != &from) swapcontext(&from, &next);
  }

  const dim3 first_;
  const size_t threads_;
  const std::function<void()>& body_;
  std::vector<ucontext_t> contexts_;
  std::vector<size_t> meetings_;  // of each thread, that it has arrived at last
  std::vector<Block> blocks_;
  std::vector<unsigned> ready_;
  unsigned now_ = 0;
  size_t unfinished_ = 0;
  ucontext_t caller_{};
};

inline void Barrier::count_in() {
  if (++arrived_ < threads_) return;
  arrived_ = 0, ++meeting_;
  shuffle(waiting_);
  cluster->let_go(waiting_);
  waiting_.clear();
}
inline void Barrier::arrive_and_wait() {
  waiting_.push_back(cluster->now());
  count_in();
  cluster->wait();
}
inline size_t Barrier::arrive() {
  const size_t meeting = meeting_;
  if (arrived_ == 0) lets_run_ = std::bernoulli_distribution()(chance);
  count_in();
  if (lets_run_) cluster->let_others_run();
  return meeting;
}
inline void Barrier::wait(size_t meeting) {
  if (meeting_ != meeting) return;
  waiting_.push_back(cluster->now());
  cluster->wait();
}

/// Calls body for every thread of every block, of which `blocks` run at once.
inline void run(dim3 grid, int threads, size_t shared_bytes, int blocks, const std::function<void()>& body) {
  using namespace nd::kernels::cuda;
  if (grid.x < 1 || grid.x > 0x7FFFFFFF || grid.y < 1 || grid.y > 0xFFFF || threads < 1 || threads > 1024 ||
      shared_bytes > size_t{kMostShared} || blocks < 1 || blocks > kMostCluster ||
      (blocks > 1 && shared_bytes == 0) || grid.x % static_cast<unsigned>(blocks) != 0) {
    throw std::logic_error("no GPU takes such a launch");
  }
  blockDim = dim3(static_cast<unsigned>(threads));
  gridDim = grid;
  const auto count = static_cast<unsigned>(blocks), clusters = grid.x / count;
  for (const unsigned at : shuffled(size_t{clusters} * grid.y)) {
    blockIdx = dim3(at % clusters * count, at / clusters);
    if (shared_bytes > 0) {
      Cluster(blockIdx, count, blockDim.x, shared_bytes, body).run();
      continue;
    }
    for (const unsigned thread : shuffled(blockDim.x)) {
      threadIdx = dim3(thread);
      body();
    }
  }
}

}  // namespace emulation
