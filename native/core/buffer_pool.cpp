#include "core/buffer_pool.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <unordered_map>

namespace nd {
namespace {

/// Below it the C library keeps blocks itself.
constexpr size_t smallest_pooled = 32 * 1024;

thread_local std::shared_ptr<BufferPool> current_pool;

/// libtorch's own allocator, but for large blocks on a thread that uses a pool.
class PoolingAllocator final : public c10::Allocator {
 public:
  explicit PoolingAllocator(c10::Allocator* plain) : plain_(plain) {}

  /// libtorch has one CPU allocator a process; this one takes its place at the first use and stays, for memory in flight.
  static PoolingAllocator& installed() {
    static auto* const allocator = [] {
      constexpr uint8_t above_default = 1;
      auto* made = new PoolingAllocator(c10::GetCPUAllocator());
      c10::SetCPUAllocator(made, above_default);
      return made;
    }();
    return *allocator;
  }

  c10::DataPtr allocate(size_t bytes) override {
    if (!current_pool || bytes < smallest_pooled) return plain_->allocate(bytes);
    auto* data = current_pool->acquire(bytes);
    {
      const std::lock_guard lock(mutex_);
      pooled_.emplace(data, Owner{current_pool, bytes});
    }
    return {data, data, deallocate, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return deallocate; }
  void copy_data(void* to, const void* from, size_t bytes) const override { plain_->copy_data(to, from, bytes); }

 private:
  struct Owner {
    std::shared_ptr<BufferPool> pool;
    size_t bytes;
  };

  /// Raw memory (oneDNN's scratch) comes here with its address alone, whoever made it: hence the table.
  static void deallocate(void* data) {
    auto& self = installed();
    Owner owner;
    {
      const std::lock_guard lock(self.mutex_);
      const auto found = self.pooled_.find(data);
      if (found != self.pooled_.end()) {
        owner = std::move(found->second);
        self.pooled_.erase(found);
      }
    }
    if (owner.pool) {
      owner.pool->release(data, owner.bytes);
    } else {
      self.plain_->raw_deleter()(data);
    }
  }

  c10::Allocator* plain_;
  std::mutex mutex_;
  std::unordered_map<void*, Owner> pooled_;
};

}  // namespace

BufferPool::~BufferPool() {
  for (auto& [bytes, blocks] : by_size_) {
    for (auto* block : blocks.free) c10::free_cpu(block);
  }
}

void* BufferPool::acquire(size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    auto& blocks = by_size_[bytes];
    blocks.most_in_use = std::max(blocks.most_in_use, ++blocks.in_use);
    if (!blocks.free.empty()) {
      auto* block = blocks.free.back();
      blocks.free.pop_back();
      return block;
    }
  }
  try {
    return c10::alloc_cpu(bytes);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    --by_size_[bytes].in_use;
    throw;
  }
}

void BufferPool::release(void* block, size_t bytes) {
  const std::lock_guard lock(mutex_);
  auto& blocks = by_size_[bytes];
  --blocks.in_use;
  blocks.free.push_back(block);
}

void BufferPool::drop_unused() {
  const std::lock_guard lock(mutex_);
  for (auto entry = by_size_.begin(); entry != by_size_.end();) {
    auto& blocks = entry->second;
    while (!blocks.free.empty() && blocks.free.size() + blocks.in_use > blocks.most_in_use) {
      c10::free_cpu(blocks.free.back());
      blocks.free.pop_back();
    }
    blocks.most_in_use = blocks.in_use;
    entry = blocks.free.empty() && blocks.in_use == 0 ? by_size_.erase(entry) : std::next(entry);
  }
}

BufferPools::Use::Use(BufferPools& pools) : pools_(pools), outer_(current_pool) {
  PoolingAllocator::installed();
  {
    const std::lock_guard lock(pools_.mutex_);
    if (!pools_.idle_.empty()) {
      pool_ = std::move(pools_.idle_.back());
      pools_.idle_.pop_back();
    }
  }
  if (!pool_) pool_ = std::make_shared<BufferPool>();
  current_pool = pool_;
}

BufferPools::Use::~Use() {
  current_pool = outer_;
  pool_->drop_unused();
  const std::lock_guard lock(pools_.mutex_);
  pools_.idle_.push_back(std::move(pool_));
}

}  // namespace nd
