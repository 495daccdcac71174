#pragma once

#include <string>

namespace nd {

/// The name that today's diffusers gives the tensor that once had this one. Directly under `attentions.N`, `query`,
/// `key`, `value` and `proj_attn` are `to_q`, `to_k`, `to_v` and `to_out.0` now (diffusers'
/// `_from_deprecated_attn_block`), and the fourier embedding's `time_proj.W` is `time_proj.weight`; any other name
/// stays.
std::string current_name(const std::string& name);

}  // namespace nd
