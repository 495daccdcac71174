#include "binding/plan_wrap.h"

#include "binding/napi_setup.h"
#include "core/errors.h"

namespace nd::binding {
namespace {

using Shared = std::shared_ptr<const DenoisingPlan>;

constexpr napi_type_tag kTag = {0x6e6f64652d646966, 0x706c616e2d68616e};

}  // namespace

void PlanHandle::define(Napi::Env env, Napi::Object) {
  addon_data(env).plan_constructor =
      Napi::Persistent(DefineClass(env, "PlanHandle", {InstanceAccessor<&PlanHandle::length>("length")}));
}

PlanHandle::PlanHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PlanHandle>(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "PlanHandle has no public constructor");
  }
  info.This().As<Napi::Object>().TypeTag(&kTag);
  plan_ = *info[0].As<Napi::External<Shared>>().Data();
}

Napi::Value PlanHandle::wrap(Napi::Env env, Shared plan) {
  return addon_data(env).plan_constructor.New({Napi::External<Shared>::New(env, &plan)});
}

const Shared& PlanHandle::unwrap(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTag)) fail(ErrorCode::argument, "plan must be a PlanHandle");
  return Unwrap(value.As<Napi::Object>())->plan_;
}

/// length: number, of its steps
Napi::Value PlanHandle::length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(plan_->steps.size()));
}

}  // namespace nd::binding
