#include "core/checkpoint/torchscript_archive.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/runtime/jit_exception.h>
#include <torch/csrc/jit/serialization/import.h>

#include <caffe2/serialize/read_adapter_interface.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "core/checkpoint/atomic_file.h"
#include "core/checkpoint/baked_constants.h"
#include "core/checkpoint/mapped_file.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/checkpoint/zip_directory.h"
#include "core/device.h"
#include "core/errors.h"

namespace nd {
namespace {

constexpr uint64_t kMaxExtraFile = 16 << 20;
constexpr uint64_t kMaxExtraFiles = 64 << 20;
constexpr const char* kWayOut = "; scripts/export_torchscript.py exports a UNet with neither fixed";

/// The part of a libtorch message that a user can act on: without the C++ backtrace and the interpreter's traceback.
std::string essence(const std::string& what) {
  static const std::string kRaised = "RuntimeError: ", kBacktrace = "\nException raised from ";
  auto text = what;
  if (text.find("Traceback of TorchScript") != std::string::npos) {
    const auto raised = text.rfind("\n" + kRaised);
    if (raised != std::string::npos) text = text.substr(raised + 1 + kRaised.size());
  }
  text = text.substr(0, text.find(kBacktrace));
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

std::string first_line(const std::string& text) {
  const auto start = text.find_first_not_of("\n ");
  if (start == std::string::npos) return "no reason given";
  return text.substr(start, std::min<size_t>(text.find('\n', start) - start, 300));
}

[[noreturn]] void fail_with(ErrorCode code, const std::string& prefix, bool one_line, const std::string& what) {
  const auto text = essence(what);
  fail(is_out_of_memory(text) ? ErrorCode::out_of_memory : code, prefix, one_line ? first_line(text) : text);
}

/// Runs `call`, turning what libtorch throws into Error{code}; memory that runs out keeps its own kind.
template <typename Call>
auto translating(ErrorCode code, const std::string& prefix, bool one_line, Call&& call) {
  try {
    return call();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const torch::jit::JITException& e) {
    fail_with(code, prefix, one_line, e.getOriginalMsg().value_or(e.what()));
  } catch (const c10::Error& e) {
    fail_with(code, prefix, one_line, e.what_without_backtrace());
  } catch (const std::exception& e) {
    fail_with(code, prefix, one_line, e.what());
  }
}

/// Has libtorch read the very bytes that were checked: by its path, another file could have taken the place of that one.
class CheckedBytes final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit CheckedBytes(SharedBytes bytes) : bytes_(std::move(bytes)) {}
  size_t size() const override { return bytes_.view.size(); }
  size_t read(uint64_t at, void* to, size_t count, const char*) const override {
    const auto part = at < size() ? bytes_.view.substr(at, count) : std::string_view();
    if (!part.empty()) std::memcpy(to, part.data(), part.size());
    return part.size();
  }

 private:
  SharedBytes bytes_;
};

/// The names and sizes of the extra files, once the archive has what a TorchScript archive must have.
torch::jit::ExtraFilesMap check_layout(const std::string& path, const std::vector<ZipRecord>& records) {
  if (records.empty()) fail(ErrorCode::checkpoint, path, " is an empty archive");
  const auto root = records.front().name.substr(0, records.front().name.find('/') + 1);
  const auto has = [&](const std::string& name) {
    return std::any_of(records.begin(), records.end(), [&](const auto& r) { return r.name == root + name; });
  };
  if (!has("data.pkl") || !has("constants.pkl")) {
    fail(ErrorCode::checkpoint, path, " is no TorchScript archive",
         has("data.pkl") ? ", but what torch.save writes; scripts/export_torchscript.py exports a UNet's folder"
                         : ": it has no data.pkl and constants.pkl");
  }
  torch::jit::ExtraFilesMap extra;
  uint64_t total = 0;
  for (const auto& record : records) {
    if (!record.name.starts_with(root + "extra/")) continue;
    total += std::min(record.size, kMaxExtraFiles);
    if (record.size > kMaxExtraFile || total > kMaxExtraFiles) {
      fail(ErrorCode::checkpoint, path, " holds extra files that are too large: '", record.name, "' has ", record.size,
           " bytes");
    }
    extra[record.name.substr(root.size() + 6)] = "";
  }
  return extra;
}

std::optional<at::ScalarType> floating_dtype(const torch::jit::Module& module) {
  for (const at::Tensor& tensor : module.parameters()) {
    if (tensor.is_floating_point()) return tensor.scalar_type();
  }
  for (const at::Tensor& tensor : module.buffers()) {
    if (tensor.is_floating_point()) return tensor.scalar_type();
  }
  return std::nullopt;
}

/// Module::to would cast integer buffers too.
void move(const torch::jit::Module& module, at::Device device, std::optional<at::ScalarType> dtype) {
  const auto move_one = [&](at::Tensor tensor) {
    const bool cast = dtype && tensor.is_floating_point();
    tensor.set_data(tensor.detach().to(device, cast ? *dtype : tensor.scalar_type()));
  };
  for (const at::Tensor& tensor : module.parameters()) move_one(tensor);
  for (const at::Tensor& tensor : module.buffers()) move_one(tensor);
}

TorchScriptArchive::Counts count(const torch::jit::Module& module) {
  TorchScriptArchive::Counts counts;
  for (const at::Tensor& tensor : module.parameters()) {
    counts.parameters += static_cast<size_t>(tensor.numel());
    counts.bytes += tensor.nbytes();
  }
  for (const at::Tensor& tensor : module.buffers()) {
    counts.buffers += static_cast<size_t>(tensor.numel());
    counts.bytes += tensor.nbytes();
  }
  return counts;
}

/// Our exporter's word that nothing is fixed. Only its own wording counts; for any other archive the graph decides.
bool states_no_dtype(const TorchScriptArchive::ExtraFiles& extra_files) {
  const auto found = extra_files.find("metadata.json");
  if (found == extra_files.end()) return false;
  std::string text;
  std::copy_if(found->second.begin(), found->second.end(), std::back_inserter(text),
               [](char c) { return !std::isspace(static_cast<unsigned char>(c)); });
  return text.find(R"("format":"node-diffusers-unet")") != std::string::npos &&
         text.find(R"("baked":{"device":null,"dtype":null})") != std::string::npos;
}

/// 'cuda' without an index is whichever card runs.
bool same_place(at::Device baked, at::Device device) {
  return baked.type() == device.type() &&
         (!baked.has_index() || !device.has_index() || baked.index() == device.index());
}

}  // namespace

TorchScriptArchive::TorchScriptArchive(std::string path, State state, ExtraFiles extra_files)
    : path_(std::move(path)),
      schema_(state.module.get_method("forward").function().getSchema()),
      extra_files_(std::move(extra_files)),
      state_(std::move(state)) {}

std::shared_ptr<TorchScriptArchive> TorchScriptArchive::load(const std::string& path, at::Device device,
                                                             std::optional<at::ScalarType> dtype) {
  // Tensors born in inference mode can't be moved in place, so the mode starts at forward.
  c10::InferenceMode normal(false);
  at::NoGradGuard no_grad;
  const auto bytes = map_file(path);
  const auto records = read_zip_directory(bytes.view, path);
  auto extra = check_layout(path, records);
  check_stored_records(bytes.view, path, records);
  auto module = translating(ErrorCode::checkpoint, path + " is no TorchScript archive that this libtorch reads: ", true,
                            [&] { return torch::jit::load(std::make_shared<CheckedBytes>(bytes), device, extra); });
  if (!module.find_method("forward")) fail(ErrorCode::checkpoint, path, " has no method 'forward'");
  module.eval();
  const auto own_dtype = floating_dtype(module);
  std::shared_ptr<TorchScriptArchive> archive(
      new TorchScriptArchive(path, {module, device, own_dtype, {}}, {extra.begin(), extra.end()}));
  archive->check_target(archive->state_, device, dtype);
  move(module, device, dtype);
  if (own_dtype && dtype) archive->state_.dtype = dtype;
  archive->state_.counts = count(module);
  return archive;
}

void TorchScriptArchive::check_target(const State& state, at::Device device,
                                      std::optional<at::ScalarType> dtype) const {
  if (dtype && !at::isFloatingType(*dtype)) {
    fail(ErrorCode::dtype, "dtype must be 'float32', 'float64', 'float16' or 'bfloat16', got '", dtype_name(*dtype),
         "'");
  }
  const auto baked = find_baked_constants(state.module, state.dtype);
  for (const auto& fixed : baked.devices) {
    if (same_place(fixed, device)) continue;
    fail(ErrorCode::device, path_, " has device '", fixed.str(), "' fixed in its graph and can't run on '",
         device.str(), "'", kWayOut);
  }
  for (const auto& fixed : baked.tensor_devices) {
    if (same_place(fixed, device)) continue;
    fail(ErrorCode::device, path_, " has constant tensors on '", fixed.str(), "', which can't move to '", device.str(),
         "' any more; load it there");
  }
  if (dtype && state.dtype && *dtype != *state.dtype && baked.dtype && !states_no_dtype(extra_files_)) {
    fail(ErrorCode::dtype, path_, " has dtype '", dtype_name(*state.dtype), "' fixed in its graph and can't run in '",
         dtype_name(*dtype), "'", kWayOut);
  }
}

TorchScriptArchive::State TorchScriptArchive::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

std::optional<at::ScalarType> TorchScriptArchive::dtype() const { return state().dtype; }

at::Device TorchScriptArchive::device() const { return state().device; }

TorchScriptArchive::Counts TorchScriptArchive::counts() const { return state().counts; }

c10::IValue TorchScriptArchive::forward(const State& state, std::vector<c10::IValue> inputs) const {
  c10::InferenceMode inference;
  // The profiling executor compiles anew for each new batch size (0.3 s for the first two calls of a small UNet) and
  // wins nothing afterwards; unfused operators also round as diffusers' do.
  torch::jit::GraphOptimizerEnabledGuard as_written(false);
  auto method = state.module.get_method("forward");
  inputs.insert(inputs.begin(), method.owner()._ivalue());
  translating(ErrorCode::argument, "", true, [&] { schema_.checkAndNormalizeInputs(inputs); });
  return translating(ErrorCode::op, "", false, [&] {
    method.function().run(inputs);
    return std::move(inputs.front());
  });
}

TorchScriptArchive::State TorchScriptArchive::moved(std::optional<at::Device> device,
                                                    std::optional<at::ScalarType> dtype) const {
  c10::InferenceMode normal(false);
  at::NoGradGuard no_grad;
  auto next = state();
  const auto target = device.value_or(next.device);
  if (target == next.device && (!dtype || dtype == next.dtype)) return next;
  check_target(next, target, dtype);
  next.module = next.module.deepcopy();  // with a device it would share the tensors that stay where they are
  move(next.module, target, dtype);
  next.device = target;
  if (next.dtype && dtype) next.dtype = dtype;
  next.counts = count(next.module);
  return next;
}

void TorchScriptArchive::become(State next) {
  std::lock_guard lock(mutex_);
  state_ = std::move(next);
}

void TorchScriptArchive::save(const std::string& path, const ExtraFiles& extra_files) const {
  c10::InferenceMode normal(false);
  write_atomically(path, [&](const std::string& temporary) {
    translating(ErrorCode::argument, path + " can't be written: ", true, [&] {
      state().module.save(temporary, {extra_files.begin(), extra_files.end()});
    });
  });
}

void TorchScriptArchive::save_weights(const std::string& path) const {
  NamedTensors tensors;
  for (const auto& parameter : state().module.named_parameters()) tensors.emplace_back(parameter.name, parameter.value);
  write_safetensors(path, tensors);
}

}  // namespace nd
