#pragma once
// Launches of the kernels, which are compiled apart: a file a model.
#include <cuda_runtime_api.h>

#include "cuda/call.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

cudaError_t launch_joseph(const Call& call, cudaStream_t stream);
cudaError_t launch_siddon(const Call& call, cudaStream_t stream);
cudaError_t launch_separable_footprint(const Call& call, cudaStream_t stream);
cudaError_t launch_distance_driven(const Call& call, cudaStream_t stream);
cudaError_t launch_voxel_driven(const Call& call, cudaStream_t stream);

}  // namespace cuda
JAXCT_NAMESPACE_END
