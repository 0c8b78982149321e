#include "core/separable_footprint.h"

#include "cuda/kernels.h"
#include "cuda/run.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

cudaError_t launch_separable_footprint(const Call& call, cudaStream_t stream) {
  return run_on_stream<SeparableFootprint>(call, stream);
}

}  // namespace cuda
JAXCT_NAMESPACE_END
