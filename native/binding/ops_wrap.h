#pragma once

#include <napi.h>

namespace nd::binding {

/// callOp, opNames: every ATen operator through libtorch's dispatcher.
void define_ops(Napi::Env env, Napi::Object exports);

}  // namespace nd::binding
