#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace nd {

/// CPU memory that one repeated computation allocates, kept from one run for the next: without it, the C library hands large
/// blocks back to the system after each run and every page is faulted in anew.
class BufferPool {
 public:
  ~BufferPool();

  void* acquire(size_t bytes);
  /// Any thread may call it, also after the run: a result outlives its forward.
  void release(void* block, size_t bytes);

  /// The end of a run: drops what it did not use.
  void drop_unused();

 private:

  struct Blocks {
    std::vector<void*> free;
    size_t in_use = 0;
    size_t most_in_use = 0;  // of this run
  };
  std::mutex mutex_;
  std::map<size_t, Blocks> by_size_;
};

/// A pool for each run of a computation that is under way.
class BufferPools {
 public:
  /// While it lives, large CPU tensors made on this thread take their memory from a pool that is this run's alone.
  class Use {
   public:
    explicit Use(BufferPools& pools);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    BufferPools& pools_;
    std::shared_ptr<BufferPool> pool_, outer_;
  };

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<BufferPool>> idle_;
};

}  // namespace nd
