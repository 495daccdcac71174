#pragma once

#include <napi.h>

#include <memory>

#include "core/schedulers/noise_scheduler.h"

namespace nd::binding {

/// One native noise scheduler of any class (ts/native/addon-types.ts: SchedulerHandle).
class SchedulerHandle final : public Napi::ObjectWrap<SchedulerHandle> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  explicit SchedulerHandle(const Napi::CallbackInfo& info);

 private:
  Napi::Value tables(const Napi::CallbackInfo& info);
  Napi::Value timesteps(const Napi::CallbackInfo& info);
  Napi::Value num_inference_steps(const Napi::CallbackInfo& info);
  void set_num_inference_steps(const Napi::CallbackInfo& info);
  void set_custom_timesteps(const Napi::CallbackInfo& info);
  Napi::Value previous_timestep(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value step_async(const Napi::CallbackInfo& info);
  Napi::Value plan(const Napi::CallbackInfo& info);
  Napi::Value add_noise(const Napi::CallbackInfo& info);
  Napi::Value get_velocity(const Napi::CallbackInfo& info);
  Napi::Value posterior(const Napi::CallbackInfo& info);

  std::shared_ptr<NoiseScheduler> scheduler_;  // shared with the steps in flight
};

}  // namespace nd::binding
