#pragma once

#include "unet_layers.h"

#include "core/unet/unet2d_model.h"

#include <functional>

namespace nd::bench {

/// One way to do a job: `before` is not timed.
struct Arm {
  std::function<void()> before;
  std::function<at::Tensor()> run;
};

/// What a layer does in one forward, in each way that its part names; all give the same, where they give anything.
struct Job {
  std::string shape;
  std::vector<Arm> arms;
};

/// A share of the forward. Every layer has weights of its own, so a pass of one arm over all of them finds the caches much as
/// the forward does.
struct Part {
  std::string name;
  std::vector<std::string> arms;
  std::vector<Job> jobs;
};

struct UNetCase {
  const UNet2DConfig& config;
  const std::vector<UNetLayer>& layers;
  ModelTarget target;
  int64_t batch;
};

Part convolutions_3x3(const UNetCase& unet);
/// The other convolutions, and the linear layers of attention.
Part products(const UNetCase& unet);
Part norms(const UNetCase& unet);
Part attentions(const UNetCase& unet);
/// The convolutions of the ResNet blocks with what is added to them.
Part epilogues(const UNetCase& unet);
Part time_embedding(const UNetCase& unet);
/// The whole forward, with the memory of the one before or without.
Part buffers(const UNetCase& unet, std::shared_ptr<const UNet2DModel> model);

}  // namespace nd::bench
