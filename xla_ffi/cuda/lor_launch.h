#pragma once
// As kernels.h, for lines of response.
#include <cuda_runtime_api.h>

#include "cuda/lor_call.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

template <Model kModel>
cudaError_t launch_lors(const LorCall& call, cudaStream_t stream);

// Of a derivative by the geometry.
template <Model kModel>
cudaError_t launch_lor_derivative(const LorCall& call, cudaStream_t stream);

}  // namespace cuda
JAXCT_NAMESPACE_END
