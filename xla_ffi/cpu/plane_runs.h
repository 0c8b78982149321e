#pragma once
// Which planes of a sinogram are the same but for whole voxels. Compiled once: plain data for the loops of every
// instruction set.
#include <cstdint>

namespace jaxct::cpu {

// Rows [first, first + count) in the order found have one slope, and each is `spacing` voxels above the one before.
struct PlaneRun {
  int32_t first, count;
};

struct PlaneRuns {
  int32_t count, spacing;
};

// Of rows with a height and a slope each, in voxels: the spacing of 1 to 8 voxels that leaves the fewest runs. `order`
// and `runs` have a place for every row.
PlaneRuns find_plane_runs(const double* heights_and_slopes, int64_t rows, double tolerance, int32_t* order,
                          PlaneRun* runs);

}  // namespace jaxct::cpu
