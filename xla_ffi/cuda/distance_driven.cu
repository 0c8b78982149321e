#include "core/distance_driven.h"

#include "cuda/kernels.h"
#include "cuda/run.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

cudaError_t launch_distance_driven(const Call& call, cudaStream_t stream) {
  return run_on_stream<DistanceDriven>(call, stream);
}

}  // namespace cuda
JAXCT_NAMESPACE_END
