#pragma once
// A ray seen along its dominant axis (the largest component of its direction, counted in voxels): slab by slab it moves
// by at most one voxel in the two minor axes, so every line model is a 2 x 2 stencil per slab. Positions come from the
// slab's index alone, never from the slab before: any part of a ray can be walked by anyone, with the same result.
#include "core/view.h"

JAXCT_NAMESPACE_BEGIN

template <typename T>
struct RayWalk {
  int axis, minor_a, minor_b;
  T middle;            // slab at which a and b are given
  T a, b;              // index coordinates in the minor axes at that slab
  T slope_a, slope_b;  // per slab
  T step;              // mm per slab
  T origin;            // index of the source along the axis; infinitely far behind for parallel rays
  bool ascending;      // the ray runs towards larger indices
};

template <typename T>
JAXCT_HD RayWalk<T> make_walk(const Scan& scan, const View<T>& view, const Ray<T>& ray) {
  const Vec3<T>& d = ray.direction;
  RayWalk<T> walk;
  int i = 0;
  if (std::abs(d[1]) > std::abs(d[i])) i = 1;
  if (std::abs(d[2]) > std::abs(d[i])) i = 2;
  const int j = i == 2 ? 0 : i + 1;
  const int k = j == 2 ? 0 : j + 1;
  walk.axis = i;
  walk.minor_a = j;
  walk.minor_b = k;
  walk.middle = static_cast<T>(scan.middle(i));
  walk.a = static_cast<T>(scan.middle(j)) - ray.moment[k] / d[i];
  walk.b = static_cast<T>(scan.middle(k)) + ray.moment[j] / d[i];
  walk.slope_a = d[j] / d[i];
  walk.slope_b = d[k] / d[i];
  walk.step = norm(d * view.voxel_size) / std::abs(d[i]);
  walk.ascending = d[i] > T(0);
  const T behind = walk.ascending ? T(-1e30) : T(1e30);
  walk.origin = view.beam == Beam::kParallel ? behind : view.origin[i] + walk.middle;
  return walk;
}

// A box of voxels, [begin, end) per axis.
struct VoxelBox {
  int32_t begin[3], end[3];
};

namespace detail {

// Narrow [begin, end) to the slabs where lo <= position + slope * (k - middle) <= hi, to within a slab on either side.
template <typename T>
JAXCT_HD void narrow(T position, T slope, T middle, T lo, T hi, IndexRange& range) {
  if (slope == T(0)) {
    if (!(position >= lo && position <= hi)) range.end = range.begin;
    return;
  }
  const T to_lo = middle + (lo - position) / slope;
  const T to_hi = middle + (hi - position) / slope;
  const T first = static_cast<T>(range.begin);
  const T last = static_cast<T>(range.end);
  const T enter = clamp(min_of(to_lo, to_hi), first, last);
  const T leave = clamp(max_of(to_lo, to_hi), first, last);
  range.begin = max_of(range.begin, static_cast<int32_t>(enter) - 1);
  range.end = min_of(range.end, static_cast<int32_t>(leave) + 2);
}

}  // namespace detail

// The slabs in which the ray's stencil can touch the box. Slightly generous: callers test each cell.
template <typename T>
JAXCT_HD IndexRange slabs_in(const RayWalk<T>& walk, const VoxelBox& box) {
  IndexRange range = {box.begin[walk.axis], box.end[walk.axis]};
  if (!(std::abs(walk.a) < T(1e9) && std::abs(walk.b) < T(1e9))) return {0, 0};
  // Rounding of a position must not drop a slab that another caller keeps.
  const T slack = T(1.01);
  detail::narrow(walk.a, walk.slope_a, walk.middle, static_cast<T>(box.begin[walk.minor_a]) - slack,
                 static_cast<T>(box.end[walk.minor_a]) + slack, range);
  detail::narrow(walk.b, walk.slope_b, walk.middle, static_cast<T>(box.begin[walk.minor_b]) - slack,
                 static_cast<T>(box.end[walk.minor_b]) + slack, range);
  return range;
}

// What a line model sees of a slab: the fractional position at its middle, the slopes, and the part [begin, end] of the
// slab (0 to 1 towards larger indices) that lies ahead of the source.
template <typename T>
struct Slab {
  T fraction_a, fraction_b;
  T slope_a, slope_b;
  T begin, end;
};

template <typename T>
struct Stencil {
  T weight[2][2];  // [a][b], in slab thicknesses
};

// visit(slab, cell_a, cell_b, stencil): the four cells are (cell_a + 0|1, cell_b + 0|1).
template <typename Model, typename T, typename Visit>
JAXCT_HD void walk_slabs(const RayWalk<T>& walk, IndexRange slabs, Visit&& visit) {
  for (int32_t k = slabs.begin; k < slabs.end; ++k) {
    const T offset = static_cast<T>(k) - walk.middle;
    const T a = walk.a + walk.slope_a * offset;
    const T b = walk.b + walk.slope_b * offset;
    const int32_t cell_a = floor_index(a);
    const int32_t cell_b = floor_index(b);
    const T source = clamp(walk.origin - (static_cast<T>(k) - T(0.5)), T(0), T(1));
    const Slab<T> slab = {a - static_cast<T>(cell_a),     b - static_cast<T>(cell_b),    walk.slope_a, walk.slope_b,
                          walk.ascending ? source : T(0), walk.ascending ? T(1) : source};
    visit(k, cell_a, cell_b, Model::stencil(slab));
  }
}

JAXCT_NAMESPACE_END
