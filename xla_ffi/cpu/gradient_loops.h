#pragma once
// Gradients with respect to the geometry: what <projections, A volume> gains from changes of each view and of the grid.
// A task owns a part of a view and goes through it as the forward projection does.
#include <atomic>

#include "core/models.h"
#include "cpu/column_gradients.h"
#include "cpu/gradient_problem.h"
#include "cpu/image_gradients.h"
#include "cpu/planar_rays.h"
#include "cpu/pose_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// A ray's part of <projections, A volume> is value * step * sum_k w_k . x; w_k depends on where it crosses slab k.
template <typename Model, typename T>
WalkGradient<T> differentiate(const GradientProblem<T>& p, const RayWalk<T>& walk, const VoxelBox& grid,
                              const Strides& strides, T value) {
  T sum = T(0), by_a = T(0), by_a_k = T(0), by_b = T(0), by_b_k = T(0);
  const IndexRange slabs = slabs_in(walk, grid);
  for (int32_t k = slabs.begin; k < slabs.end; ++k) {
    const Crossing<T> at = cross_slab(walk, k);
    T here = T(0), here_a = T(0), here_b = T(0);
    const Stencil<T> weight = Model::stencil(at.slab);
    for_cells(walk, grid, strides, k, at.cell_a, at.cell_b, weight, [&](int64_t i, T w) { here += w * p.volume[i]; });
    Stencil<T> weight_a, weight_b;
    Model::stencil_by(at.slab, weight_a, weight_b);
    for_cells(walk, grid, strides, k, at.cell_a, at.cell_b, weight_a,
              [&](int64_t i, T w) { here_a += w * p.volume[i]; });
    for_cells(walk, grid, strides, k, at.cell_a, at.cell_b, weight_b,
              [&](int64_t i, T w) { here_b += w * p.volume[i]; });
    const T offset = static_cast<T>(k) - walk.middle;
    sum += here;
    by_a += here_a;
    by_a_k += here_a * offset;
    by_b += here_b;
    by_b_k += here_b * offset;
  }
  const T length = value * walk.step;
  return {length * by_a, length * by_a_k, length * by_b, length * by_b_k, value * sum};
}

// Rows of a view's pixels.
template <typename Model, typename T>
void gradient_of_rays(const GradientProblem<T>& p, int64_t v, IndexRange rows, View<double>& sums) {
  const View<T>& view = p.views[v];
  const VoxelBox grid = whole_grid(p.scan);
  const Strides strides = strides_of(p.scan);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    View<T> part = {};
    for (int64_t col = 0; col < p.scan.cols; ++col) {
      const T value = p.projections[(v * p.scan.rows + row) * p.scan.cols + col];
      if (value == T(0)) continue;
      const Ray<T> ray = make_ray(view, row, col);
      const RayWalk<T> walk = make_walk(p.scan, view, ray);
      if (!is_walkable(walk)) continue;
      Ray<T> by_ray;
      pull_walk(view, ray, walk, differentiate<Model>(p, walk, grid, strides, value), by_ray, part);
      pull_ray(view, static_cast<T>(row), static_cast<T>(col), by_ray, part);
    }
    add_to(sums, part);
  }
}

// Columns of a view's pixels, in 2-D. Joseph's weights are 1 - f and f of where a ray crosses a slab, so that their
// derivatives are the same for all cells.
template <typename T>
void gradient_of_planar_rays(const GradientProblem<T>& p, const PlaneLines<T>& plane, int64_t v, IndexRange cols,
                             View<double>& sums) {
  using Number = Lanes<T>;
  const View<T>& view = p.views[v];
  View<T> part = {};
  for (int32_t first = cols.begin; first < cols.end; first += kLanes<T>) {
    const int64_t count = min_of(int64_t{cols.end - first}, int64_t{kLanes<T>});
    Number sum(T(0)), by_position(T(0)), by_slope(T(0));
    for (int axis = 1; axis <= 2; ++axis) {
      const RayBundle<Joseph, T> rays(p.scan, view, axis, first, count);
      if (rays.empty()) continue;
      const T middle = p.scan.template middle<T>(axis);
      plane.walk(p.scan, rays, axis, [&](int32_t k, Neighbours<T> cells, Number weight, Number next_weight) {
        const Number rise = (weight + next_weight) * (cells.next - cells.here);
        sum = sum + (weight * cells.here + next_weight * cells.next);
        by_position = by_position + rise;
        by_slope = by_slope + rise * Number(static_cast<T>(k) - middle);
      });
    }
    for (int32_t lane = 0; lane < count; ++lane) {
      const int32_t col = first + lane;
      const T value = p.projections[v * p.scan.cols + col];
      const Ray<T> ray = make_ray(view, 0, col);
      const RayWalk<T> walk = make_walk(p.scan, view, ray);
      if (!is_walkable(walk)) continue;
      WalkGradient<T> by = {T(0), T(0), T(0), T(0), value * sum[lane]};
      const bool in_a = walk.minor_a != 0;
      (in_a ? by.a : by.b) = value * walk.step * by_position[lane];
      (in_a ? by.slope_a : by.slope_b) = value * walk.step * by_slope[lane];
      Ray<T> by_ray;
      pull_walk(view, ray, walk, by, by_ray, part);
      pull_ray(view, T(0), static_cast<T>(col), by_ray, part);
    }
  }
  add_to(sums, part);
}

// A voxel's part: value * scale * sum_rc column(c) row(r) y(r, c), where y is weighted with obliquity. Adds the voxel's
// projection without obliquity to `shadow`.
template <typename Model, typename T>
void gradient_of_voxel(const Scan& scan, const View<T>& view, const Vec3<T>& q, T value, const T* y, T* shadow,
                       View<T>& to) {
  const auto voxel = Model::make_voxel(scan, view, q);
  if (!(voxel.scale > T(0))) return;
  const IndexRange cols = voxel.column.range(static_cast<int32_t>(scan.cols));
  const IndexRange rows = voxel.row.range(static_cast<int32_t>(scan.rows));
  if (cols.empty() || rows.empty()) return;
  T sum = T(0), by_begin = T(0), by_end = T(0), by_shape[4] = {}, lower[4];
  const int32_t first = floor_index(voxel.row.begin), last = floor_index(voxel.row.end);
  voxel.column.below_by(static_cast<T>(cols.begin), lower);
  for (int32_t c = cols.begin; c < cols.end; ++c) {
    T column_sum = T(0), upper[4];
    const T weight = voxel.column.weight(c);
    for (int32_t r = rows.begin; r < rows.end; ++r) {
      const T overlapped = voxel.row.weight(r);
      const int64_t at = r * scan.cols + c;
      column_sum += overlapped * y[at];
      shadow[at] += value * voxel.scale * weight * overlapped;
      if (r == first) by_begin -= weight * y[at];
      if (r == last) by_end += weight * y[at];
    }
    voxel.column.below_by(static_cast<T>(c + 1), upper);
    for (int i = 0; i < 4; ++i) {
      by_shape[i] += column_sum * (upper[i] - lower[i]);
      lower[i] = upper[i];
    }
    sum += weight * column_sum;
  }
  const T scaled = value * voxel.scale, whole = scaled * sum;
  const T by_area = T(0.5) * whole / voxel.column.area();
  for (int i = 0; i < 4; ++i) by_shape[i] = scaled * by_shape[i] + (i < 2 ? by_area : -by_area);
  Model::pull_shadow(view, view.beam, q, by_shape, to);
  to.area_ratio += whole / view.area_ratio;
  // scale = area_ratio * m^2 / (extent * area), in 2-D area_ratio * m / area
  const T m = magnification(view, view.beam, view.across(q), view.depth(q));
  pull_magnification(view, view.beam, q, (view.planar ? whole : T(2) * whole) / m, to);
  if (view.planar) return;
  const T by_extent = whole / (voxel.row.end - voxel.row.begin);
  by_begin = scaled * by_begin + by_extent;
  by_end = scaled * by_end - by_extent;
  // Rows run up or down along z.
  Vec3<T> low = q, high = q;
  low[0] -= T(0.5);
  high[0] += T(0.5);
  const bool down = row_at(view, low) > row_at(view, high);
  pull_row(view, low, down ? by_end : by_begin, to);
  pull_row(view, high, down ? by_begin : by_end, to);
}

// A range of the volume's (z, y) rows, on one view.
template <typename Model, typename T>
bool gradient_of_rows(const GradientProblem<T>& p, int64_t v, IndexRange lines, View<double>& sums) {
  const Scan& scan = p.scan;
  const View<T>& view = p.views[v];
  const Scratch<T> weighted(scan.pixels()), shadow(scan.pixels());
  if (!weighted || !shadow) return false;
  const T* y = p.projections + v * scan.pixels();
  for (int64_t i = 0; i < scan.pixels(); ++i) weighted.get()[i] = y[i] * obliquity(view, i / scan.cols, i % scan.cols);
  for (int32_t line = lines.begin; line < lines.end; ++line) {
    View<T> part = {};
    for (int64_t x = 0; x < scan.nx; ++x)
      gradient_of_voxel<Model>(scan, view, relative_index<T>(scan, line / scan.ny, line % scan.ny, x),
                               p.volume[line * scan.nx + x], weighted.get(), shadow.get(), part);
    add_to(sums, part);
  }
  gradient_of_obliquity(scan, view, y, sums,
                        [&](int64_t row, int64_t col) { return shadow.get()[row * scan.cols + col]; });
  return true;
}

// gradient(block of views, range of [0, whole), sums of its views) for all views, each block in parts: sums are split
// alike however many threads there are. Into `gradients`, per view.
template <typename Gradient>
Status sum_parts(const Scan& scan, int64_t block, int64_t whole, const Executor& executor, View<double>* gradients,
                 Gradient&& gradient) {
  const int64_t blocks = tiles(scan.views, block), parts = min_of(whole, tiles(32, blocks));
  const Scratch<View<double>> sums(blocks * parts * block);
  if (!sums) return Status::kOutOfMemory;
  std::atomic<bool> ok{true};
  parallel_for(executor, blocks * parts, [&](int64_t task) {
    const int64_t part = task % parts;
    const IndexRange range = {static_cast<int32_t>(whole * part / parts),
                              static_cast<int32_t>(whole * (part + 1) / parts)};
    if (!gradient(task / parts, range, sums.get() + task * block)) ok = false;
  });
  for (int64_t v = 0; v < scan.views; ++v)
    for (int64_t part = 0; part < parts; ++part)
      add_to(gradients[v], sums.get()[(v / block * parts + part) * block + v % block]);
  return ok ? Status::kOk : Status::kOutOfMemory;
}

template <typename T>
Status view_gradients(SeparableFootprint, const GradientProblem<T>& p, const Executor& executor,
                      View<double>* gradients) {
  const Scan& scan = p.scan;
  if (scan.planar)
    return sum_parts(
        scan, kLanes<T>, scan.ny, executor, gradients,
        [&](int64_t block, IndexRange rows, View<double>* sums) { return gradient_of_image(p, block, rows, sums); });
  bool axial = true;
  for (int64_t v = 0; v < scan.views; ++v) axial = axial && p.views[v].axial;
  if (!axial)
    return sum_parts(scan, 1, scan.nz * scan.ny, executor, gradients,
                     [&](int64_t v, IndexRange lines, View<double>* sums) {
                       return gradient_of_rows<SeparableFootprint>(p, v, lines, *sums);
                     });
  const MomentLines<T> volume(scan);
  if (!volume) return Status::kOutOfMemory;
  volume.load(executor, scan, p.volume);
  return sum_parts(scan, 1, scan.ny, executor, gradients, [&](int64_t v, IndexRange lines, View<double>* sums) {
    return gradient_of_columns(p, volume, v, lines, *sums);
  });
}

template <typename T>
Status view_gradients(Joseph, const GradientProblem<T>& p, const Executor& executor, View<double>* gradients) {
  const Scan& scan = p.scan;
  if (!scan.planar)
    return sum_parts(scan, 1, scan.rows, executor, gradients, [&](int64_t v, IndexRange rows, View<double>* sums) {
      gradient_of_rays<Joseph>(p, v, rows, *sums);
      return true;
    });
  const PlaneLines<T> plane(scan);
  if (!plane) return Status::kOutOfMemory;
  plane.load(executor, scan, p.volume);
  return sum_parts(scan, 1, scan.cols, executor, gradients, [&](int64_t v, IndexRange cols, View<double>* sums) {
    gradient_of_planar_rays(p, plane, v, cols, *sums);
    return true;
  });
}

// From the gradient by a prepared view to those by what it was prepared from: one direction after the other.
template <typename T>
void pull_geometry(const Scan& scan, const T* vectors, const T* grid, const View<double>& gradient, double* by_vectors,
                   double* by_grid) {
  constexpr int kNumbers = 12 + 6;
  for (int i = 0; i < kNumbers; ++i) {
    Dual<double> v[12], g[6];
    for (int k = 0; k < 12; ++k) v[k] = {static_cast<double>(vectors[k]), i == k ? 1.0 : 0.0};
    for (int k = 0; k < 6; ++k) g[k] = {static_cast<double>(grid[k]), i == 12 + k ? 1.0 : 0.0};
    const double by =
        contract(gradient, make_view<Dual<double>>(scan, unpack_view<Dual<double>>(v), unpack_grid<Dual<double>>(g)));
    (i < 12 ? by_vectors[i] : by_grid[i - 12]) += by;
  }
}

}  // namespace loops
JAXCT_NAMESPACE_END
