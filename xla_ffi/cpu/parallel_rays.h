#pragma once
// Back projection of parallel rays in the plane, a single image, by Joseph's model. In each of the lines that they
// cross (ray_walk.h: rows or columns, one or the other for all rays of a view) rays are a constant pitch apart. So
// every pixel of a line knows which rays may touch it, and neighbouring pixels collect theirs together.
//
// Where a ray is comes from its column here, and not from the forward walk: they differ by rounding. Not for Siddon's
// model, where the last bit of it decides which of two cells has a ray that runs in the face between them.
#include "core/joseph.h"
#include "cpu/lines.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename T>
class ParallelRays {
 public:
  ParallelRays(const Problem<T>& p, const Executor& executor) : p_(p), executor_(executor) {}

  Status back() const {
    const Lines<T> projections(p_.scan.views, p_.scan.cols);
    const Lines<T> rows(p_.scan.ny, p_.scan.nx), columns(p_.scan.nx, p_.scan.ny);
    const Scratch<Rays> rays(p_.scan.views);
    if (!projections || !rows || !columns || !rays) return Status::kOutOfMemory;
    parallel_for(executor_, p_.scan.views, [&](int64_t v) {
      const Rays view = rays.get()[v] = rays_of(p_.views[v]);
      for (int64_t c = 0; c < p_.scan.cols; ++c) projections[v][c] = view.step * p_.in[v * p_.scan.cols + c];
    });
    const int64_t bands = tiles(p_.scan.ny, kBand);
    parallel_for(executor_, bands + tiles(p_.scan.nx, kBand), [&](int64_t task) {
      if (task < bands)
        collect_band(1, task * kBand, rays.get(), projections, rows);
      else
        collect_band(2, (task - bands) * kBand, rays.get(), projections, columns);
    });
    parallel_for(executor_, p_.scan.ny, [&](int64_t y) {
      for (int64_t x = 0; x < p_.scan.nx; ++x) p_.out[y * p_.scan.nx + x] = rows[y][x] + columns[x][y];
    });
    return Status::kOk;
  }

 private:
  using Number = Lanes<T>;
  using Integer = Index<Number>;
  static constexpr int64_t kBand = 8;  // lines: they stay in the first cache while all views are added

  // Of a view. In line k the ray of column c is at position + pitch * (c - the middle) + slope * (k - the middle).
  struct Rays {
    int axis;  // that they run along: 1: y, 2: x
    T position, pitch, slope, step;
  };

  Rays rays_of(const View<T>& view) const {
    const RayWalk<T> walk = make_walk(p_.scan, view, Ray<T>{view.direction[0], view.moment[0]});
    const PlanarWalk<T> planar = planar_part(walk);
    const T turn = view.moment[1][0] / pick(view.direction[0].c, walk.axis);
    return {walk.axis, planar.position, walk.axis == 1 ? -turn : turn, planar.slope, walk.step};
  }

  // All views that run along the axis, added to lines first, first + 1, ...
  void collect_band(int axis, int64_t first, const Rays* rays, const Lines<T>& projections,
                    const Lines<T>& lines) const {
    const int64_t last = min_of(p_.scan.size(axis), first + kBand);
    for (int64_t v = 0; v < p_.scan.views; ++v)
      if (rays[v].axis == axis)
        for (int64_t k = first; k < last; ++k) collect_line(rays[v], projections[v], k, lines[k]);
  }

  void collect_line(const Rays& rays, const T* projection, int64_t k, T* line) const {
    const T middle = rays.position + rays.slope * (static_cast<T>(k) - p_.scan.template middle<T>(rays.axis));
    const T density = T(1) / rays.pitch;  // rays per pixel; negative if columns run against pixels
    // Rays on either side of a pixel that may touch it, and a little more against rounding.
    const T reach = std::abs(density) + T(1e-3);
    const int32_t taps = floor_index(clamp(T(2) * reach, T(0), static_cast<T>(p_.scan.cols))) + 1;
    // Else the first rays of a register's pixels are too far apart to be looked up in a window.
    const bool near = static_cast<T>(kLanes<T> - 1) * std::abs(density) < static_cast<T>(kWindow<T> - 2);
    const auto size = static_cast<int32_t>(p_.scan.size(3 - rays.axis));
    if (near && taps <= 2) return collect<2>(projection, size, middle, rays.pitch, density, reach, 2, line);
    if (near && taps <= 3) return collect<3>(projection, size, middle, rays.pitch, density, reach, 3, line);
    collect<0>(projection, size, middle, rays.pitch, density, reach, taps, line);
  }

  // middle: where the ray of the middle column is. kTaps: taps if that is known and rays can be looked up, or 0.
  template <int kTaps>
  void collect(const T* projection, int32_t size, T middle, T pitch, T density, T reach, int32_t taps, T* line) const {
    const Number middle_col(T(0.5) * static_cast<T>(p_.scan.cols - 1)), zero(T(0)), one(T(1));
    const Number low(T(-1)), high(p_.scan.cols);
    const Integer last(static_cast<int32_t>(p_.scan.cols));
    for (int32_t i = 0; i < size; i += kLanes<T>) {
      const Number pixel(lane_numbers<T>() + i);
      const Number col = (pixel - Number(middle)) * Number(density) + middle_col;
      const Integer first = floor_index(clamp(col - Number(reach), low, high)) + 1;
      const int32_t base = min_of(first[0], first[kLanes<T> - 1]);
      Number offset = (Number(first) - middle_col) * Number(pitch) + (Number(middle) - pixel);
      Number sum = load_lanes(line + i);
#pragma GCC unroll 4
      for (int32_t tap = 0; tap < (kTaps > 0 ? kTaps : taps); ++tap) {
        const Number value =
            kTaps > 0 ? look_up(projection + base + tap, first - base) : gather(projection, min_of(first + tap, last));
        const Number distance = abs_of(offset);
        sum = sum + select(distance < one, Joseph::cell_weight(distance) * value, zero);
        offset = offset + Number(pitch);
      }
      store(sum, line + i);
    }
  }

  const Problem<T>& p_;
  const Executor& executor_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
