#include <ATen/ATen.h>

#include "core/checkpoint/torchscript_archive.h"
#include "core/device.h"
#include "gpu/gpu_helpers.h"

using namespace nd;
using namespace nd::test;

namespace {

auto archive(at::Device device, const char* name = "tiny-unet") {
  return TorchScriptArchive::load(std::string(FIXTURES) + "/torchscript/" + name + ".pt", device, std::nullopt);
}

/// A TorchScript program's convolutions are libtorch's, which takes TF32 for them unless it is told not to.
struct NoTf32 {
  NoTf32() { at::globalContext().setAllowTF32CuDNN(false); }
  ~NoTf32() { at::globalContext().setAllowTF32CuDNN(true); }
};

TEST("an archive on the GPU gives the CPU's numbers") {
  const NoTf32 no_tf32;
  const auto x = at::randn({3, 2, 8, 8}, seeded(3));
  const auto t = at::tensor({3, 500, 999}, at::kLong), labels = at::tensor({0, 2, 1}, at::kLong);
  const auto wanted = archive(at::kCPU)->forward({x, t, labels});
  const auto got = archive(kGpu)->forward({x.to(kGpu), t.to(kGpu), labels.to(kGpu)});
  const auto tensor_of = [](const c10::IValue& value) { return value.isTensor() ? value.toTensor() : value.toTupleRef().elements()[0].toTensor(); };
  EXPECT(tensor_of(got).device() == kGpu);
  EXPECT(relative_error(tensor_of(got).cpu(), tensor_of(wanted)) <= 1e-4);
}

TEST("an archive through the engine gives the CPU's samples") {
  const NoTf32 no_tf32;
  const auto run = [](at::Device device, int64_t max_batch) {
    std::vector<SampleRequest> requests;
    for (uint64_t i = 0; i < 6; ++i) {
      requests.push_back(request_of({.kind = i % 2 ? SchedulerKind::ddpm : SchedulerKind::ddim, .steps = 10, .seed = i,
                                     .philox = i > 3, .shape = {2, 8, 8}}));
      requests.back().class_label = at::full({1}, static_cast<int64_t>(i % 3), at::kLong);
    }
    return ends_of(make_denoiser(archive(device)), std::move(requests), max_batch);
  };
  expect_close(run(kGpu, 4), run(at::kCPU, 1), 1e-3);
}

TEST("'cuda' and 'cuda:0' are one device; one that is not here, and other names, are refused") {
  EXPECT(parse_device("cuda") == kGpu);
  EXPECT(parse_device("cuda:0") == kGpu);
  EXPECT_ERROR(device, "'cuda:99' is not here", parse_device("cuda:99"));
  EXPECT_ERROR(device, "'gpu'", parse_device("gpu"));
}

}  // namespace
