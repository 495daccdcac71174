#include "kernels/cpu/winograd_kernels.h"
#include "kernels/cpu/simd_portable.h"

namespace nd::kernels::portable {
#include "kernels/cpu/winograd_body.h"
#include "kernels/cpu/winograd_few_body.h"
}
