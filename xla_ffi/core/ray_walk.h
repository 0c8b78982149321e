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
JAXCT_HD int dominant_axis(const Vec3<T>& d) {
  const T x = abs_of(d[2]), y = abs_of(d[1]), z = abs_of(d[0]);
  if (y > z) return x > y ? 2 : 1;
  return x > z ? 2 : 0;
}

// Along any axis that the ray is not perpendicular to.
template <typename T>
JAXCT_HD RayWalk<T> make_walk_along(const Scan& scan, const View<T>& view, const Ray<T>& ray, int i) {
  const int j = i == 2 ? 0 : i + 1;
  const int k = j == 2 ? 0 : j + 1;
  const T d = pick(ray.direction.c, i);
  RayWalk<T> walk;
  walk.axis = i;
  walk.minor_a = j;
  walk.minor_b = k;
  walk.middle = scan.middle<T>(i);
  walk.a = scan.middle<T>(j) - pick(ray.moment.c, k) / d;
  walk.b = scan.middle<T>(k) + pick(ray.moment.c, j) / d;
  walk.slope_a = pick(ray.direction.c, j) / d;
  walk.slope_b = pick(ray.direction.c, k) / d;
  walk.step = norm(ray.direction * view.voxel_size) / abs_of(d);
  walk.ascending = d > T(0);
  const T behind = walk.ascending ? T(-1e30) : T(1e30);
  walk.origin = view.beam == Beam::kParallel ? behind : pick(view.origin.c, i) + walk.middle;
  return walk;
}

template <typename T>
JAXCT_HD RayWalk<T> make_walk(const Scan& scan, const View<T>& view, const Ray<T>& ray) {
  return make_walk_along(scan, view, ray, dominant_axis(ray.direction));
}

// False for rays that are far from any grid, or not numbers.
template <typename T>
JAXCT_HD bool is_walkable(const RayWalk<T>& walk) {
  return abs_of(walk.a) < T(1e9) && abs_of(walk.b) < T(1e9);
}

// A box of voxels, [begin, end) per axis.
struct VoxelBox {
  int32_t begin[3], end[3];
};

JAXCT_HD VoxelBox whole_grid(const Scan& scan) {
  return {{0, 0, 0}, {static_cast<int32_t>(scan.nz), static_cast<int32_t>(scan.ny), static_cast<int32_t>(scan.nx)}};
}

// True if some of the slabs may lie behind the source in part. It is outside the grid, so that few rays have such.
template <typename T>
JAXCT_HD bool is_clipped(const RayWalk<T>& walk, IndexRange slabs) {
  return walk.ascending ? walk.origin > static_cast<T>(slabs.begin - 1) : walk.origin < static_cast<T>(slabs.end);
}

// The part of slab k that is ahead of the source.
template <typename T>
struct SlabPart {
  T begin, end;
};

template <typename T, typename Mask>
JAXCT_HD SlabPart<T> part_ahead(T origin, Mask ascending, T k) {
  const T source = clamp(origin - (k - T(0.5)), T(0), T(1));
  return {select(ascending, source, T(0)), select(ascending, T(1), source)};
}

// The part of a 2-D ray that lies in the plane.
template <typename T>
struct PlanarWalk {
  int axis, minor;
  T position, slope;  // in the minor axis, as in RayWalk
};

template <typename T>
JAXCT_HD PlanarWalk<T> planar_part(const RayWalk<T>& walk) {
  if (walk.minor_a == 0) return {walk.axis, walk.minor_b, walk.b, walk.slope_b};
  return {walk.axis, walk.minor_a, walk.a, walk.slope_a};
}

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
  IndexRange range = {pick(box.begin, walk.axis), pick(box.end, walk.axis)};
  if (!is_walkable(walk)) return {0, 0};
  // Rounding of a position must not drop a slab that another caller keeps.
  const T slack = T(1.01);
  detail::narrow(walk.a, walk.slope_a, walk.middle, static_cast<T>(pick(box.begin, walk.minor_a)) - slack,
                 static_cast<T>(pick(box.end, walk.minor_a)) + slack, range);
  detail::narrow(walk.b, walk.slope_b, walk.middle, static_cast<T>(pick(box.begin, walk.minor_b)) - slack,
                 static_cast<T>(pick(box.end, walk.minor_b)) + slack, range);
  return range;
}

template <typename T, typename V>
JAXCT_HD IndexRange slabs_in(const RayWalk<Dual<T, V>>& w, const VoxelBox& box) {
  return slabs_in(RayWalk<T>{w.axis, w.minor_a, w.minor_b, w.middle.value, w.a.value, w.b.value, w.slope_a.value,
                             w.slope_b.value, w.step.value, w.origin.value, w.ascending},
                  box);
}

// What a line model sees of a slab: the fractional position at its middle, the slopes, and the part [begin, end] of the
// slab (0 to 1 towards larger indices) that lies ahead of the source.
template <typename T>
struct Slab {
  T fraction_a, fraction_b;
  T slope_a, slope_b;
  T begin, end;
};

// What Joseph and Siddon have in common.
struct LineModel {};

template <typename T>
struct Stencil {
  T weight[2][2];  // [a][b], in slab thicknesses
};

// Where a ray crosses slab k: the four cells of its stencil are (cell_a + 0|1, cell_b + 0|1).
template <typename T>
struct Crossing {
  int32_t cell_a, cell_b;
  Slab<T> slab;
};

template <typename T>
JAXCT_HD Crossing<T> cross_slab(const RayWalk<T>& walk, int32_t k) {
  const T offset = static_cast<T>(k) - walk.middle;
  const T a = multiply_add(walk.slope_a, offset, walk.a);
  const T b = multiply_add(walk.slope_b, offset, walk.b);
  const int32_t cell_a = floor_index(a);
  const int32_t cell_b = floor_index(b);
  const SlabPart<T> ahead = part_ahead(walk.origin, walk.ascending, static_cast<T>(k));
  return {cell_a,
          cell_b,
          {a - static_cast<T>(cell_a), b - static_cast<T>(cell_b), walk.slope_a, walk.slope_b, ahead.begin, ahead.end}};
}

// visit(slab, cell_a, cell_b, stencil)
template <typename Model, typename T, typename Visit>
JAXCT_HD void walk_slabs(const RayWalk<T>& walk, IndexRange slabs, Visit&& visit) {
  for (int32_t k = slabs.begin; k < slabs.end; ++k) {
    const Crossing<T> at = cross_slab(walk, k);
    visit(k, at.cell_a, at.cell_b, Model::stencil(at.slab));
  }
}

struct Strides {
  int64_t axis[3];
};

JAXCT_HD Strides strides_of(const Scan& scan) { return {{scan.ny * scan.nx, scan.nx, 1}}; }

// f(0|1, 0|1, voxel offset) for the four cells from (a, b) on that lie in the box.
template <typename T, typename F>
JAXCT_HD void visit_cells(const RayWalk<T>& walk, const VoxelBox& box, const Strides& strides, int32_t k, int32_t a,
                          int32_t b, F&& f) {
  const int i = walk.minor_a, j = walk.minor_b;
  const int64_t stride_a = pick(strides.axis, i), stride_b = pick(strides.axis, j);
  const int64_t base = k * pick(strides.axis, walk.axis) + a * stride_a + b * stride_b;
  const int32_t begin_a = pick(box.begin, i), end_a = pick(box.end, i);
  const int32_t begin_b = pick(box.begin, j), end_b = pick(box.end, j);
  const bool a0 = a >= begin_a && a < end_a, a1 = a + 1 >= begin_a && a + 1 < end_a;
  const bool b0 = b >= begin_b && b < end_b, b1 = b + 1 >= begin_b && b + 1 < end_b;
  if (a0 && b0) f(0, 0, base);
  if (a0 && b1) f(0, 1, base + stride_b);
  if (a1 && b0) f(1, 0, base + stride_a);
  if (a1 && b1) f(1, 1, base + stride_a + stride_b);
}

// f(voxel offset, weight) for the cells of a stencil that lie in the box.
template <typename T, typename F>
JAXCT_HD void for_cells(const RayWalk<T>& walk, const VoxelBox& box, const Strides& strides, int32_t k, int32_t a,
                        int32_t b, const Stencil<T>& stencil, F&& f) {
  visit_cells(walk, box, strides, k, a, b, [&](int i, int j, int64_t voxel) { f(voxel, stencil.weight[i][j]); });
}

JAXCT_NAMESPACE_END
