#include "host_kernels.h"

#include "core/models.h"
#include "cuda/run_derivatives.h"

namespace host {
namespace {

// Blocks last to first: nothing may depend on their order.
struct Launcher {
  template <typename Body>
  void operator()(const Body& body) {
    for (int64_t block = body.blocks() - 1; block >= 0; --block)
      for (int thread = 0; thread < Body::kThreads; ++thread) body(block, thread);
  }
};

}  // namespace

void run(const jaxct::cuda::Call& call) {
  using namespace jaxct;
  Launcher launch;
  if (call.derivative == Derivative::kNone)
    with_maths(call.model, [&](auto maths) { cuda::run_model<decltype(maths)>(call, launch); });
  else
    with_differentiable(call.model, [&](auto maths) { cuda::run_derivative<decltype(maths)>(call, launch); });
}

}  // namespace host
