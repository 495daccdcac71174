#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <torch/csrc/jit/api/module.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace nd {

/// A TorchScript module from a file, ready to run. Every method may be called from several threads at once.
///
/// Hazard: a TorchScript file is a program. The container is checked here, the program runs as it is.
class TorchScriptArchive {
 public:
  /// The text files that lie in an archive beside the program, by name.
  using ExtraFiles = std::map<std::string, std::string>;

  struct Counts {
    size_t parameters = 0;  // entries of all parameters
    size_t buffers = 0;     // entries of all buffers
    uint64_t bytes = 0;     // of both
  };

  /// Throws ERR_NOT_FOUND or ERR_CHECKPOINT for a file that is missing, damaged or no TorchScript, ERR_DEVICE or
  /// ERR_DTYPE where the program has another one fixed in it. Without `dtype`, it stays as it is in the file.
  static std::shared_ptr<TorchScriptArchive> load(const std::string& path, at::Device device,
                                                  std::optional<at::ScalarType> dtype);

  /// forward's signature; argument 0 is the module.
  const c10::FunctionSchema& schema() const { return schema_; }
  const ExtraFiles& extra_files() const { return extra_files_; }
  /// Of the floating parameters and buffers; none without them.
  std::optional<at::ScalarType> dtype() const;
  at::Device device() const;
  Counts counts() const;

  /// The module with its weights as they are at one time; a later become() does not touch it.
  struct State {
    torch::jit::Module module;
    at::Device device;
    std::optional<at::ScalarType> dtype;
    Counts counts;
  };
  State state() const;

  /// Throws ERR_ARGUMENT for inputs that the schema does not take, ERR_OP with torch's message for what fails inside.
  c10::IValue forward(const State& state, std::vector<c10::IValue> inputs) const;
  c10::IValue forward(std::vector<c10::IValue> inputs) const { return forward(state(), std::move(inputs)); }

  /// A moved and cast copy, which takes the module's place by become(): calls under way finish with the old one.
  State moved(std::optional<at::Device> device, std::optional<at::ScalarType> dtype) const;
  void become(State next);
  void to(std::optional<at::Device> device, std::optional<at::ScalarType> dtype) { become(moved(device, dtype)); }

  /// Writes the module as it is now, whole or not at all, with these extra files. Throws ERR_ARGUMENT.
  void save(const std::string& path, const ExtraFiles& extra_files) const;

  /// Writes the parameters by name as safetensors, whole or not at all. Throws ERR_ARGUMENT, ERR_DTYPE.
  void save_weights(const std::string& path) const;

 private:
  TorchScriptArchive(std::string path, State state, ExtraFiles extra_files);
  void check_target(const State& state, at::Device device, std::optional<at::ScalarType> dtype) const;

  std::string path_;
  c10::FunctionSchema schema_;
  ExtraFiles extra_files_;
  mutable std::mutex mutex_;
  State state_;
};

}  // namespace nd
