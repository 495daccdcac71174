#pragma once

#include "core/checkpoint/safetensors_writer.h"
#include "core/checkpoint/state_dict.h"
#include "core/unet/unet2d_model.h"

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nd {

/// How torch fills a new parameter: U(−value, value), `value` everywhere, or value·N(0, 1).
struct Init {
  enum class Kind { uniform, constant, normal } kind;
  double value;
};

/// Where a model under construction takes its parameters from, and the list of what it took.
class Parameters {
 public:
  explicit Parameters(ModelTarget target) : target_(target) {}
  virtual ~Parameters() = default;

  const ModelTarget& target() const { return target_; }

  /// Row-major, in this dtype and on its device. It may be a view of a mapped file: copy what is kept. Undefined
  /// where the source has nothing fitting: it has noted that, and finish() will throw.
  virtual at::Tensor take(const std::string& name, at::IntArrayRef shape, Init init, at::ScalarType dtype) = 0;

  /// Throws what was wrong with the source, all of it at once.
  virtual void finish() {}

  /// States how to get a parameter back, row-major, out of the form in which the model keeps it.
  void keep(const std::string& name, at::IntArrayRef shape, std::function<at::Tensor()> get);

  struct Kept {
    std::string name;
    int64_t numel;
    std::function<at::Tensor()> get;
  };
  std::vector<Kept> take_kept() { return std::move(kept_); }

 private:
  ModelTarget target_;
  std::vector<Kept> kept_;
};

/// Parameters under a prefix: scope / "resnets" / 0 is `….resnets.0`.
class Scope {
 public:
  explicit Scope(Parameters& parameters, std::string prefix = "") : parameters_(&parameters), prefix_(std::move(prefix)) {}

  Scope operator/(const std::string& name) const;
  Scope operator/(int64_t index) const { return *this / std::to_string(index); }

  const ModelTarget& target() const { return parameters_->target(); }
  /// Without a dtype, the target's.
  at::Tensor take(const std::string& name, at::IntArrayRef shape, Init init,
                  std::optional<at::ScalarType> dtype = std::nullopt) const;
  void keep(const std::string& name, at::IntArrayRef shape, std::function<at::Tensor()> get) const;

 private:
  Parameters* parameters_;
  std::string prefix_;
};

/// Out of a checkpoint; finish() lists every missing, unexpected and misshapen tensor.
std::unique_ptr<Parameters> checkpoint_parameters(std::shared_ptr<const StateDict> checkpoint, ModelTarget target);

/// Drawn in the order in which they are taken, as torch's constructors draw theirs.
std::unique_ptr<Parameters> random_parameters(const at::Generator& generator, ModelTarget target);

}  // namespace nd
