#pragma once
// Derivatives backwards (pullback.h) through separable footprints: from what <projections, A volume> gains from changes
// of a voxel's place on the detector to what it gains from changes of the view. For one voxel of any pose, or for all
// voxels of a (y, x) column of an axial view at once.
#include "core/pullback.h"
#include "core/separable.h"

JAXCT_NAMESPACE_BEGIN

// A voxel's part: value * scale * sum_rc column(c) row(r) y(r, c), where y(pixel offset) is weighted with obliquity.
// cast(pixel offset, its projection there without obliquity) is called for every pixel that it touches.
template <typename Model, typename T, typename Pixels, typename Cast>
JAXCT_HD void pull_voxel(const Scan& scan, const View<T>& view, const Vec3<T>& q, T value, Pixels&& y, Cast&& cast,
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
      column_sum += overlapped * y(at);
      cast(at, value * voxel.scale * weight * overlapped);
      if (r == first) by_begin -= weight * y(at);
      if (r == last) by_end += weight * y(at);
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
  pull_magnification(view, view.beam, q, view.planar ? whole : T(2) * whole, to);
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

// Changes of the edges in a column's rows (where one voxel ends and the next begins) by 1, by s and by s^2, s being
// their distance from the middle.
template <typename T>
struct EdgeMoments {
  T zeroth, first, second;
};

// A column's part: sum_c weight(c) P(c), P being what its voxels meet once they are spread over the rows, which are
// counted upwards. `sum` is of all columns, by_shape by t0 to t3 of the shadow, the area left out; q's z is that of the
// middle.
template <typename Model, typename T>
JAXCT_HD void pull_column(const View<T>& view, const Vec3<T>& q, const AxialColumn<Trapezoid<T>, T>& column,
                          Moments<T> sum, Moments<T> (&by_shape)[4], EdgeMoments<T> edges, View<T>& to) {
  const T along = view.along(q), m = magnification(view, view.beam, view.across(q), depth_in_front(view, q));
  // A voxel's weight is area_ratio * m^2 / (its extent in rows * area of the shadow).
  to.area_ratio = to.area_ratio + sum.sum / view.area_ratio;
  // Of a column without a shadow nothing is asked, but nothing must become infinite either.
  const T area = column.column.area(), half_area = T(0.5) / select(area > T(0), area, T(1));
  for (int i = 0; i < 4; ++i) by_shape[i] = by_shape[i] + sum * (i < 2 ? half_area : -half_area);
  Model::pull_shadow(view, view.beam, q, by_shape, to);
  edges.first = edges.first - sum.sum / column.slope;
  edges.second = edges.second - T(2) * sum.along_z / column.slope;
  // Edges are at row_middle - row_shift + along * m; counted downwards they move the other way.
  const T rise = view.along.slope[0], up = select(rise < T(0), T(-1), T(1));
  to.row_shift = to.row_shift - up * edges.zeroth;
  pull_affine(q, Moments<T>{edges.zeroth, edges.first} * (up * m), to.along);
  const Moments<T> by_m =
      Moments<T>{along * edges.zeroth + rise * edges.first, along * edges.first + rise * edges.second} * (up * m);
  pull_magnification(view, view.beam, q, by_m + sum * T(2), to);
}

JAXCT_NAMESPACE_END
