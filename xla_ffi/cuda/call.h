#pragma once
// One call as the handlers hand it on: plain data, for code compiled with or without nvcc.
#include "core/scan.h"
#include "workspace.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

constexpr int kMaxBatchAxes = 8;

// How the items of a batch lie in the operands: offsets in items, stride 0 for what is shared. A lane axis, if there is
// one, is a batch axis over which the geometry is shared, taken out of the items: its images share all weights.
struct Batch {
  int axes = 0;
  int64_t size[kMaxBatchAxes] = {};
  int64_t data[kMaxBatchAxes] = {}, geometry[kMaxBatchAxes] = {}, result[kMaxBatchAxes] = {};
  int64_t pack[kMaxBatchAxes] = {};  // among the items of the data, the lane axis left out
  int64_t items = 1;
  int64_t lanes = 1, lane_data = 0, lane_result = 0;

  struct Offsets {
    int64_t data, geometry, result, pack;
  };

  JAXCT_HD Offsets locate(int64_t item) const {
    Offsets at = {0, 0, 0, 0};
    for (int k = axes - 1; k >= 0; --k) {
      const int64_t i = item % size[k];
      item /= size[k];
      at.data += i * data[k];
      at.geometry += i * geometry[k];
      at.result += i * result[k];
      at.pack += i * pack[k];
    }
    return at;
  }
};

// Which vectors and which grid make geometry number g.
struct GeometryBatch {
  int axes = 0;
  int64_t size[kMaxBatchAxes] = {};
  int64_t vectors[kMaxBatchAxes] = {}, grid[kMaxBatchAxes] = {};
  int64_t count = 1;
};

struct Call {
  Model model;
  Direction direction;
  DataType type;
  bool fast;
  Scan scan;
  Batch batch;
  GeometryBatch geometries;
  int64_t data_items, results;
  const void* in;
  const void* vectors;
  const void* grid;
  void* out;
  void* workspace;
  int64_t block_bytes = WorkspaceRequest{}.block_bytes;

  WorkspaceRequest request() const {
    return {model,   direction, type,    fast,       scan.planar,      scan.views, scan.rows,   scan.cols,
            scan.nz, scan.ny,   scan.nx, data_items, geometries.count, results,    batch.lanes, block_bytes};
  }
};

// Batch sizes of the operands, axis by axis: 1 (shared) or the result's.
inline void set_batch(Call& call, int axes, const int64_t* data, const int64_t* vectors, const int64_t* grid) {
  GeometryBatch& g = call.geometries;
  Batch& b = call.batch;
  g = {};
  b = {};
  g.axes = axes;
  int64_t vectors_items = 1, grid_items = 1;
  call.data_items = call.results = 1;
  int lane_axis = -1;
  int64_t data_stride[kMaxBatchAxes], result_stride[kMaxBatchAxes], geometry_stride[kMaxBatchAxes],
      result_size[kMaxBatchAxes];
  for (int k = axes - 1; k >= 0; --k) {
    g.size[k] = vectors[k] > grid[k] ? vectors[k] : grid[k];
    if (vectors[k] == 0 || grid[k] == 0) g.size[k] = 0;
    g.vectors[k] = vectors[k] == 1 ? 0 : vectors_items;
    g.grid[k] = grid[k] == 1 ? 0 : grid_items;
    result_size[k] = data[k] == 1 ? g.size[k] : data[k];
    data_stride[k] = data[k] == 1 ? 0 : call.data_items;
    geometry_stride[k] = g.size[k] == 1 ? 0 : g.count;
    result_stride[k] = call.results;
    vectors_items *= vectors[k];
    grid_items *= grid[k];
    g.count *= g.size[k];
    call.data_items *= data[k];
    call.results *= result_size[k];
    const bool can_be_lanes = call.scan.planar && data[k] > 1 && g.size[k] == 1;
    if (can_be_lanes && (lane_axis < 0 || data[k] > data[lane_axis])) lane_axis = k;
  }
  for (int k = 0; k < axes; ++k) {
    // Data strides of axes before the lane axis count its images.
    const int64_t lanes_within = lane_axis > k ? data[lane_axis] : 1;
    if (k == lane_axis) {
      b.lanes = result_size[k];
      b.lane_data = data_stride[k];
      b.lane_result = result_stride[k];
      continue;
    }
    b.size[b.axes] = result_size[k];
    b.data[b.axes] = data_stride[k];
    b.geometry[b.axes] = geometry_stride[k];
    b.result[b.axes] = result_stride[k];
    b.pack[b.axes] = data_stride[k] / lanes_within;
    b.items *= result_size[k];
    ++b.axes;
  }
}

}  // namespace cuda
JAXCT_NAMESPACE_END
