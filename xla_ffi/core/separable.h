#pragma once
// Models whose weights are a product over the detector's axes: pixel (r, c) sees voxel q with
//   [obliquity(r, c)] * scale * column.weight(c) * row.weight(r).
// A model names its Column and Row shapes and builds them for a voxel of any pose (make_voxel), or for all voxels of a
// (y, x) column at once where the detector's rows are stacked along z (make_column, row_weight).
#include "core/pixel_shapes.h"
#include "core/view.h"

JAXCT_NAMESPACE_BEGIN

template <typename Column, typename Row, typename T>
struct SeparableVoxel {
  Column column;
  Row row;
  T scale;  // zero where the voxel is not in front of the source
};

template <typename Column, typename T>
struct AxialColumn {
  Column column;
  T edge, slope;  // detector row (in pixel edges) = edge + slope * z index
  T scale;
};

// Detector columns, in pixel edges, of the points of a cross-section, (y, x) from its middle.
template <typename T>
struct SectionColumns {
  const View<T>& view;
  Beam beam;
  Vec3<T> middle;

  JAXCT_HD T operator()(T y, T x) const {
    const Vec3<T> q = {{middle[0], middle[1] + y, middle[2] + x}};
    // Of a voxel with a weight every point lies in front of the source; of others nothing must become infinite.
    return column_of(view, beam, T(0.5), view.across(q), max_of(view.depth(q), T(1e-6)));
  }
};

// The two footprint models share all but the shape of the cross-section's shadow. Shape::edge(columns, x) is what it
// takes from the edge of the cross-section at x, so that neighbours can share it; Shape::shadow(columns, left, right)
// is the shadow, from the edges at -1/2 and 1/2.
template <typename Shape>
struct FootprintModel {
  template <typename T>
  using Column = Trapezoid<T>;
  template <typename T>
  using Row = Box<T>;
  template <typename T>
  using Edge = typename Shape::template Edge<T>;

  // Weights are chords of the mean ray through the voxel: they lengthen with the obliquity of the pixel's ray.
  static constexpr bool kObliquity = true;

  // A pixel has a weight only where the voxel's cross-section meets the strip between the rays through its edges.
  template <typename T>
  JAXCT_HD static T pixel_reach() {
    return T(0);
  }
  template <typename T>
  JAXCT_HD static T voxel_reach() {
    return T(0.5);
  }

  template <typename T>
  JAXCT_HD static Trapezoid<T> project_shadow(const SectionColumns<T>& columns) {
    const T h = T(0.5);
    return Shape::shadow(columns, Shape::edge(columns, -h), Shape::edge(columns, h));
  }

  // The edge between columns (y, x - 1/2) and (y, x + 1/2).
  template <typename T>
  JAXCT_HD static Edge<T> make_edge(const View<T>& view, Beam beam, T y, T x) {
    return Shape::edge(SectionColumns<T>{view, beam, {{T(0), y, x}}}, T(0));
  }

  // How much depth differs between the voxel's centre and any corner.
  template <typename T>
  JAXCT_HD static T half_depth(const View<T>& view) {
    return T(0.5) * max_of(abs_of(view.depth.slope[1]) + abs_of(view.depth.slope[2]), abs_of(view.depth.slope[0]));
  }

  template <typename T>
  JAXCT_HD static SeparableVoxel<Trapezoid<T>, Box<T>, T> make_voxel(const Scan&, const View<T>& view,
                                                                     const Vec3<T>& q) {
    const T across = view.across(q), depth = view.depth(q), along = view.along(q);
    SeparableVoxel<Trapezoid<T>, Box<T>, T> voxel;
    voxel.scale = T(0);
    if (!(depth > half_depth(view))) return voxel;
    voxel.column = project_shadow(SectionColumns<T>{view, view.beam, q});
    const T area = voxel.column.area();
    if (!(area > T(0))) return voxel;
    const T m = magnification(view, view.beam, across, depth);
    if (view.planar) {
      // The one row takes all.
      voxel.row = {T(0), T(1)};
      voxel.scale = view.area_ratio * m / area;
      return voxel;
    }
    const T h = T(0.5);
    const T da = h * view.across.slope[0], dd = h * view.depth.slope[0], dl = h * view.along.slope[0];
    const T low = row_of(view, along - dl, magnification(view, view.beam, across - da, depth - dd));
    const T high = row_of(view, along + dl, magnification(view, view.beam, across + da, depth + dd));
    voxel.row = {min_of(low, high) + h, max_of(low, high) + h};
    const T extent = voxel.row.end - voxel.row.begin;
    if (extent > T(0)) voxel.scale = view.area_ratio * m * m / (extent * area);
    return voxel;
  }

  template <typename T>
  JAXCT_HD static AxialColumn<Trapezoid<T>, T> make_column(const Scan& scan, const View<T>& view, Beam beam, T y, T x,
                                                           const Edge<T>& left, const Edge<T>& right) {
    const Vec3<T> foot = {{-T(0.5) * static_cast<T>(scan.nz), y, x}};
    // A column that reaches behind the source gets no weight; it is given some depth so that no infinity turns up, and
    // not left by a branch, which would keep loops over columns from being vectorised.
    const T across = view.across(foot), behind = half_depth(view), true_depth = view.depth(foot);
    const auto in_front = true_depth > behind;
    const T depth = select(in_front, true_depth, behind + T(1));
    const T m = magnification(view, beam, across, depth);
    AxialColumn<Trapezoid<T>, T> column;
    column.column = Shape::shadow(SectionColumns<T>{view, beam, foot}, left, right);
    column.edge = row_of(view, view.along(foot), m) + T(0.5);
    column.slope = view.along.slope[0] * m;
    const T area = column.column.area();
    const T scale = magnified_ratio(view, beam, view.column_ratio, across, depth, area);
    column.scale = select(in_front, select(area > T(0), scale, T(0)), T(0));
    return column;
  }

  template <typename T>
  JAXCT_HD static AxialColumn<Trapezoid<T>, T> make_column(const Scan& scan, const View<T>& view, Beam beam, T y, T x) {
    const T h = T(0.5);
    return make_column(scan, view, beam, y, x, make_edge(view, beam, y, x - h), make_edge(view, beam, y, x + h));
  }

  template <typename T>
  JAXCT_HD static T row_weight(T edge, T slope, Index<T> z, Index<T> row) {
    return overlap(multiply_add(slope, static_cast<T>(z), edge), multiply_add(slope, static_cast<T>(z + 1), edge),
                   static_cast<T>(row), static_cast<T>(row + 1));
  }
};

// Rows that run towards -z are counted from the other end: slopes are positive from here on.
template <typename Column>
JAXCT_HD Column upwards(const Scan& scan, Column column) {
  using T = decltype(column.edge);
  const T flipped = static_cast<T>(scan.rows) - column.edge;
  column.edge = select(column.slope < T(0), flipped, column.edge);
  column.slope = abs_of(column.slope);
  return column;
}

template <typename Model, typename T>
JAXCT_HD auto make_upward_column(const Scan& scan, const View<T>& view, Beam beam, T y, T x) {
  return upwards(scan, Model::make_column(scan, view, beam, y, x));
}

template <typename T>
JAXCT_HD bool rows_run_down(const View<T>& view) {
  return view.along.slope[0] < T(0);
}

// f(pixel offset, weight) for each pixel of a voxel's footprint within a band of columns.
template <typename Model, typename T, typename F>
JAXCT_HD void for_footprint(const Scan& scan, const View<T>& view, const Vec3<T>& q, IndexRange band, F&& f) {
  const auto voxel = Model::make_voxel(scan, view, q);
  if (!(voxel.scale > T(0))) return;
  const IndexRange cols = intersect(voxel.column.range(static_cast<int32_t>(scan.cols)), band);
  if (cols.empty()) return;
  const IndexRange rows = voxel.row.range(static_cast<int32_t>(scan.rows));
  for (int32_t c = cols.begin; c < cols.end; ++c) {
    const T weight = voxel.scale * voxel.column.weight(c);
    for (int32_t r = rows.begin; r < rows.end; ++r) f(r * scan.cols + c, weight * voxel.row.weight(r));
  }
}

JAXCT_NAMESPACE_END
