#pragma once
// The static description of an operator: sizes and kind of beam.
#include "core/config.h"

JAXCT_NAMESPACE_BEGIN

enum class Beam : int64_t { kParallel = 0, kCone = 1, kCurvedCone = 2 };

// A planar (2-D) scan is a scan with one detector row and one slice, whose axial direction carries no weight.
struct Scan {
  int64_t views, rows, cols;
  int64_t nz, ny, nx;
  Beam beam;
  bool planar;
  int64_t magnification_power;  // of the voxel-driven model

  JAXCT_HD int64_t size(int axis) const { return axis == 0 ? nz : axis == 1 ? ny : nx; }
  JAXCT_HD int64_t voxels() const { return nz * ny * nx; }
  JAXCT_HD int64_t pixels() const { return rows * cols; }
  // Where a pixel lies in an array of such scans' projections.
  JAXCT_HD int64_t pixel(int64_t item, int64_t view, int64_t row, int64_t col) const {
    return ((item * views + view) * rows + row) * cols + col;
  }
  // The index of an axis' middle. Not from double for a float: that has its price on GPUs.
  template <typename T = double>
  JAXCT_HD T middle(int axis) const {
    return T(0.5) * static_cast<T>(static_cast<int32_t>(size(axis)) - 1);
  }
};

// The index of a voxel, from the middle of its axis of n voxels.
template <typename T, typename Index>
JAXCT_HD T relative(Index index, Index n) {
  return T(0.5) * static_cast<T>(2 * index - (n - 1));
}

JAXCT_NAMESPACE_END
