#pragma once
// As call.h, for lines of response.
#include "lor_workspace.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

struct LorCall {
  Model model;
  Direction direction;
  Derivative derivative;
  bool wide;  // float64, all of it; float32 otherwise
  LorScan scan;
  BatchPlan plan;
  const void* in;
  const void* vectors;  // of tangents: every number with its tangent, as is the grid
  const void* grid;
  void* out;
  void* workspace;
  int64_t block_bytes = LorWorkspaceRequest{}.block_bytes;
  // Of gradients by the geometry, where `in` is the volume and `out` the gradient by the vectors:
  const void* projections = nullptr;
  Batch projections_batch = {};  // with the projections for data
  void* by_grid = nullptr;

  LorWorkspaceRequest request() const { return {model, direction, derivative, wide, scan, block_bytes}; }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
