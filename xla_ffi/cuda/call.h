#pragma once
// One call as the handlers hand it on: plain data, for code compiled with or without nvcc.
#include "batch.h"
#include "workspace.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

struct Call {
  Model model;
  Direction direction;
  DataType type;
  bool fast;
  Scan scan;
  BatchPlan plan;
  const void* in;
  const void* vectors;
  const void* grid;
  void* out;
  void* workspace;
  int64_t block_bytes = WorkspaceRequest{}.block_bytes;

  WorkspaceRequest request() const { return make_request(model, direction, type, fast, scan, plan, block_bytes); }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
