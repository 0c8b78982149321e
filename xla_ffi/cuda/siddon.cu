#include "core/siddon.h"

#include "cuda/kernels.h"
#include "cuda/run.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

cudaError_t launch_siddon(const Call& call, cudaStream_t stream) { return run_on_stream<Siddon>(call, stream); }

}  // namespace cuda
JAXCT_NAMESPACE_END
