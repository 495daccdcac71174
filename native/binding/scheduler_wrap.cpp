#include "binding/scheduler_wrap.h"

#include <string>
#include <vector>

#include "binding/error_translation.h"
#include "binding/generator_wrap.h"
#include "binding/napi_setup.h"
#include "binding/plan_wrap.h"
#include "binding/promise_worker.h"
#include "binding/tensor_wrap.h"
#include "core/errors.h"
#include "core/sampling/scheduler_step.h"

namespace nd::binding {
namespace {

SchedulerKind parse_kind(const std::string& name) {
  if (name == "DDPMScheduler") return SchedulerKind::ddpm;
  if (name == "DDIMScheduler") return SchedulerKind::ddim;
  if (name == "DDIMInverseScheduler") return SchedulerKind::ddim_inverse;
  fail(ErrorCode::argument, "an unknown scheduler class '", name, "'");
}

/// Reads the keys of a complete, validated config; a key that the class does not have keeps the struct's default.
class ConfigReader {
 public:
  explicit ConfigReader(Napi::Object object) : object_(object) {}

  void read(const char* key, double& field) const {
    if (has(key)) field = object_.Get(key).As<Napi::Number>().DoubleValue();
  }
  void read(const char* key, int64_t& field) const {
    if (has(key)) field = object_.Get(key).As<Napi::Number>().Int64Value();
  }
  void read(const char* key, bool& field) const {
    if (has(key)) field = object_.Get(key).As<Napi::Boolean>().Value();
  }
  void read(const char* key, std::vector<double>& field) const {
    if (!has(key)) return;
    const auto array = object_.Get(key).As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); ++i) field.push_back(array.Get(i).As<Napi::Number>().DoubleValue());
  }
  template <typename E>
  void read(const char* key, E& field, E (*parse)(const std::string&)) const {
    if (has(key)) field = parse(object_.Get(key).As<Napi::String>());
  }

 private:
  bool has(const char* key) const {
    const auto value = object_.Get(key);
    return !value.IsUndefined() && !value.IsNull();
  }
  Napi::Object object_;
};

SchedulerConfig read_config(Napi::Object object) {
  const ConfigReader reader(object);
  SchedulerConfig c;
  reader.read("numTrainTimesteps", c.num_train_timesteps);
  reader.read("betaStart", c.beta_start);
  reader.read("betaEnd", c.beta_end);
  reader.read("betaSchedule", c.beta_schedule, parse_beta_schedule);
  reader.read("trainedBetas", c.trained_betas);
  reader.read("varianceType", c.variance_type, parse_variance_type);
  reader.read("clipSample", c.clip_sample);
  reader.read("clipSampleRange", c.clip_sample_range);
  reader.read("setAlphaToOne", c.set_alpha_to_one);
  reader.read("stepsOffset", c.steps_offset);
  reader.read("predictionType", c.prediction_type, parse_prediction_type);
  reader.read("thresholding", c.thresholding);
  reader.read("dynamicThresholdingRatio", c.dynamic_thresholding_ratio);
  reader.read("sampleMaxValue", c.sample_max_value);
  reader.read("timestepSpacing", c.timestep_spacing, parse_timestep_spacing);
  reader.read("rescaleBetasZeroSnr", c.rescale_betas_zero_snr);
  reader.read("previousTimestepRule", c.previous_timestep_rule, parse_previous_timestep_rule);
  return c;
}

/// A Float64Array of numbers that TypeScript has checked to be integers; undefined is an empty list.
std::vector<int64_t> integer_list(const Napi::Value& value) {
  if (value.IsUndefined()) return {};
  const auto array = value.As<Napi::Float64Array>();
  std::vector<int64_t> list(array.ElementLength());
  for (size_t i = 0; i < list.size(); ++i) list[i] = static_cast<int64_t>(array[i]);
  return list;
}

std::vector<double> number_list(const Napi::Value& value) {
  const auto array = value.As<Napi::Float64Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

Napi::Float32Array to_float32_array(Napi::Env env, const std::vector<float>& values) {
  auto array = Napi::Float32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

struct StepCall {
  at::Tensor model_output, sample;
  JumpOptions jump;
  NoiseSource noise;
  bool want_x0;

  StepOutputs run(const NoiseScheduler& scheduler) const {
    return scheduler_step(scheduler, model_output, sample, jump, noise, want_x0);
  }
};

StepCall read_step(const Napi::CallbackInfo& info) {
  StepCall call;
  call.model_output = TensorHandle::unwrap(info[0], "modelOutput");
  call.jump.timesteps = integer_list(info[1]);
  call.sample = TensorHandle::unwrap(info[2], "sample");
  call.jump.prev_timesteps = integer_list(info[3]);
  call.jump.eta = number_list(info[4]);
  call.jump.use_clipped_model_output = info[5].ToBoolean();
  call.noise.generators = GeneratorHandle::unwrap_list(info[6], "generator");
  if (!info[7].IsUndefined()) call.noise.given = TensorHandle::unwrap(info[7], "varianceNoise");
  call.want_x0 = info[8].ToBoolean();
  return call;
}

Napi::Value step_result(Napi::Env env, const StepOutputs& out) {
  const auto& x0 = out.pred_original_sample;
  auto result = Napi::Array::New(env, 2);
  result[0u] = TensorHandle::wrap(env, out.prev_sample);
  result[1u] = x0.defined() ? TensorHandle::wrap(env, x0) : env.Null();
  return result;
}

}  // namespace

void SchedulerHandle::define(Napi::Env env, Napi::Object exports) {
  exports.Set("SchedulerHandle",
              DefineClass(env, "SchedulerHandle",
                          {InstanceMethod<&SchedulerHandle::tables>("tables"),
                           InstanceMethod<&SchedulerHandle::timesteps>("timesteps"),
                           InstanceMethod<&SchedulerHandle::num_inference_steps>("numInferenceSteps"),
                           InstanceMethod<&SchedulerHandle::set_num_inference_steps>("setNumInferenceSteps"),
                           InstanceMethod<&SchedulerHandle::set_custom_timesteps>("setCustomTimesteps"),
                           InstanceMethod<&SchedulerHandle::previous_timestep>("previousTimestep"),
                           InstanceMethod<&SchedulerHandle::step>("step"),
                           InstanceMethod<&SchedulerHandle::step_async>("stepAsync"),
                           InstanceMethod<&SchedulerHandle::plan>("plan"),
                           InstanceMethod<&SchedulerHandle::add_noise>("addNoise"),
                           InstanceMethod<&SchedulerHandle::get_velocity>("getVelocity"),
                           InstanceMethod<&SchedulerHandle::posterior>("posterior")}));
}

/// new SchedulerHandle(className: string, config: complete camelCase config)
SchedulerHandle::SchedulerHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SchedulerHandle>(info) {
  guarded(info.Env(), [&] {
    scheduler_ = make_scheduler(parse_kind(info[0].As<Napi::String>()), read_config(info[1].As<Napi::Object>()));
  });
}

/// tables(): { betas, alphas, alphasCumprod: Float32Array; finalAlphaCumprod: number }
Napi::Value SchedulerHandle::tables(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  auto result = Napi::Object::New(env);
  result.Set("betas", to_float32_array(env, scheduler_->schedule().betas));
  result.Set("alphas", to_float32_array(env, scheduler_->schedule().alphas));
  result.Set("alphasCumprod", to_float32_array(env, scheduler_->schedule().alphas_cumprod));
  result.Set("finalAlphaCumprod", Napi::Number::New(env, scheduler_->final_alpha_cumprod()));
  return result;
}

/// timesteps(): Int32Array
Napi::Value SchedulerHandle::timesteps(const Napi::CallbackInfo& info) {
  const auto& list = scheduler_->timesteps();
  auto array = Napi::Int32Array::New(info.Env(), list.size());
  std::copy(list.begin(), list.end(), array.Data());
  return array;
}

/// numInferenceSteps(): number | null
Napi::Value SchedulerHandle::num_inference_steps(const Napi::CallbackInfo& info) {
  const auto n = scheduler_->num_inference_steps();
  return n ? Napi::Number::New(info.Env(), static_cast<double>(*n)) : info.Env().Null();
}

/// setNumInferenceSteps(n: number): void
void SchedulerHandle::set_num_inference_steps(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { scheduler_->set_timesteps(info[0].As<Napi::Number>().Int64Value()); });
}

/// setCustomTimesteps(timesteps: Float64Array): void
void SchedulerHandle::set_custom_timesteps(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { scheduler_->set_timesteps(integer_list(info[0])); });
}

/// previousTimestep(t: number): number
Napi::Value SchedulerHandle::previous_timestep(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto t = info[0].As<Napi::Number>().Int64Value();
    scheduler_->check_timestep(t, "timestep");
    return Napi::Number::New(info.Env(), static_cast<double>(scheduler_->previous_timestep(t)));
  });
}

/// step(modelOutput, timesteps: Float64Array, sample, prevTimesteps: Float64Array | undefined, eta: Float64Array,
///      useClippedModelOutput: boolean, generators, varianceNoise, returnPredOriginalSample: boolean):
///   [prevSample, predOriginalSample | null]
Napi::Value SchedulerHandle::step(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto call = read_step(info);
    return step_result(info.Env(), call.run(*scheduler_));
  });
}

/// stepAsync: step's arguments, a promise of its result, off the JS thread. The timesteps must not be set meanwhile.
Napi::Value SchedulerHandle::step_async(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto call = read_step(info);
    return run_async(
        info.Env(), [scheduler = scheduler_, call = std::move(call)] { return call.run(*scheduler); },
        [](Napi::Env env, const StepOutputs& out) { return step_result(env, out); });
  });
}

/// plan(eta: number, useClippedModelOutput: boolean, firstStep: number): PlanHandle. The timesteps must not be set afterwards.
Napi::Value SchedulerHandle::plan(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return PlanHandle::wrap(info.Env(), make_plan(scheduler_, {.eta = info[0].As<Napi::Number>().DoubleValue(),
                                                               .use_clipped_model_output = info[1].ToBoolean(),
                                                               .first_step = info[2].As<Napi::Number>().Uint32Value()}));
  });
}

/// addNoise(originalSamples, noise, timesteps: Float64Array): TensorHandle
Napi::Value SchedulerHandle::add_noise(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return TensorHandle::wrap(info.Env(), nd::add_noise(*scheduler_, TensorHandle::unwrap(info[0], "originalSamples"),
                                                        TensorHandle::unwrap(info[1], "noise"), integer_list(info[2])));
  });
}

/// getVelocity(sample, noise, timesteps: Float64Array): TensorHandle
Napi::Value SchedulerHandle::get_velocity(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return TensorHandle::wrap(info.Env(), nd::get_velocity(*scheduler_, TensorHandle::unwrap(info[0], "sample"),
                                                           TensorHandle::unwrap(info[1], "noise"), integer_list(info[2])));
  });
}

/// posterior(sample, originalSample, timesteps: Float64Array, prevTimesteps: Float64Array | undefined):
///   { mean: TensorHandle; variance: Float32Array }
Napi::Value SchedulerHandle::posterior(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto posterior =
        nd::posterior(*scheduler_, TensorHandle::unwrap(info[0], "sample"),
                      TensorHandle::unwrap(info[1], "originalSample"), integer_list(info[2]), integer_list(info[3]));
    auto result = Napi::Object::New(info.Env());
    result.Set("mean", TensorHandle::wrap(info.Env(), posterior.mean));
    result.Set("variance", to_float32_array(info.Env(), posterior.variance));
    return result;
  });
}

}  // namespace nd::binding
