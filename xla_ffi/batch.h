#pragma once
// How the items of a call's batch lie in its operands, for the CUDA back end: plain arithmetic on shapes, needed when a
// call is lowered and again when it is launched.
#include <cstdint>

#include "core/config.h"

namespace jaxct {

constexpr int kMaxBatchAxes = 8;

JAXCT_HD int64_t tiles(int64_t n, int64_t size) { return (n + size - 1) / size; }

// How the items of a batch lie in the operands: offsets in items, stride 0 for what is shared. A lane axis, if there is
// one, is a batch axis over which the geometry is shared, taken out of the items: its images share all weights.
struct Batch {
  int axes = 0;
  int64_t size[kMaxBatchAxes] = {};
  int64_t data[kMaxBatchAxes] = {}, geometry[kMaxBatchAxes] = {}, result[kMaxBatchAxes] = {};
  int64_t pack[kMaxBatchAxes] = {};  // among the items of the data, the lane axis left out
  int64_t items = 1;
  int64_t lanes = 1, lane_data = 0, lane_result = 0;

  // Of `length` images each.
  JAXCT_HD int64_t runs(int64_t length) const { return tiles(lanes, length); }

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

  struct Offsets {
    int64_t vectors, grid;
  };

  JAXCT_HD Offsets locate(int64_t geometry) const {
    Offsets at = {0, 0};
    for (int k = axes - 1; k >= 0; --k) {
      const int64_t i = geometry % size[k];
      geometry /= size[k];
      at.vectors += i * vectors[k];
      at.grid += i * grid[k];
    }
    return at;
  }
};

struct BatchPlan {
  Batch batch;
  GeometryBatch geometries;
  int64_t data_items = 1, results = 1;
};

// From the batch sizes of the operands, axis by axis: 1 (shared) or the result's. At most kMaxBatchAxes axes. `lanes`:
// a lane axis is looked for. `others`: what else the result has batch axes of.
inline BatchPlan plan_batch(bool lanes, int axes, const int64_t* data, const int64_t* vectors, const int64_t* grid,
                            const int64_t* others = nullptr) {
  BatchPlan plan;
  Batch& b = plan.batch;
  GeometryBatch& g = plan.geometries;
  g.axes = axes;
  int64_t vectors_items = 1, grid_items = 1;
  int64_t data_stride[kMaxBatchAxes], result_stride[kMaxBatchAxes], geometry_stride[kMaxBatchAxes];
  int64_t result_size[kMaxBatchAxes];
  int lane_axis = -1;
  for (int k = axes - 1; k >= 0; --k) {
    g.size[k] = vectors[k] == 1 ? grid[k] : vectors[k];
    g.vectors[k] = vectors[k] == 1 ? 0 : vectors_items;
    g.grid[k] = grid[k] == 1 ? 0 : grid_items;
    result_size[k] = data[k] == 1 ? g.size[k] : data[k];
    if (others != nullptr && result_size[k] == 1) result_size[k] = others[k];
    data_stride[k] = data[k] == 1 ? 0 : plan.data_items;
    geometry_stride[k] = g.size[k] == 1 ? 0 : g.count;
    result_stride[k] = plan.results;
    vectors_items *= vectors[k];
    grid_items *= grid[k];
    g.count *= g.size[k];
    plan.data_items *= data[k];
    plan.results *= result_size[k];
    const bool shares_geometry = lanes && data[k] > 1 && g.size[k] == 1;
    if (shares_geometry && (lane_axis < 0 || data[k] > data[lane_axis])) lane_axis = k;
  }
  for (int k = 0; k < axes; ++k) {
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
    // Strides of axes before the lane axis count its images.
    b.pack[b.axes] = data_stride[k] / (k < lane_axis ? data[lane_axis] : 1);
    b.items *= result_size[k];
    ++b.axes;
  }
  return plan;
}

}  // namespace jaxct
