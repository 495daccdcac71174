#include "kernels/cpu/fused_step_kernels.h"
#include "kernels/cpu/simd_portable.h"

namespace nd::kernels::portable {
#include "kernels/cpu/fused_step_body.h"
}
