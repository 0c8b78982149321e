#pragma once
// The definitions of launch<model> and launch_derivative<model>, for the files that instantiate them.
#include "core/models.h"
#include "cuda/kernels.h"
#include "cuda/run_derivatives.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

template <Model kModel>
cudaError_t launch(const Call& call, cudaStream_t stream) {
  StreamLauncher launcher{stream};
  run_model<Maths<kModel>>(call, launcher);
  return launcher.status;
}

template <Model kModel>
cudaError_t launch_derivative(const Call& call, cudaStream_t stream) {
  static_assert(is_differentiable(kModel));
  StreamLauncher launcher{stream};
  run_derivative<Maths<kModel>>(call, launcher);
  return launcher.status;
}

}  // namespace cuda
JAXCT_NAMESPACE_END
