#pragma once
// Line models in 2-D. Rays that run along y walk the image's rows, those along x its columns: in either case a ray
// touches two neighbouring cells of a line, and neighbouring rays touch neighbouring cells.
//
// A single image: as many rays at a time as a register holds. Forward: they look up their cells; back: they compute
// them together and add to them one after the other. A batch of images with one geometry: one ray at a time, and all
// the images' pixels of a cell together.
#include "core/ray_walk.h"
#include "cpu/lines.h"
#include "cpu/ray_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// Neighbouring rays of a view that run along one axis (1: y, 2: x).
template <typename Model, typename T>
class RayBundle {
 public:
  using Number = Lanes<T>;
  using Integer = Index<Number>;

  // The rays of columns first to first + count that run along the axis, within a box of voxels.
  RayBundle(const Scan& scan, const View<T>& view, const VoxelBox& box, int axis, int64_t first, int64_t count)
      : middle_(scan.middle<T>(axis)), slabs_{box.end[axis], box.begin[axis]} {
    for (int lane = 0; lane < kLanes<T>; ++lane) {
      position_[lane] = T(-1e9);
      slope_[lane] = step_[lane] = ascends_[lane] = T(0);
      origin_[lane] = T(0);
      if (lane >= count) continue;
      const Ray<T> ray = make_ray(view, 0, first + lane);
      if (dominant_axis(ray.direction) != axis) continue;
      const RayWalk<T> walk = make_walk_along(scan, view, ray, axis);
      const IndexRange range = slabs_in(walk, box);
      if (range.empty()) continue;
      slabs_ = {min_of(slabs_.begin, range.begin), max_of(slabs_.end, range.end)};
      // Of the minor axes the other one is z.
      position_[lane] = walk.minor_a == 0 ? walk.b : walk.a;
      slope_[lane] = walk.minor_a == 0 ? walk.slope_b : walk.slope_a;
      step_[lane] = walk.step;
      ascends_[lane] = walk.ascending ? T(1) : T(0);
      origin_[lane] = walk.origin;
    }
    // The source is outside the grid, and so clips a slab only where it is beside it.
    for (int lane = 0; lane < kLanes<T>; ++lane)
      clipped_ = clipped_ || (step_[lane] > T(0) && (ascends_[lane] > T(0)
                                                         ? origin_[lane] > static_cast<T>(slabs_.begin) - T(1)
                                                         : origin_[lane] < static_cast<T>(slabs_.end)));
  }

  bool empty() const { return slabs_.empty(); }
  Number step() const { return load_lanes(step_); }

  // visit(slab, cells, weight of the cell, weight of the next), in slab thicknesses.
  template <typename Visit>
  JAXCT_HD void walk(Visit&& visit) const {
    if (clipped_)
      walk_slabs<true>(visit);
    else
      walk_slabs<false>(visit);
  }

 private:
  template <bool kClipped, typename Visit>
  JAXCT_HD void walk_slabs(Visit&& visit) const {
    const Number position = load_lanes(position_), slope = load_lanes(slope_), origin = load_lanes(origin_),
                 zero(T(0)), one(T(1));
    const auto ascends = load_lanes(ascends_) > zero;
    for (int32_t k = slabs_.begin; k < slabs_.end; ++k) {
      const Number at = slope * Number(static_cast<T>(k) - middle_) + position;
      const Integer cells = floor_index(at);
      Slab<Number> slab = {at - Number(cells), zero, slope, zero, zero, one};
      if (kClipped) {
        const Number source = clamp(origin - Number(static_cast<T>(k) - T(0.5)), zero, one);
        slab.begin = select(ascends, source, zero);
        slab.end = select(ascends, one, source);
      }
      const auto stencil = Model::stencil(slab);
      visit(k, cells, stencil.weight[0][0], stencil.weight[1][0]);
    }
  }

  T middle_;
  T position_[kLanes<T>], slope_[kLanes<T>], step_[kLanes<T>], ascends_[kLanes<T>], origin_[kLanes<T>];
  IndexRange slabs_;
  bool clipped_ = false;
};

// table[i] and table[i + 1] times their weights.
template <typename T>
JAXCT_HD Lanes<T> interpolate(const T* table, LaneIndices<T> i, Lanes<T> weight, Lanes<T> next_weight) {
  const int32_t a = i[0], b = i[kLanes<T> - 1];
  const int32_t base = a < b ? a : b;
  // Cells rise or fall with the ray; those of rays that do not take part may lie elsewhere.
  const LaneIndices<T> offset = i - base;
  const LaneIndices<T> far(kWindow<T>);
  if (any_of(offset < LaneIndices<T>(0)) || any_of(offset > far - 1))
    return weight * gather(table, i) + next_weight * gather(table, i + 1);
  return weight * look_up(table + base, offset) + next_weight * look_up(table + base + 1, offset);
}

template <typename Model, typename T>
class PlanarRays {
 public:
  PlanarRays(const Problem<T>& p, const Executor& executor) : p_(p), executor_(executor) {}

  Status forward() const {
    const Lines<T> rows(p_.scan.ny, p_.scan.nx), columns(p_.scan.nx, p_.scan.ny);
    if (!rows || !columns) return Status::kOutOfMemory;
    for (int64_t y = 0; y < p_.scan.ny; ++y)
      for (int64_t x = 0; x < p_.scan.nx; ++x) rows[y][x] = columns[x][y] = p_.in[y * p_.scan.nx + x];
    const VoxelBox grid = whole_grid(p_.scan);
    parallel_for(executor_, p_.scan.views, [&](int64_t v) {
      T* out = p_.out + v * p_.scan.cols;
      for (int64_t first = 0; first < p_.scan.cols; first += kLanes<T>) {
        const int64_t count = min_of(p_.scan.cols - first, int64_t{kLanes<T>});
        const Number sum = integrate(p_.views[v], grid, 1, first, count, rows) +
                           integrate(p_.views[v], grid, 2, first, count, columns);
        for (int lane = 0; lane < count; ++lane) out[first + lane] = sum[lane];
      }
    });
    return Status::kOk;
  }

  Status back() const {
    constexpr int64_t kTile = 64;
    const int64_t across = tiles(p_.scan.nx, kTile);
    std::atomic<bool> ok{true};
    parallel_for(executor_, across * tiles(p_.scan.ny, kTile), [&](int64_t task) {
      const int64_t y = task / across * kTile, x = task % across * kTile;
      const Rectangle r = {y, min_of(p_.scan.ny, y + kTile), x, min_of(p_.scan.nx, x + kTile)};
      if (!back_tile(r)) ok = false;
    });
    return ok ? Status::kOk : Status::kOutOfMemory;
  }

 private:
  using Number = Lanes<T>;
  using Integer = Index<Number>;

  Number integrate(const View<T>& view, const VoxelBox& grid, int axis, int64_t first, int64_t count,
                   const Lines<T>& lines) const {
    const RayBundle<Model, T> rays(p_.scan, view, grid, axis, first, count);
    Number sum(T(0));
    if (rays.empty()) return sum;
    // Cells beyond the line's ends are sent to the zeros there.
    const Integer low(-2), high(grid.end[3 - axis]);
    const T* line = lines[0];
    const int64_t length = lines.length();
    rays.walk([&](int32_t k, Integer cells, Number weight, Number next_weight) {
      sum = sum + interpolate(line + k * length, min_of(max_of(cells, low), high), weight, next_weight);
    });
    return sum * rays.step();
  }

  bool back_tile(const Rectangle& r) const {
    const int64_t height = r.y_end - r.y_begin, width = r.x_end - r.x_begin;
    const Lines<T> rows(height, width), columns(width, height);
    if (!rows || !columns) return false;
    const VoxelBox box = {{0, static_cast<int32_t>(r.y_begin), static_cast<int32_t>(r.x_begin)},
                          {1, static_cast<int32_t>(r.y_end), static_cast<int32_t>(r.x_end)}};
    for (int64_t v = 0; v < p_.scan.views; ++v) {
      const Window window = shadow_of(p_.scan, p_.views[v], box);
      for (int64_t first = window.cols.begin; first < window.cols.end; first += kLanes<T>) {
        const int64_t count = min_of(window.cols.end - first, int64_t{kLanes<T>});
        distribute(v, box, 1, first, count, rows);
        distribute(v, box, 2, first, count, columns);
      }
    }
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        p_.out[(r.y_begin + y) * p_.scan.nx + r.x_begin + x] = rows[y][x] + columns[x][y];
    return true;
  }

  void distribute(int64_t v, const VoxelBox& box, int axis, int64_t first, int64_t count,
                  const Lines<T>& lines) const {
    const RayBundle<Model, T> rays(p_.scan, p_.views[v], box, axis, first, count);
    if (rays.empty()) return;
    T values[kLanes<T>] = {};
    std::memcpy(values, p_.in + v * p_.scan.cols + first, sizeof(T) * static_cast<size_t>(count));
    const Number value = load_lanes(values) * rays.step();
    const int32_t begin = box.begin[3 - axis];
    const Integer low(-2), high(box.end[3 - axis] - begin);
    const int64_t length = lines.length();
    T* const line = lines[0] - box.begin[axis] * length;
    rays.walk([=](int32_t k, Integer cells, Number weight, Number next_weight) {
      int32_t at[kLanes<T>];
      T here[kLanes<T>], next[kLanes<T>];
      store(min_of(max_of(cells - begin, low), high), at);
      store(weight * value, here);
      store(next_weight * value, next);
      T* const to = line + k * length;
      for (int lane = 0; lane < kLanes<T>; ++lane) {
        to[at[lane]] += here[lane];
        to[at[lane] + 1] += next[lane];
      }
    });
  }

  const Problem<T>& p_;
  const Executor& executor_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
