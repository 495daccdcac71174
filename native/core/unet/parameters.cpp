#include "core/unet/parameters.h"

#include <ATen/ATen.h>

#include <set>
#include <sstream>

#include "core/errors.h"

namespace nd {
namespace {

/// Bytes of a message after which names are only counted: every name of any UNet of the hub fits many times, the million
/// that a hostile file could hold do not.
constexpr size_t max_message = 1 << 18;

std::string show(at::IntArrayRef shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

class CheckpointParameters final : public Parameters {
 public:
  CheckpointParameters(std::shared_ptr<const StateDict> checkpoint, ModelTarget target)
      : Parameters(target), checkpoint_(std::move(checkpoint)) {}

  at::Tensor take(const std::string& name, at::IntArrayRef shape, Init, at::ScalarType dtype) override {
    if (!taken_.insert(name).second && failed()) return {};  // what is taken twice is wrong once
    const auto* info = checkpoint_->find(name);
    if (!info) {
      missing_.push_back(name);
      return {};
    }
    if (at::IntArrayRef(info->shape) != shape) {
      misshapen_.push_back(name + " " + show(info->shape) + " (wants " + show(shape) + ")");
      return {};
    }
    if (!at::isFloatingType(info->dtype)) {
      mistyped_.push_back(name + " " + c10::toString(info->dtype));
      return {};
    }
    if (failed()) return {};
    return checkpoint_->read(name).to(target().device, dtype);
  }

  void finish() override {
    std::vector<std::string> unexpected;
    for (const auto& entry : checkpoint_->entries()) {
      if (!taken_.count(entry.name)) unexpected.push_back(entry.name);
    }
    if (!failed() && unexpected.empty()) return;
    std::string message = "the checkpoint does not fit the config";
    append(message, "missing", missing_);
    append(message, "unexpected", unexpected);
    append(message, "of the wrong shape", misshapen_);
    append(message, "not of a floating dtype", mistyped_);
    fail(ErrorCode::checkpoint, message);
  }

 private:
  bool failed() const { return !missing_.empty() || !misshapen_.empty() || !mistyped_.empty(); }

  static void append(std::string& message, const char* what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    message += "; " + std::to_string(names.size()) + " " + what + ": ";
    for (size_t i = 0; i < names.size(); ++i) {
      if (message.size() > max_message) {
        message += ", … and " + std::to_string(names.size() - i) + " more";
        return;
      }
      message += (i ? ", " : "") + names[i];
    }
  }

  std::shared_ptr<const StateDict> checkpoint_;
  std::set<std::string> taken_;
  std::vector<std::string> missing_, misshapen_, mistyped_;
};

class RandomParameters final : public Parameters {
 public:
  RandomParameters(const at::Generator& generator, ModelTarget target) : Parameters(target), generator_(generator) {}

  at::Tensor take(const std::string&, at::IntArrayRef shape, Init init, at::ScalarType dtype) override {
    auto values = at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(generator_.device()));
    switch (init.kind) {
      case Init::Kind::uniform: values.uniform_(-init.value, init.value, generator_); break;
      case Init::Kind::constant: values.fill_(init.value); break;
      case Init::Kind::normal: values.normal_(0, 1, generator_).mul_(init.value); break;
    }
    return values.to(target().device, dtype);
  }

 private:
  at::Generator generator_;
};

}  // namespace

void Parameters::keep(const std::string& name, at::IntArrayRef shape, std::function<at::Tensor()> get) {
  kept_.push_back({name, c10::multiply_integers(shape), std::move(get)});
}

Scope Scope::operator/(const std::string& name) const {
  return Scope(*parameters_, prefix_.empty() ? name : prefix_ + "." + name);
}

at::Tensor Scope::take(const std::string& name, at::IntArrayRef shape, Init init,
                       std::optional<at::ScalarType> dtype) const {
  return parameters_->take((*this / name).prefix_, shape, init, dtype.value_or(target().dtype));
}

void Scope::keep(const std::string& name, at::IntArrayRef shape, std::function<at::Tensor()> get) const {
  parameters_->keep((*this / name).prefix_, shape, std::move(get));
}

std::unique_ptr<Parameters> checkpoint_parameters(std::shared_ptr<const StateDict> checkpoint, ModelTarget target) {
  return std::make_unique<CheckpointParameters>(with_current_names(std::move(checkpoint)), target);
}

std::unique_ptr<Parameters> random_parameters(const at::Generator& generator, ModelTarget target) {
  return std::make_unique<RandomParameters>(generator, target);
}

}  // namespace nd
