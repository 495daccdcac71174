#include "kernels/cudnn_convolution.h"

namespace nd::cuda {

bool convolution_bias_residual(const FusedConvolution&, const at::Tensor&) { return false; }

}  // namespace nd::cuda
