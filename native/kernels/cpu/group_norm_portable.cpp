#include "kernels/cpu/group_norm_kernels.h"
#include "kernels/cpu/simd_portable.h"

namespace nd::kernels::portable {
#include "kernels/cpu/group_norm_body.h"
}
