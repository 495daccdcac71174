#pragma once

#include <functional>
#include <vector>

#include "core/engine/request.h"
#include "core/unet/unet2d_model.h"

namespace nd {

/// A half model's noise is drawn in its dtype, as diffusers does; x_t and the steps stay float32.
at::ScalarType state_dtype(const ModelTarget& target);

/// Gives a request that begins its x_T: its own, the first draw, or its image noised by that.
void begin(RunningRequest& request, const ModelTarget& target);

/// The same for requests of one shape whose steps CUDA's kernels take: for what is drawn nobody waits for the device.
void begin_on_device(const std::vector<RunningRequest*>& requests, const ModelTarget& target);

/// The noise of the request's coming step, [1, C, H, W].
at::Tensor draw_step(const RunningRequest& request, const ModelTarget& target);

/// The noise of each, float, in its row of `host` and in its `z`: x_T's for those that have not begun, else the coming step's.
/// All cores draw; what fails is that request's error.
void draw_rows(const std::vector<RunningRequest*>& requests, const at::Tensor& host, at::ScalarType dtype);

/// Which draw of the request's the coming step's noise is; 0 is x_T's.
inline uint32_t draw_index(const RunningRequest& request) { return static_cast<uint32_t>(request.step) + 1; }

/// Calls one(request) for each that has no error yet, on all cores where no two of them draw from the same generator. What
/// it throws becomes that request's error. `Cores::one`: on this thread, whose stream a device's work goes to.
enum class Cores { one, all };
void for_each(const std::vector<RunningRequest*>& requests, Cores cores, const std::function<void(RunningRequest&)>& one);

}  // namespace nd
