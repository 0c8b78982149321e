#pragma once
// Launches of the kernels, which are compiled apart: a file a model.
#include <cuda_runtime_api.h>

#include "cuda/call.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

template <Model kModel>
cudaError_t launch(const Call& call, cudaStream_t stream);

// Of a derivative by the geometry.
template <Model kModel>
cudaError_t launch_derivative(const Call& call, cudaStream_t stream);

}  // namespace cuda
JAXCT_NAMESPACE_END
