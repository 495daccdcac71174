#pragma once

#include <napi.h>

#include <memory>

#include "core/engine/denoising_plan.h"

namespace nd::binding {

/// The JavaScript handle of one DenoisingPlan (ts/native/addon-types.ts: PlanHandle).
class PlanHandle final : public Napi::ObjectWrap<PlanHandle> {
 public:
  static void define(Napi::Env env, Napi::Object exports);
  static Napi::Value wrap(Napi::Env env, std::shared_ptr<const DenoisingPlan> plan);
  static const std::shared_ptr<const DenoisingPlan>& unwrap(const Napi::Value& value);
  explicit PlanHandle(const Napi::CallbackInfo& info);

 private:
  Napi::Value length(const Napi::CallbackInfo& info);

  std::shared_ptr<const DenoisingPlan> plan_;
};

}  // namespace nd::binding
