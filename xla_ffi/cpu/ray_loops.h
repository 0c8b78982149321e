#pragma once
// Line models. Forward: a task owns a run of rays. Back: a task owns a tile of voxels and gathers every ray that
// crosses it, in the order of the data, so that a voxel's sum is the same whoever computes it.
#include "core/pullback.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename Model, typename T, typename Number>
T integrate(const Problem<T, Number>& p, const View<Number>& view, const VoxelBox& grid, const Strides& strides,
            int64_t row, int64_t col) {
  const RayWalk<Number> walk = make_walk(p.scan, view, make_ray(view, row, col));
  Number sum = Number(0);
  walk_slabs<Model>(walk, slabs_in(walk, grid), [&](int32_t k, int32_t a, int32_t b, const Stencil<Number>& stencil) {
    for_cells(walk, grid, strides, k, a, b, stencil, [&](int64_t at, Number weight) { sum += weight * p.in[at]; });
  });
  return answer_of(sum * walk.step);
}

template <typename Model, typename T, typename Number>
Status forward_rays(const Problem<T, Number>& p, const Executor& executor) {
  constexpr int64_t kRays = 512;
  const VoxelBox grid = whole_grid(p.scan);
  const Strides strides = strides_of(p.scan);
  const int64_t rays = p.scan.views * p.scan.pixels();
  parallel_for(executor, tiles(rays, kRays), [&](int64_t task) {
    for (int64_t i = task * kRays; i < min_of(rays, (task + 1) * kRays); ++i) {
      const int64_t pixel = i % p.scan.pixels();
      const View<Number>& view = p.views[i / p.scan.pixels()];
      p.out[i] = integrate<Model>(p, view, grid, strides, pixel / p.scan.cols, pixel % p.scan.cols);
    }
  });
  return Status::kOk;
}

// The columns' voxels of the first slice.
inline VoxelBox box_of(const Rectangle& r) {
  return {{0, static_cast<int32_t>(r.y_begin), static_cast<int32_t>(r.x_begin)},
          {1, static_cast<int32_t>(r.y_end), static_cast<int32_t>(r.x_end)}};
}

// A range of detector pixels.
struct Window {
  IndexRange rows, cols;
};

// Detector rows that a curved detector's rays through the box can hit: heights times the range of magnifications that
// the distance of the box's middle allows.
template <typename T>
IndexRange curved_rows(const Scan& scan, const View<T>& view, const VoxelBox& box, T along_lo, T along_hi) {
  const auto n = static_cast<int32_t>(scan.rows);
  Vec3<T> middle, half;
  for (int i = 0; i < 3; ++i) {
    middle[i] = T(0.5) * static_cast<T>(box.end[i] + box.begin[i] - 1) - scan.middle<T>(i);
    half[i] = T(0.5) * static_cast<T>(box.end[i] - box.begin[i] + 1) * view.voxel_size[i];
  }
  const T distance = view.radius / magnification(view, view.beam, view.across(middle), view.depth(middle));
  const T nearest = distance - norm(half);
  if (!(nearest > T(0))) return {0, n};
  const T m_lo = view.radius / (distance + norm(half)), m_hi = view.radius / nearest;
  const T lo = row_of(view, along_lo, along_lo < T(0) ? m_hi : m_lo);
  const T hi = row_of(view, along_hi, along_hi < T(0) ? m_lo : m_hi);
  return index_range(lo - T(1), hi + T(2), n);
}

// Pixels whose rays can pass within a voxel of the box: generous, and the whole detector where the box is beside or
// behind the source.
template <typename T>
Window shadow_of(const Scan& scan, const View<T>& view, const VoxelBox& box) {
  const auto num_rows = static_cast<int32_t>(scan.rows), num_cols = static_cast<int32_t>(scan.cols);
  const T big = T(1e9);
  T col_lo = big, col_hi = -big, row_lo = big, row_hi = -big, along_lo = big, along_hi = -big;
  for (int corner = 0; corner < 8; ++corner) {
    Vec3<T> q;
    for (int i = 0; i < 3; ++i)
      q[i] = static_cast<T>((corner >> i & 1) ? box.end[i] : box.begin[i] - 1) - scan.middle<T>(i);
    const T across = view.across(q), depth = view.depth(q), along = view.along(q);
    if (!(depth > T(0))) return {{0, num_rows}, {0, num_cols}};
    const T col = column_of(view, view.beam, across, depth),
            row = row_of(view, along, magnification(view, view.beam, across, depth));
    col_lo = min_of(col_lo, col), col_hi = max_of(col_hi, col);
    row_lo = min_of(row_lo, row), row_hi = max_of(row_hi, row);
    along_lo = min_of(along_lo, along), along_hi = max_of(along_hi, along);
  }
  IndexRange rows = {0, num_rows};
  if (scan.beam == Beam::kCurvedCone && !scan.planar) rows = curved_rows(scan, view, box, along_lo, along_hi);
  if (scan.beam != Beam::kCurvedCone && !scan.planar) rows = index_range(row_lo - T(1), row_hi + T(2), num_rows);
  return {rows, index_range(col_lo - T(1), col_hi + T(2), num_cols)};
}

template <typename Model, typename T, typename Number>
void gather_view(const Problem<T, Number>& p, int64_t v, const VoxelBox& tile, const Strides& strides) {
  const View<Number>& view = p.views[v];
  const Window window = shadow_of(p.scan, value_of(view), tile);
  for (int64_t row = window.rows.begin; row < window.rows.end; ++row)
    for (int64_t col = window.cols.begin; col < window.cols.end; ++col) {
      const RayWalk<Number> walk = make_walk(p.scan, view, make_ray(view, row, col));
      const Number value = walk.step * p.in[(v * p.scan.rows + row) * p.scan.cols + col];
      walk_slabs<Model>(walk, slabs_in(walk, tile),
                        [&](int32_t k, int32_t a, int32_t b, const Stencil<Number>& stencil) {
                          for_cells(walk, tile, strides, k, a, b, stencil,
                                    [&](int64_t at, Number weight) { p.out[at] += answer_of(weight * value); });
                        });
    }
}

template <typename Model, typename T, typename Number>
Status back_rays(const Problem<T, Number>& p, const Executor& executor) {
  const int64_t edge = p.scan.nz == 1 ? 64 : 32;
  const int64_t n[3] = {tiles(p.scan.nz, edge), tiles(p.scan.ny, edge), tiles(p.scan.nx, edge)};
  const Strides strides = strides_of(p.scan);
  parallel_for(executor, n[0] * n[1] * n[2], [&](int64_t task) {
    const int64_t at[3] = {task / (n[1] * n[2]), task / n[2] % n[1], task % n[2]};
    VoxelBox tile;
    for (int i = 0; i < 3; ++i) {
      tile.begin[i] = static_cast<int32_t>(at[i] * edge);
      tile.end[i] = static_cast<int32_t>(min_of(p.scan.size(i), (at[i] + 1) * edge));
    }
    for (int64_t z = tile.begin[0]; z < tile.end[0]; ++z)
      for (int64_t y = tile.begin[1]; y < tile.end[1]; ++y)
        std::memset(p.out + (z * p.scan.ny + y) * p.scan.nx + tile.begin[2], 0,
                    sizeof(T) * static_cast<size_t>(tile.end[2] - tile.begin[2]));
    for (int64_t v = 0; v < p.scan.views; ++v) gather_view<Model>(p, v, tile, strides);
  });
  return Status::kOk;
}

}  // namespace loops
JAXCT_NAMESPACE_END
