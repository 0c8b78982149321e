#include "host_kernels.h"

#include "core/distance_driven.h"
#include "core/joseph.h"
#include "core/separable_footprint.h"
#include "core/siddon.h"
#include "core/voxel_driven.h"
#include "cuda/run.h"

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
  switch (call.model) {
    case Model::kJoseph:
      return cuda::run_model<Joseph>(call, launch);
    case Model::kSiddon:
      return cuda::run_model<Siddon>(call, launch);
    case Model::kSeparableFootprint:
      return cuda::run_model<SeparableFootprint>(call, launch);
    case Model::kDistanceDriven:
      return cuda::run_model<DistanceDriven>(call, launch);
    case Model::kVoxelDriven:
      return cuda::run_model<VoxelDriven>(call, launch);
  }
}

}  // namespace host
