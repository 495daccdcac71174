#include "core/checkpoint/baked_constants.h"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>

namespace nd {
namespace {

void add(std::vector<at::Device>& devices, at::Device device) {
  if (std::find(devices.begin(), devices.end(), device) == devices.end()) devices.push_back(device);
}

bool has_constant_dtype(const torch::jit::Node& node, at::ScalarType dtype) {
  const auto* schema = node.maybeSchema();
  if (schema == nullptr) return false;
  const auto& arguments = schema->arguments();
  for (size_t i = 0; i < std::min(arguments.size(), node.inputs().size()); ++i) {
    if (arguments[i].name() != "dtype") continue;
    const auto value = torch::jit::toIValue(node.input(i));
    if (value && value->isInt() && value->toInt() == static_cast<int64_t>(dtype)) return true;
  }
  return false;
}

void scan(const torch::jit::Block& block, std::optional<at::ScalarType> dtype, BakedConstants& found) {
  for (const auto* node : block.nodes()) {
    for (const auto* inner : node->blocks()) scan(*inner, dtype, found);
    if (node->kind() == c10::prim::Constant && node->output()->hasUses()) {
      const auto value = torch::jit::toIValue(node->output());
      if (value && value->isDevice()) add(found.devices, value->toDevice());
      if (value && value->isTensor() && value->toTensor().dim() > 0)
        add(found.tensor_devices, value->toTensor().device());
    } else if (dtype && has_constant_dtype(*node, *dtype)) {
      found.dtype = true;
    }
  }
}

}  // namespace

BakedConstants find_baked_constants(const torch::jit::Module& module, std::optional<at::ScalarType> dtype) {
  const auto graph = module.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  BakedConstants found;
  scan(*graph->block(), dtype, found);
  return found;
}

}  // namespace nd
