#pragma once
// The definition of launch<model>, for the files that instantiate it.
#include "core/models.h"
#include "cuda/kernels.h"
#include "cuda/run.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

template <Model kModel>
cudaError_t launch(const Call& call, cudaStream_t stream) {
  StreamLauncher launcher{stream};
  run_model<Maths<kModel>>(call, launcher);
  return launcher.status;
}

}  // namespace cuda
JAXCT_NAMESPACE_END
