#pragma once
// One call as the handlers hand it on: plain data, for code compiled with or without nvcc.
#include "batch.h"
#include "workspace.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

struct Call {
  Model model;
  Direction direction;
  Derivative derivative;
  DataType type;
  bool fast;
  Scan scan;
  BatchPlan plan;
  const void* in;
  const void* vectors;  // of tangents: every number with its tangent, as is the grid
  const void* grid;
  void* out;
  void* workspace;
  int64_t block_bytes = WorkspaceRequest{}.block_bytes;
  // Of gradients by the geometry, where `in` is the volume and `out` the gradient by the vectors:
  const void* projections = nullptr;
  Batch projections_batch = {};  // with the projections for data
  void* by_grid = nullptr;

  WorkspaceRequest request() const {
    return make_request(model, direction, derivative, type, fast, scan, plan, block_bytes);
  }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
