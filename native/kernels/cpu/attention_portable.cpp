#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/simd_portable.h"

namespace nd::kernels::portable {
#include "kernels/cpu/attention_body.h"
}
