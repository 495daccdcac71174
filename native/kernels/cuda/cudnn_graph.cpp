#include "kernels/cuda/cudnn_graph.h"

#include <algorithm>

namespace nd::cuda::cudnn {

void check(cudnnStatus_t status) {
  if (status != CUDNN_STATUS_SUCCESS) throw Refused(cudnnGetErrorString(status));
}

int64_t Descriptor::integer(cudnnBackendAttributeName_t name) const {
  int64_t value = 0, count = 0;
  check(cudnnBackendGetAttribute(value_, name, CUDNN_TYPE_INT64, 1, &count, &value));
  return value;
}

std::vector<cudnnBackendNumericalNote_t> Descriptor::notes(cudnnBackendAttributeName_t name, int64_t most) const {
  std::vector<cudnnBackendNumericalNote_t> notes(static_cast<size_t>(most));
  int64_t count = 0;
  check(cudnnBackendGetAttribute(value_, name, type_name<cudnnBackendNumericalNote_t>, most, &count, notes.data()));
  notes.resize(static_cast<size_t>(std::min(count, most)));
  return notes;
}

std::vector<Descriptor> Descriptor::parts(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t kind) const {
  int64_t most = 0, count = 0;
  check(cudnnBackendGetAttribute(value_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &most, nullptr));
  std::vector<Descriptor> parts;
  for (int64_t i = 0; i < most; ++i) parts.emplace_back(kind);
  check(cudnnBackendGetAttribute(value_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &count, raw(parts).data()));
  while (static_cast<int64_t>(parts.size()) > count) parts.pop_back();  // it had counted some that can't be used
  return parts;
}

std::vector<cudnnBackendDescriptor_t> Descriptor::raw(const std::vector<Descriptor>& parts) {
  std::vector<cudnnBackendDescriptor_t> values;
  for (const auto& part : parts) values.push_back(part.value_);
  return values;
}

Descriptor tensor(int64_t id, cudnnDataType_t type, const Sizes& sizes, bool is_virtual) {
  const auto [batch, channels, height, width] = sizes;
  const Sizes strides{height * width * channels, 1, width * channels, channels};
  return Descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR)
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual)
      .finalized();
}

Descriptor convolution(const Descriptor& x, const Descriptor& weight, const Descriptor& y, int64_t stride, const Pair& before,
                       const Pair& after) {
  const auto how = Descriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)
                       .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
                       .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
                       .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2})
                       .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, before)
                       .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, after)
                       .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, Pair{stride, stride})
                       .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, Pair{1, 1})
                       .finalized();
  return Descriptor(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, how)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, weight)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f)
      .finalized();
}

Descriptor sum(const Descriptor& a, const Descriptor& b, const Descriptor& y) {
  const auto how = Descriptor(CUDNN_BACKEND_POINTWISE_DESCRIPTOR)
                       .set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_ADD)
                       .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
                       .finalized();
  return Descriptor(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, a)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y)
      .finalized();
}

Descriptor graph(cudnnHandle_t handle, const std::vector<Descriptor>& operations) {
  return Descriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle)
      .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations)
      .finalized();
}

std::vector<Descriptor> engine_configs(const Descriptor& graph, cudnnBackendHeurMode_t mode) {
  try {
    return Descriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
        .set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, mode)
        .finalized()
        .parts(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  } catch (const Refused&) {
    return {};
  }
}

std::vector<cudnnBackendNumericalNote_t> numerical_notes(const Descriptor& engine_config) {
  // Newer versions of the library than the headers may know more notes.
  constexpr int64_t kMost = 2 * CUDNN_NUMERICAL_NOTE_TYPE_COUNT;
  const auto engine = engine_config.parts(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  return engine.at(0).notes(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, kMost);
}

Plan::Plan(Descriptor engine_config)
    : config_(std::move(engine_config)),
      plan_(Descriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
                .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config_)
                .finalized()),
      workspace_bytes_(plan_.integer(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)) {}

void Plan::run(cudnnHandle_t handle, std::span<const int64_t> ids, std::span<void* const> tensors, void* workspace) const {
  const auto pack = Descriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
                        .set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
                        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, tensors)
                        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
                        .finalized();
  check(cudnnBackendExecute(handle, plan_.get(), pack.get()));
}

}  // namespace nd::cuda::cudnn
