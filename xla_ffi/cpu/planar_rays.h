#pragma once
// Line models in 2-D. Rays that run along y walk the image's rows, those along x its columns: in either case a ray
// touches two neighbouring cells of a line, and neighbouring rays touch neighbouring cells.
//
// A single image. Forward: as many rays at a time as a register holds look up their cells. Back: a ray adds to as many
// lines at a time. A batch of images with one geometry: one ray at a time, and all the images' pixels of a cell
// together.
#include <atomic>
#include <type_traits>

#include "core/ray_walk.h"
#include "cpu/lines.h"
#include "cpu/parallel_rays.h"
#include "cpu/ray_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// What rays have of slab k, given where they cross its middle; `clipped` if the source may cut it.
template <typename Number, typename Mask>
JAXCT_HD Slab<Number> planar_slab(Number fraction, Number slope, bool clipped, Number origin, Mask ascending,
                                  Number k) {
  const Number zero(0);
  const SlabPart<Number> ahead = clipped ? part_ahead(origin, ascending, k) : SlabPart<Number>{zero, Number(1)};
  return {fraction, zero, slope, zero, ahead.begin, ahead.end};
}

// Neighbouring rays of a view that run along one axis (1: y, 2: x).
template <typename Model, typename T>
class RayBundle {
 public:
  using Number = Lanes<T>;
  using Integer = Index<Number>;

  // The rays of columns first to first + count that run along the axis.
  RayBundle(const Scan& scan, const View<T>& view, int axis, int64_t first, int64_t count)
      : middle_(scan.middle<T>(axis)), slabs_{static_cast<int32_t>(scan.size(axis)), 0} {
    const VoxelBox grid = whole_grid(scan);
    for (int lane = 0; lane < kLanes<T>; ++lane) {
      position_[lane] = T(-1e9);
      slope_[lane] = step_[lane] = ascends_[lane] = origin_[lane] = T(0);
      if (lane >= count) continue;
      const Ray<T> ray = make_ray(view, 0, first + lane);
      if (dominant_axis(ray.direction) != axis) continue;
      const RayWalk<T> walk = make_walk_along(scan, view, ray, axis);
      const IndexRange range = slabs_in(walk, grid);
      if (range.empty()) continue;
      slabs_ = {min_of(slabs_.begin, range.begin), max_of(slabs_.end, range.end)};
      const PlanarWalk<T> planar = planar_part(walk);
      position_[lane] = planar.position;
      slope_[lane] = planar.slope;
      step_[lane] = walk.step;
      ascends_[lane] = walk.ascending ? T(1) : T(0);
      origin_[lane] = walk.origin;
      // A slab that one ray crosses is walked by all.
      clipped_ = clipped_ || is_clipped(walk, {0, static_cast<int32_t>(scan.size(axis))});
    }
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
    const Number position = load_lanes(position_), slope = load_lanes(slope_), origin = load_lanes(origin_);
    const auto ascends = load_lanes(ascends_) > Number(T(0));
    for (int32_t k = slabs_.begin; k < slabs_.end; ++k) {
      const Number at = slope * Number(static_cast<T>(k) - middle_) + position;
      const Integer cells = floor_index(at);
      const auto stencil =
          Model::stencil(planar_slab(at - Number(cells), slope, kClipped, origin, ascends, Number(static_cast<T>(k))));
      visit(k, cells, stencil.weight[0][0], stencil.weight[1][0]);
    }
  }

  T middle_;
  T position_[kLanes<T>], slope_[kLanes<T>], step_[kLanes<T>], ascends_[kLanes<T>], origin_[kLanes<T>];
  IndexRange slabs_;
  bool clipped_ = false;
};

// Two neighbours in a table.
template <typename T>
struct Neighbours {
  Lanes<T> here, next;
};

// table[i] and table[i + 1]
template <typename T>
JAXCT_HD Neighbours<T> look_up_pair(const T* table, LaneIndices<T> i) {
  const int32_t a = i[0], b = i[kLanes<T> - 1];
  const int32_t base = a < b ? a : b;
  // Cells rise or fall with the ray; those of rays that do not take part may lie elsewhere.
  const LaneIndices<T> offset = i - base;
  const LaneIndices<T> far(kWindow<T>);
  if (any_of(offset < LaneIndices<T>(0)) || any_of(offset > far - 1)) return {gather(table, i), gather(table, i + 1)};
  return {look_up(table + base, offset), look_up(table + base + 1, offset)};
}

// A plane, row by row and column by column, each a line.
template <typename T>
struct PlaneLines {
  Lines<T> rows, columns;

  explicit PlaneLines(const Scan& scan) : rows(scan.ny, scan.nx), columns(scan.nx, scan.ny) {}
  explicit operator bool() const { return rows && columns; }

  void load(const Executor& executor, const Scan& scan, const T* plane) const {
    parallel_for(executor, scan.ny, [&](int64_t y) {
      for (int64_t x = 0; x < scan.nx; ++x) rows[y][x] = columns[x][y] = plane[y * scan.nx + x];
    });
  }

  // Of a bundle along an axis: visit(slab, neighbours, weight of the first, of the next). Cells beyond a line's ends
  // are sent to the zeros there.
  template <typename Model, typename Visit>
  void walk(const Scan& scan, const RayBundle<Model, T>& rays, int axis, Visit&& visit) const {
    const Lines<T>& lines = axis == 1 ? rows : columns;
    const Index<Lanes<T>> low(-2), high(static_cast<int32_t>(scan.size(3 - axis)));
    const T* line = lines[0];
    const int64_t length = lines.length();
    rays.walk([&](int32_t k, Index<Lanes<T>> cells, Lanes<T> weight, Lanes<T> next_weight) {
      visit(k, look_up_pair(line + k * length, min_of(max_of(cells, low), high)), weight, next_weight);
    });
  }
};

template <typename Model, typename T>
class PlanarRays {
 public:
  PlanarRays(const Problem<T>& p, const Executor& executor) : p_(p), executor_(executor) {}

  Status forward() const {
    const PlaneLines<T> plane(p_.scan);
    if (!plane) return Status::kOutOfMemory;
    plane.load(executor_, p_.scan, p_.in);
    parallel_for(executor_, p_.scan.views, [&](int64_t v) {
      T* out = p_.out + v * p_.scan.cols;
      for (int64_t first = 0; first < p_.scan.cols; first += kLanes<T>) {
        const int64_t count = min_of(p_.scan.cols - first, int64_t{kLanes<T>});
        const Number sum =
            integrate(p_.views[v], 1, first, count, plane) + integrate(p_.views[v], 2, first, count, plane);
        for (int lane = 0; lane < count; ++lane) out[first + lane] = sum[lane];
      }
    });
    return Status::kOk;
  }

  Status back() const {
    if constexpr (std::is_same_v<Model, Joseph>)
      if (p_.scan.beam == Beam::kParallel) return ParallelRays<T>(p_, executor_).back();
    // A ray is prepared once for each tile that it crosses: as few as leave work for some processors.
    const int64_t size = p_.scan.voxels() < (1 << 18) ? 64 : 128;
    std::atomic<bool> ok{true};
    parallel_for(executor_, num_tiles(p_.scan, size), [&](int64_t task) {
      if (!back_tile(tile_of(p_.scan, size, task))) ok = false;
    });
    return ok ? Status::kOk : Status::kOutOfMemory;
  }

 private:
  using Number = Lanes<T>;
  using Integer = Index<Number>;

  Number integrate(const View<T>& view, int axis, int64_t first, int64_t count, const PlaneLines<T>& plane) const {
    const RayBundle<Model, T> rays(p_.scan, view, axis, first, count);
    Number sum(T(0));
    if (rays.empty()) return sum;
    plane.walk(p_.scan, rays, axis, [&](int32_t, Neighbours<T> cells, Number weight, Number next_weight) {
      sum = sum + (weight * cells.here + next_weight * cells.next);
    });
    return sum * rays.step();
  }

  bool back_tile(const Rectangle& r) const {
    const int64_t height = r.y_end - r.y_begin, width = r.x_end - r.x_begin;
    const Lines<T> rows(height, width), columns(width, height);
    if (!rows || !columns) return false;
    const VoxelBox box = box_of(r);
    for (int64_t v = 0; v < p_.scan.views; ++v) {
      const IndexRange cols = shadow_of(p_.scan, p_.views[v], box).cols;
      // Not one ray after its neighbour: what that has just written could not be read again yet.
      for (int64_t offset = 0; offset < kApart; ++offset)
        for (int64_t col = cols.begin + offset; col < cols.end; col += kApart) distribute(v, box, col, rows, columns);
    }
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        p_.out[(r.y_begin + y) * p_.scan.nx + r.x_begin + x] = rows[y][x] + columns[x][y];
    return true;
  }

  // Adds a ray to a tile's rows or columns, as many slabs at a time as a register holds.
  void distribute(int64_t v, const VoxelBox& box, int64_t col, const Lines<T>& rows, const Lines<T>& columns) const {
    const RayWalk<T> walk = make_walk(p_.scan, p_.views[v], make_ray(p_.views[v], 0, col));
    const IndexRange slabs = slabs_in(walk, box);
    if (slabs.empty()) return;
    const PlanarWalk<T> planar = planar_part(walk);
    const Number position(planar.position), slope(planar.slope);
    const Number value(walk.step * p_.in[v * p_.scan.cols + col]);
    const bool clipped = is_clipped(walk, slabs);
    const Lines<T>& lines = walk.axis == 1 ? rows : columns;
    T* const to = lines[0];
    const auto length = static_cast<int32_t>(lines.length());
    const int32_t cell_begin = box.begin[planar.minor], line_begin = box.begin[walk.axis];
    // Beyond a line's ends there is room for what is not wanted.
    const Integer low(-2), high(box.end[planar.minor] - cell_begin), end(slabs.end);
    for (int32_t k = slabs.begin; k < slabs.end; k += kLanes<T>) {
      const Integer slab_numbers = lane_numbers<T>() + k;
      const Number at = slope * (Number(slab_numbers) - Number(walk.middle)) + position;
      const Integer cells = floor_index(at);
      const auto stencil = Model::stencil(
          planar_slab(at - Number(cells), slope, clipped, Number(walk.origin), walk.ascending, Number(slab_numbers)));
      const Integer cell = min_of(max_of(cells - cell_begin, low), high);
      // Slabs past the last one go to the end of the line before the first.
      const Integer place = select(slab_numbers < end, (slab_numbers - line_begin) * length + cell, Integer(-2));
      add_pairs(stencil.weight[0][0] * value, stencil.weight[1][0] * value, place, to);
    }
  }

  static constexpr int64_t kApart = 8;

  const Problem<T>& p_;
  const Executor& executor_;
};

// The same for a batch of images with one geometry. Images lie one behind the other in volumes and projections.
template <typename Model, typename T>
class PlanarRayStack {
 public:
  PlanarRayStack(const Problem<T>& p, int64_t images, const Executor& executor)
      : p_(p), images_(images), executor_(executor) {}

  Status forward() const {
    const Lines<T> volume(p_.scan.voxels(), images_);
    if (!volume) return Status::kOutOfMemory;
    load_lines(executor_, p_.in, p_.scan.voxels(), images_, p_.scan.voxels(), volume);
    std::atomic<bool> ok{true};
    parallel_for(executor_, tiles(p_.scan.views, kViews), [&](int64_t block) {
      if (!forward_block(block * kViews, volume)) ok = false;
    });
    return ok ? Status::kOk : Status::kOutOfMemory;
  }

  Status back() const {
    const Lines<T> projections(p_.scan.views * p_.scan.cols, images_);
    if (!projections) return Status::kOutOfMemory;
    const int64_t pixels = p_.scan.views * p_.scan.cols;
    load_lines(executor_, p_.in, pixels, images_, pixels, projections);
    std::atomic<bool> ok{true};
    parallel_for(executor_, num_tiles(p_.scan, kTile), [&](int64_t task) {
      if (!back_tile(tile_of(p_.scan, kTile, task), projections)) ok = false;
    });
    return ok ? Status::kOk : Status::kOutOfMemory;
  }

 private:
  // f(column of the detector, voxel, weight) for the rays of a view that cross a tile. `width` is the image's.
  template <typename F>
  void visit(int64_t v, const Rectangle& r, int64_t width, F&& f) const {
    const VoxelBox box = box_of(r);
    const Strides strides = {{0, width, 1}};
    const IndexRange cols = shadow_of(p_.scan, p_.views[v], box).cols;
    for (int64_t col = cols.begin; col < cols.end; ++col) {
      const RayWalk<T> walk = make_walk(p_.scan, p_.views[v], make_ray(p_.views[v], 0, col));
      walk_slabs<Model>(walk, slabs_in(walk, box), [&](int32_t k, int32_t a, int32_t b, const Stencil<T>& stencil) {
        for_cells(walk, box, strides, k, a, b, stencil, [&](int64_t at, T weight) {
          weight *= walk.step;
          f(col, at, Taps<T, 1>(&weight));
        });
      });
    }
  }

  // Tile by tile, so that what is read of the images stays in a cache for the views of a block.
  bool forward_block(int64_t first, const Lines<T>& volume) const {
    const int64_t cols = p_.scan.cols, views = min_of(kViews, p_.scan.views - first);
    const Lines<T> sums(views * cols, images_);
    if (!sums) return false;
    for (int64_t tile = 0; tile < num_tiles(p_.scan, kTile); ++tile)
      for (int64_t v = 0; v < views; ++v)
        visit(first + v, tile_of(p_.scan, kTile, tile), p_.scan.nx, [&](int64_t col, int64_t at, Taps<T, 1> weight) {
          scatter_line(weight, volume[at], 0, images_, sums[v * cols + col], 0);
        });
    for (int64_t image = 0; image < images_; ++image)
      for (int64_t i = 0; i < views * cols; ++i) p_.out[(image * p_.scan.views + first) * cols + i] = sums[i][image];
    return true;
  }

  bool back_tile(const Rectangle& r, const Lines<T>& projections) const {
    const Lines<T> sums(r.size(), images_);
    if (!sums) return false;
    const int64_t width = r.x_end - r.x_begin, first = r.y_begin * width + r.x_begin;
    for (int64_t v = 0; v < p_.scan.views; ++v)
      visit(v, r, width, [&](int64_t col, int64_t at, Taps<T, 1> weight) {
        scatter_line(weight, projections[v * p_.scan.cols + col], 0, images_, sums[at - first], 0);
      });
    store_tile(sums, p_.scan, r, images_, p_.scan.voxels(), false, p_.out);
    return true;
  }

  static constexpr int64_t kTile = 16, kViews = 8;

  const Problem<T>& p_;
  int64_t images_;
  const Executor& executor_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
