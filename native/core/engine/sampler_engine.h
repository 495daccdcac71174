#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>

#include "core/engine/batch_runner.h"
#include "core/engine/engine_meter.h"
#include "core/engine/outputs.h"
#include "core/engine/request.h"
#include "core/engine/warm_up.h"

namespace nd {

/// Runs many requests through one model, step by step: policy.select → runner.run → settle, on a thread of its own.
/// Requests join and leave between steps. Every method may be called from any thread.
class SamplerEngine {
 public:
  struct Options {
    int64_t max_batch = 64;
    int64_t max_queue = 1024;  // requests that have not begun
    bool pad_batches = false;  // every batch is run as one of max_batch: results to the bit whatever shares it
  };
  /// Called on the engine's thread after each step, with all that it brought about; must not call the engine.
  using Listener = std::function<void(std::vector<EngineEvent>)>;

  SamplerEngine(std::unique_ptr<const Denoiser> denoiser, Options options, Listener listener);
  /// Closes, and waits for the thread.
  ~SamplerEngine();
  SamplerEngine(const SamplerEngine&) = delete;

  /// Queues a request and gives its id. Throws ERR_QUEUE_FULL, ERR_CLOSED.
  uint64_t submit(SampleRequest request);
  /// Ends it before its next step with ERR_ABORTED; one that has ended is left alone.
  void cancel(uint64_t id);
  /// Measures what steps of so many requests take, for the policy, before the next step; ends with `warmed` or `failed`.
  /// Throws ERR_CLOSED.
  uint64_t warm_up(SampleShape shape, std::vector<int64_t> batch_sizes, bool guided = false);

  EngineStats stats() const;
  /// Waits until every request has ended.
  void drain();
  /// Takes no more, ends what is queued and running with ERR_CLOSED soon, then says `closed`. Does not wait.
  void close();

 private:
  /// What the other threads have handed in.
  struct Inbox {
    std::vector<std::unique_ptr<RunningRequest>> requests;
    std::vector<uint64_t> cancelled;
    std::vector<WarmUp> warm_ups;
    bool empty() const { return requests.empty() && cancelled.empty() && warm_ups.empty(); }
  };

  void loop();
  bool take_in();
  void expire();
  void warm_up_some();
  void run_step();
  bool go_on_with_fewer(const BatchPolicy::Batch& batch);
  void settle(RunningRequest& request, std::vector<RunningRequest*>& leaving);
  void report_step(const RunningRequest& request);
  void leave(const std::vector<RunningRequest*>& requests);
  void deliver();
  void learn(const StepTime& took);
  void come_to_rest();
  void finish(const RunningRequest& request, at::Tensor output);
  void fail_request(uint64_t id, std::exception_ptr error);
  void leave_lists(const RunningRequest& request);
  void forget(const RunningRequest& request);
  void announce_room();
  void end_all();
  void tell();
  void count_busy();
  void check_open() const;

  const Options options_;
  BatchRunner runner_;
  const Listener listener_;

  // The engine's thread's own.
  BatchPolicy policy_;
  std::unordered_map<uint64_t, std::unique_ptr<RunningRequest>> requests_;
  std::set<std::pair<EngineClock::time_point, uint64_t>> deadlines_;
  std::unique_ptr<Outputs> leaving_;  // of the last step's requests that it finished, on CUDA
  WarmUps warm_ups_;
  std::vector<EngineEvent> events_;
  EngineClock::time_point counted_;  // up to here busy time is counted
  double not_busy_ = 0;  // seconds since that were no request's: waiting for threads, trials

  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  Inbox inbox_;
  EngineMeter meter_;
  uint64_t next_id_ = 0;
  int64_t queued_ = 0, running_ = 0;
  bool refused_ = false;  // a request, since the queue last had room
  int64_t batch_limit_;
  std::atomic<bool> closing_ = false;

  std::thread thread_;
};

}  // namespace nd
