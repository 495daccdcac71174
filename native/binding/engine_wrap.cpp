#include "binding/engine_wrap.h"

#include <ATen/CPUGeneratorImpl.h>

#include <mutex>
#include <string>
#include <utility>

#include "binding/error_translation.h"
#include "binding/generator_wrap.h"
#include "binding/napi_setup.h"
#include "binding/plan_wrap.h"
#include "binding/tensor_wrap.h"
#include "binding/torchscript_wrap.h"
#include "binding/unet_wrap.h"
#include "core/errors.h"
#include "core/thread_budget.h"

namespace nd::binding {
namespace {

std::unique_ptr<const Denoiser> read_model(const Napi::Value& value) {
  if (UNetHandle::is_handle(value)) return make_denoiser(UNetHandle::unwrap(value));
  if (TorchScriptHandle::is_handle(value)) return make_denoiser(TorchScriptHandle::unwrap(value));
  fail(ErrorCode::argument, "unet must be a UNetHandle or a TorchScriptHandle");
}

SampleShape read_shape(const Napi::Value& value) {
  const auto sizes = integers(value, "shape");
  if (sizes.size() != 3) fail(ErrorCode::shape, "shape must be [C, H, W], got ", sizes.size(), " entries");
  return {sizes[0], sizes[1], sizes[2]};
}

SampleOutput read_output(const std::string& name) {
  if (name == "latent") return SampleOutput::latent;
  if (name == "tensor") return SampleOutput::unit_float;
  if (name == "uint8") return SampleOutput::uint8;
  fail(ErrorCode::argument, "an unknown output '", name, "'");
}

uint64_t read_seed(const Napi::Value& value) {
  bool lossless = false;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

at::Tensor optional_tensor(const Napi::Object& object, const char* key) {
  const auto value = object.Get(key);
  return value.IsUndefined() ? at::Tensor() : TensorHandle::unwrap(value, key);
}

SampleRequest read_request(const Napi::Object& object) {
  SampleRequest request;
  request.plan = PlanHandle::unwrap(object.Get("plan"));
  request.shape = read_shape(object.Get("shape"));
  request.start = optional_tensor(object, "latents");
  request.image = optional_tensor(object, "image");
  request.class_label = optional_tensor(object, "classLabel");
  request.null_label = optional_tensor(object, "nullLabel");
  if (request.guided()) request.guidance_scale = object.Get("guidanceScale").As<Napi::Number>();
  const auto generator = object.Get("generator");
  const auto seed = object.Get("seed");
  if (!generator.IsUndefined()) {
    request.generator = GeneratorHandle::unwrap(generator, "generator");
  } else if (object.Get("philox").ToBoolean()) {
    request.philox_seed = read_seed(seed);
  } else if (!seed.IsUndefined()) {
    request.generator = at::detail::createCPUGenerator(read_seed(seed));
  }
  request.output = read_output(object.Get("output").As<Napi::String>());
  request.priority = object.Get("priority").As<Napi::Number>().Int64Value();
  const auto deadline = object.Get("milliseconds");
  if (!deadline.IsUndefined()) {
    const std::chrono::duration<double, std::milli> left(deadline.As<Napi::Number>().DoubleValue());
    request.deadline = EngineClock::now() + std::chrono::duration_cast<EngineClock::duration>(left);
  }
  request.reports_steps = object.Get("reportsSteps").ToBoolean();
  request.preview_every = object.Get("previewEvery").As<Napi::Number>().Int64Value();
  return request;
}

Napi::Object event_to_js(Napi::Env env, const EngineEvent& event) {
  auto object = Napi::Object::New(env);
  const auto set_number = [&](const char* key, double value) { object.Set(key, Napi::Number::New(env, value)); };
  set_number("id", static_cast<double>(event.id));
  switch (event.kind) {
    case EngineEvent::Kind::step:
      object.Set("kind", "step");
      set_number("step", static_cast<double>(event.step));
      set_number("totalSteps", static_cast<double>(event.total_steps));
      set_number("timestep", static_cast<double>(event.timestep));
      if (event.output.defined()) object.Set("preview", TensorHandle::wrap(env, event.output));
      break;
    case EngineEvent::Kind::done:
      object.Set("kind", "done");
      object.Set("output", TensorHandle::wrap(env, event.output));
      set_number("milliseconds", event.milliseconds);
      break;
    case EngineEvent::Kind::failed:
      object.Set("kind", "failed");
      object.Set("error", translate(env, event.error).Value());
      set_number("milliseconds", event.milliseconds);
      break;
    case EngineEvent::Kind::room: object.Set("kind", "room"); break;
    case EngineEvent::Kind::warmed: object.Set("kind", "warmed"); break;
    case EngineEvent::Kind::closed: object.Set("kind", "closed"); break;
  }
  return object;
}

bool ends_work(const EngineEvent& event) {
  using enum EngineEvent::Kind;
  return event.kind == done || event.kind == failed || event.kind == warmed || event.kind == closed;
}

}  // namespace

/// Tells the JS thread that there are events.
class EngineHandle::Events final : public Message {
 public:
  explicit Events(std::shared_ptr<Mailbox> mailbox) : mailbox_(std::move(mailbox)) {}
  void settle(Napi::Env env) override;

 private:
  std::shared_ptr<Mailbox> mailbox_;
};

/// Events on their way from the engine's thread: however slow the JS thread is, one message is under way at most. It outlives
/// the handle, and then drops them.
class EngineHandle::Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  Mailbox(JsThread& js, EngineHandle* handle) : js_(js), handle_(handle) {}

  void put(std::vector<EngineEvent> events) {
    bool first;
    {
      const std::lock_guard lock(mutex_);
      first = events_.empty();
      std::move(events.begin(), events.end(), std::back_inserter(events_));
    }
    if (first) js_.post(std::make_unique<Events>(shared_from_this()));
  }

  // The JS thread's:
  void empty(Napi::Env env) {
    std::vector<EngineEvent> events;
    {
      const std::lock_guard lock(mutex_);
      std::swap(events, events_);
    }
    if (handle_ != nullptr) handle_->settle(env, std::move(events));
  }
  void leave() { handle_ = nullptr; }

 private:
  JsThread& js_;
  EngineHandle* handle_;
  std::mutex mutex_;
  std::vector<EngineEvent> events_;
};

void EngineHandle::Events::settle(Napi::Env env) {
  try {
    mailbox_->empty(env);
  } catch (...) {
    // As an uncaught exception: whoever waits would wait for ever.
    napi_fatal_exception(env, translate(env, std::current_exception()).Value());
  }
}

void EngineHandle::define(Napi::Env env, Napi::Object exports) {
  exports.Set("EngineHandle",
              DefineClass(env, "EngineHandle",
                          {InstanceMethod<&EngineHandle::submit>("submit"), InstanceMethod<&EngineHandle::cancel>("cancel"),
                           InstanceMethod<&EngineHandle::warm_up>("warmUp"), InstanceMethod<&EngineHandle::stats>("stats"),
                           InstanceMethod<&EngineHandle::close>("close")}));
}

/// new EngineHandle(unet: UNetHandle | TorchScriptHandle, maxBatchSize: number, maxQueue: number, padBatches: boolean,
///                  onEvents: (events: EngineEvent[]) => void)
EngineHandle::EngineHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineHandle>(info) {
  guarded(info.Env(), [&] {
    auto& js = *addon_data(info.Env()).js;
    mailbox_ = std::make_shared<Mailbox>(js, this);
    const SamplerEngine::Options options{.max_batch = info[1].As<Napi::Number>().Int64Value(),
                                         .max_queue = info[2].As<Napi::Number>().Int64Value(),
                                         .pad_batches = info[3].ToBoolean()};
    engine_ = std::make_unique<SamplerEngine>(
        read_model(info[0]), options, [box = mailbox_](std::vector<EngineEvent> events) { box->put(std::move(events)); });
    // A property, not a reference of ours: the callback's closure may hold this handle, and both be collected together.
    info.This().As<Napi::Object>().Set("onEvents", info[4]);
    stop_ = js.at_end([this] {
      engine_.reset();
      mailbox_->leave();
    });
  });
}

void EngineHandle::Finalize(Napi::Env env) {
  if (engine_) join(env);
  if (mailbox_) mailbox_->leave();
}

void EngineHandle::join(Napi::Env env) {
  addon_data(env).js->forget(stop_);
  engine_.reset();
}

void EngineHandle::begin_work(Napi::Env env) {
  addon_data(env).js->hold();
  if (pending_++ == 0) Ref();
}

void EngineHandle::end_work(Napi::Env env) {
  addon_data(env).js->let_go();
  if (--pending_ == 0) Unref();
}

/// submit(request: EngineRequest): number, the id that its events have
Napi::Value EngineHandle::submit(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (!engine_) fail(ErrorCode::closed, "this engine was closed");
    end_idle_team();  // the JS thread's, of an operator that it has run
    const auto id = engine_->submit(read_request(info[0].As<Napi::Object>()));
    begin_work(info.Env());
    return Napi::Number::New(info.Env(), static_cast<double>(id));
  });
}

/// warmUp(shape: number[], batchSizes: number[], guided: boolean): number, an id: ends with 'warmed' or 'failed'
Napi::Value EngineHandle::warm_up(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (!engine_) fail(ErrorCode::closed, "this engine was closed");
    const auto id = engine_->warm_up(read_shape(info[0]), integers(info[1], "batchSizes"), info[2].ToBoolean());
    begin_work(info.Env());
    return Napi::Number::New(info.Env(), static_cast<double>(id));
  });
}

/// cancel(id: number): void
void EngineHandle::cancel(const Napi::CallbackInfo& info) {
  if (engine_) engine_->cancel(static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
}

/// stats(): EngineStats
Napi::Value EngineHandle::stats(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto stats = engine_ ? engine_->stats() : last_stats_;
  auto object = Napi::Object::New(env);
  const auto set = [&](Napi::Object& to, const char* key, auto value) {
    to.Set(key, Napi::Number::New(env, static_cast<double>(value)));
  };
  set(object, "queued", stats.queued);
  set(object, "running", stats.running);
  set(object, "maxBatchSize", stats.max_batch);
  set(object, "batchLimit", stats.batch_limit);
  set(object, "batchOccupancy", stats.max_batch == 0 ? 0 : stats.samples_per_step / static_cast<double>(stats.max_batch));
  set(object, "steps", stats.steps);
  set(object, "sampleSteps", stats.sample_steps);
  set(object, "images", stats.images);
  set(object, "failed", stats.failed);
  set(object, "stepsPerSecond", stats.sample_steps_per_second);
  set(object, "imagesPerSecond", stats.images_per_second);
  set(object, "unetSeconds", stats.unet_seconds);
  set(object, "loopSeconds", stats.busy_seconds);
  auto latency = Napi::Object::New(env);
  set(latency, "p50", stats.p50);
  set(latency, "p95", stats.p95);
  set(latency, "p99", stats.p99);
  object.Set("latency", latency);
  return object;
}

/// close(): void. What is under way ends with ERR_CLOSED; 'closed' comes last.
void EngineHandle::close(const Napi::CallbackInfo& info) {
  if (!engine_ || std::exchange(closing_, true)) return;
  begin_work(info.Env());
  engine_->close();
}

void EngineHandle::settle(Napi::Env env, std::vector<EngineEvent> events) {
  Napi::HandleScope scope(env);
  const auto self = Value();  // kept while its callback runs
  for (const auto& event : events) {
    if (ends_work(event)) end_work(env);
    if (event.kind != EngineEvent::Kind::closed) continue;
    last_stats_ = engine_->stats();
    join(env);
  }
  auto list = Napi::Array::New(env, events.size());
  {
    c10::InferenceMode inference;
    for (uint32_t i = 0; i < events.size(); ++i) list[i] = event_to_js(env, events[i]);
  }
  self.Get("onEvents").As<Napi::Function>().Call(self, {list});
}

}  // namespace nd::binding
