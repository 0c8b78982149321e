#pragma once
// The definitions of launch_lors<model> and launch_lor_derivative<model>, for the files that instantiate them.
#include "cuda/lor_launch.h"
#include "cuda/lor_run.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

template <Model kModel>
cudaError_t launch_lors(const LorCall& call, cudaStream_t stream) {
  StreamLauncher launcher{stream};
  run_lors<LorMaths<kModel>>(call, launcher);
  return launcher.status;
}

template <Model kModel>
cudaError_t launch_lor_derivative(const LorCall& call, cudaStream_t stream) {
  StreamLauncher launcher{stream};
  run_lor_derivative<LorMaths<kModel>>(call, launcher);
  return launcher.status;
}

}  // namespace cuda
JAXCT_NAMESPACE_END
