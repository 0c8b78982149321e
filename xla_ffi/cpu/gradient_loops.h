#pragma once
// Gradients with respect to the geometry: what <projections, A volume> gains from changes of each view and of the grid.
// A task owns a part of a view and goes through it as the forward projection does.
#include <atomic>

#include "core/footprint_pullback.h"
#include "core/models.h"
#include "cpu/column_gradients.h"
#include "cpu/gradient_problem.h"
#include "cpu/image_gradients.h"
#include "cpu/planar_rays.h"
#include "cpu/pose_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

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
      pull_walk(view, ray, walk,
                differentiate<Model>(walk, grid, strides, value, [&](int64_t i) { return p.volume[i]; }), by_ray, part);
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
      pull_voxel<Model>(
          scan, view, relative_index<T>(scan, line / scan.ny, line % scan.ny, x), p.volume[line * scan.nx + x],
          [&](int64_t i) { return weighted.get()[i]; }, [&](int64_t i, T cast) { shadow.get()[i] += cast; }, part);
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
  const int64_t columns = scan.ny * scan.nx;
  const Lines<T> volume(columns, scan.nz);
  if (!volume) return Status::kOutOfMemory;
  load_lines(executor, p.volume, columns, scan.nz, columns, volume);
  return sum_parts(scan, kGradientViews, scan.ny, executor, gradients,
                   [&](int64_t block, IndexRange rows, View<double>* sums) {
                     return gradient_of_columns(p, volume, block, rows, sums);
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

}  // namespace loops
JAXCT_NAMESPACE_END
