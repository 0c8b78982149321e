#pragma once
// As workspace.h, for lines of response: what a CUDA call needs beside its operands, in bytes. The items of a batch
// take their turns in it.
#include "core/lor_tubes.h"
#include "workspace.h"

namespace jaxct {

// What all tubes of a problem share, on the device.
template <typename Number, typename D>
struct alignas(16) PreparedLors : LorSetup<Number, D> {
  bool sound;  // false: all that depends on it is NaN
};

template <typename T, typename Number>
using PreparedLorsOf = PreparedLors<Number, typename LorProblem<T, Number>::Wide>;

// Directions that a thread differentiates along at once: with more, its numbers would not fit its registers.
constexpr int kDirectionsAtOnce = 4;
template <typename T>
using LorGradientNumber = Dual<T, Tangents<T, kDirectionsAtOnce>>;

// Threads that share the tubes of a back projection while bounds are looked for: enough to fill a GPU.
constexpr int64_t kBoundThreads = int64_t{1} << 18;

struct LorWorkspaceRequest {
  Model model;
  Direction direction;
  Derivative derivative;
  bool wide;  // float64
  LorScan scan;
  int64_t block_bytes = int64_t{256} << 20;  // of partial sums of gradients

  // The lines that a walk is made from.
  int lines() const { return model == Model::kDistanceDriven ? LorDistanceDriven::kLines : LorLine::kLines; }
  int directions() const { return lines() == 1 ? kDirections<1> : kDirections<2>; }
  int64_t walks() const { return lines() == 1 ? scan.rays() : 1; }
};

// Offsets in bytes, and -1 for what is not needed.
struct LorWorkspace {
  int64_t prepared = -1;  // PreparedLors; of a gradient one for every few directions
  // Back. The first three are zero before:
  int64_t unsound = -1;  // a flag: all is NaN
  int64_t wild = -1;     // bits: voxels that are NaN
  int64_t sums = -1;     // in fixed point
  int64_t zeroed = 0;    // bytes of the three
  int64_t bounds = -1;   // partial sums of bounds, in double precision
  int64_t bound_threads = 0;
  int64_t scale = -1;
  // Gradient, of a block of views:
  int64_t block_views = 0;
  int64_t parts = -1;    // [direction][walk][tube]
  int64_t by_walk = -1;  // their sums by direction, in double precision
  int64_t by_grid = -1;  // the same of all blocks
  int64_t between = -1;  // sums on their way to a single one
  int64_t bytes = 0;

  int64_t reserve(int64_t size) {
    const int64_t at = bytes;
    bytes += tiles(size, 256) * 256;
    return at;
  }
};

namespace planning {

inline void plan_fixed_point(const LorWorkspaceRequest& r, LorWorkspace& w) {
  const int64_t voxels = r.scan.voxels();
  w.unsound = w.reserve(4);
  w.wild = w.reserve(tiles(voxels, 32) * 4);
  w.sums = w.reserve(voxels * 8);
  w.zeroed = w.bytes - w.unsound;
  w.bound_threads = min_of(r.scan.tubes(), kBoundThreads);
  w.bounds = w.reserve(w.bound_threads * 8);
  w.between = w.reserve(tiles(w.bound_threads, kSumRun) * 8);
  w.scale = w.reserve(64);
}

inline void plan_lor_gradient(const LorWorkspaceRequest& r, LorWorkspace& w) {
  const int64_t walks_of_view = r.scan.planes * r.scan.bins * r.walks(), directions = r.directions();
  const int64_t view_bytes = walks_of_view * directions * (r.wide ? 8 : 4);
  w.block_views = block_of_views(r.block_bytes, r.scan.views, view_bytes, 1);
  w.parts = w.reserve(w.block_views * view_bytes);
  w.by_walk = w.reserve(directions * 8);
  w.by_grid = w.reserve(kLorGridNumbers * 8);
  w.between = w.reserve(directions * tiles(w.block_views * walks_of_view, kSumRun) * 8);
}

template <typename T>
constexpr int64_t size_of_prepared(Derivative derivative, int directions) {
  return derivative == Derivative::kGradient
             ? directions / kDirectionsAtOnce * static_cast<int64_t>(sizeof(PreparedLorsOf<T, LorGradientNumber<T>>))
         : derivative == Derivative::kTangent ? static_cast<int64_t>(sizeof(PreparedLorsOf<T, Dual<T>>))
                                              : static_cast<int64_t>(sizeof(PreparedLorsOf<T, T>));
}

}  // namespace planning

inline LorWorkspace plan_workspace(const LorWorkspaceRequest& r) {
  LorWorkspace w;
  w.prepared = w.reserve(r.wide ? planning::size_of_prepared<double>(r.derivative, r.directions())
                                : planning::size_of_prepared<float>(r.derivative, r.directions()));
  if (r.derivative == Derivative::kGradient)
    planning::plan_lor_gradient(r, w);
  else if (r.direction == Direction::kBack)
    planning::plan_fixed_point(r, w);
  return w;
}

}  // namespace jaxct
