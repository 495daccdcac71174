#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/schedulers/noise_schedule.h"
#include "core/schedulers/scheduler_config.h"
#include "core/schedulers/step_coefficients.h"
#include "kernels/fused_ops.h"

namespace nd {

/// What a step may be told per sample; a list of one holds for the whole batch.
struct JumpOptions {
  std::vector<int64_t> timesteps;
  std::vector<int64_t> prev_timesteps;  // empty: the scheduler's own rule
  std::vector<double> eta = {0.0};      // DDIM
  bool use_clipped_model_output = false;
};

/// A scheduler turns (config, t, s, η) into rows of coefficients; affine_step applies them.
class NoiseScheduler {
 public:
  explicit NoiseScheduler(SchedulerConfig config);
  virtual ~NoiseScheduler() = default;

  const SchedulerConfig& config() const { return config_; }
  const NoiseSchedule& schedule() const { return schedule_; }
  const std::vector<int64_t>& timesteps() const { return timesteps_; }
  std::optional<int64_t> num_inference_steps() const { return num_inference_steps_; }

  void set_timesteps(int64_t num_inference_steps);
  void set_timesteps(std::vector<int64_t> timesteps);

  /// The timestep after t on the way to the clean sample, −1 after the last. instead: for errors, the option that could name it.
  virtual int64_t previous_timestep(int64_t t, const char* instead = nullptr) const = 0;
  /// ᾱ at t = −1, the clean sample.
  virtual float final_alpha_cumprod() const { return 1.0f; }
  /// One sample's coefficients for the jump t → s.
  virtual StepRow row(int64_t t, int64_t s, double eta, bool use_clipped_model_output) const = 0;
  /// Whether diffusers draws noise for a sample at t with this η.
  virtual bool draws_noise(int64_t t, double eta) const = 0;
  virtual LearnedVariance learned_variance() const { return LearnedVariance::none; }
  /// Whether a model output of 2C channels is taken for its first half, the way a DDPM-trained model serves DDIM.
  virtual bool drops_learned_variance() const { return false; }

  /// One row per sample of a batch; checks every list and every jump first.
  std::vector<StepRow> rows(const JumpOptions& options, int64_t batch) const;

  /// q(x_s | x_t, x_0) for one jump or one per sample; an empty prev_timesteps is the scheduler's own rule.
  std::vector<Posterior> posteriors(const std::vector<int64_t>& timesteps, const std::vector<int64_t>& prev_timesteps,
                                    int64_t batch) const;

  float alpha(int64_t t) const { return t < 0 ? final_alpha_cumprod() : schedule_.alphas_cumprod[t]; }
  void check_timestep(int64_t t, const char* name) const;

 protected:
  virtual bool ascending() const { return false; }
  /// The option that says where a step goes, or comes from.
  const char* other_end() const { return ascending() ? "sourceTimestep" : "prevTimestep"; }
  /// Throws for a jump that this scheduler can't make.
  virtual void check_jump(int64_t t, int64_t s, double eta) const = 0;
  /// t − ⌊T/n⌋, or −1 where that is negative. Throws ERR_TIMESTEP before set_timesteps.
  int64_t stride_before(int64_t t, const char* instead) const;
  /// The entry of the list that lies one further down, −1 past the end. Throws ERR_TIMESTEP for a t not in it.
  int64_t next_in_list(int64_t t, const char* instead) const;
  void require_timesteps_set(const char* instead) const;

  const SchedulerConfig config_;
  const NoiseSchedule schedule_;
  std::vector<int64_t> timesteps_;
  std::optional<int64_t> num_inference_steps_;
  bool custom_timesteps_ = false;
};

enum class SchedulerKind { ddpm, ddim, ddim_inverse };
std::unique_ptr<NoiseScheduler> make_scheduler(SchedulerKind kind, SchedulerConfig config);

}  // namespace nd
