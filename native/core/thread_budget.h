#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <set>

namespace nd {

/// How many threads the heavy work of this process uses in all. CPU cores are the process's, so this is one for all its
/// Node environments. A job takes its share when it starts and keeps it: with `limit` threads and k jobs at hand it is
/// limit / k, so that one job alone uses them all and many run side by side, each within its own thread.
class ThreadBudget {
 public:
  static ThreadBudget& process();

  struct Counts {
    int limit;   // threads of all jobs together
    int in_use;  // of the jobs that run now
    int peak;    // the most in use since set_limit
  };
  Counts counts() const;

  /// Takes effect for jobs that start later.
  void set_limit(int limit);

  /// A job was handed in, or dropped before it began.
  void announce();
  void withdraw(int jobs);

  bool has_room() const;

  /// Waits, first come first served, until a thread is free and gives the job its threads, at least 1; 0 where `stopping` has become true. At most
  /// `workers` jobs of the caller run at once.
  int acquire(int workers, const std::atomic<bool>& stopping);
  /// The job that acquired them has ended.
  void release(int threads);

  /// Lets acquire() look at `stopping`.
  void wake();

 private:
  ThreadBudget();

  mutable std::mutex mutex_;
  std::condition_variable freed_;
  int limit_;
  int in_use_ = 0;
  int peak_ = 0;
  int jobs_ = 0;  // handed in and not ended
  uint64_t next_ticket_ = 0;
  std::set<uint64_t> waiting_;
};

/// This thread's parallel regions have so many threads: OpenMP keeps the number per thread.
void use_threads(int threads);

/// How long a thread may be idle with its OpenMP threads waiting for it.
inline constexpr std::chrono::milliseconds kTeamPatience{50};

/// Ends the OpenMP threads that wait for this one's next parallel region; the region makes new ones. Where more of them are
/// there than cores, OpenMP stops spinning between operators in every thread of the process, which takes twice the time.
void end_idle_team();

}  // namespace nd
