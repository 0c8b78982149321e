#pragma once
// One view, prepared: what turns a pixel into a ray and a voxel into a place on the detector.
//
// Everything lives in index units relative to the middle of the grid, and is prepared in double precision. There a ray
// is a Plucker line (direction d, moment m = p x d), and both are linear in the pixel's coefficients, so that nothing
// of the size of the source distance is ever subtracted in single precision.
#include "core/dual.h"
#include "core/scan.h"
#include "core/vec3.h"

JAXCT_NAMESPACE_BEGIN

// A function that is affine in the voxel index relative to the middle of the grid.
template <typename T>
struct Affine {
  T constant;
  Vec3<T> slope;

  // x comes last: in a loop over it the rest is known.
  JAXCT_HD T operator()(const Vec3<T>& q) const {
    return multiply_add(slope[2], q[2], multiply_add(slope[1], q[1], multiply_add(slope[0], q[0], constant)));
  }
};

template <typename T>
struct View {
  Beam beam;
  bool planar;
  T row_middle, col_middle;  // the detector's middle, in pixels
  // Rays: direction and moment = c0 * basis[0] + c1 * basis[1] + c2 * basis[2], see pixel_coefficients.
  Vec3<T> direction[3], moment[3];
  Vec3<T> origin;      // the source (cones)
  T angle_step;        // curved: radians per column
  T row_shift;         // curved: rows from the source's plane to the detector's middle
  Vec3<T> voxel_size;  // mm
  T inverse_distance;  // 1 / (distance of source and detector along the normal); times |ray| gives 1/cos(obliquity)
  // Voxels: col = across / depth, row = along / depth (curved: the angle and the in-plane distance take depth's place).
  Affine<T> across, along, depth;
  T radius;        // curved: source to detector, mm
  T area_ratio;    // voxel volume / pixel area (2-D: voxel area / pixel width), mm
  T column_ratio;  // axial views: area_ratio per detector row that a voxel spans at magnification 1
  Vec3<T> power;   // magnification^k as a polynomial, k the model's power: no branch in a loop
  bool axial;      // the detector's rows are stacked along z: across and depth do not depend on z
};

// mm, radians; `anchor` is the ray direction (parallel) or the source (cone).
template <typename D>
struct ViewVectorsOf {
  Vec3<D> anchor, center, row_axis, col_axis;
};

template <typename D>
struct GridVectorsOf {
  Vec3<D> voxel_size, center;
};

using ViewVectors = ViewVectorsOf<double>;
using GridVectors = GridVectorsOf<double>;

namespace detail {

// Makes a number zero, whose derivative stays as it is.
template <typename T>
JAXCT_HD void clear_value(T& x) {
  x = x - T(value_of(x));
}

template <typename D, typename T>
JAXCT_HD Vec3<D> load(const T* p) {
  return {{static_cast<D>(p[0]), static_cast<D>(p[1]), static_cast<D>(p[2])}};
}

}  // namespace detail

// From the operands of a call: (4, 3) values a view, (2, 3) a grid.
template <typename D = double, typename T>
JAXCT_HD ViewVectorsOf<D> unpack_view(const T* p) {
  return {detail::load<D>(p), detail::load<D>(p + 3), detail::load<D>(p + 6), detail::load<D>(p + 9)};
}

template <typename D = double, typename T>
JAXCT_HD GridVectorsOf<D> unpack_grid(const T* p) {
  return {detail::load<D>(p), detail::load<D>(p + 3)};
}

namespace detail {

// The linear functional x -> det[x, b, c] / det[a, b, c]: the coefficient of a when x is written in (a, b, c).
template <typename D>
JAXCT_HD Vec3<D> coefficient_of(const Vec3<D>& a, const Vec3<D>& b, const Vec3<D>& c) {
  const Vec3<D> n = cross(b, c);
  return (D(1.0) / dot(a, n)) * n;
}

template <typename T, typename D>
JAXCT_HD Affine<T> affine(const Vec3<D>& functional, const Vec3<D>& from, const GridVectorsOf<D>& grid) {
  return {static_cast<T>(dot(functional, grid.center - from)), (functional * grid.voxel_size).template as<T>()};
}

}  // namespace detail

template <typename T, typename D>
JAXCT_HD void set_rays(View<T>& view, const ViewVectorsOf<D>& v, const GridVectorsOf<D>& grid, const Vec3<D> basis[3],
                       const Vec3<D>& parallel_direction) {
  const bool parallel = view.beam == Beam::kParallel;
  const Vec3<D> point = ((parallel ? v.center : v.anchor) - grid.center) / grid.voxel_size;
  const Vec3<D> direction = parallel_direction / grid.voxel_size;
  for (int i = 0; i < 3; ++i) {
    const Vec3<D> b = basis[i] / grid.voxel_size;
    const Vec3<D> zero = {{D(0.0), D(0.0), D(0.0)}};
    view.direction[i] = (parallel ? (i == 0 ? direction : zero) : b).template as<T>();
    view.moment[i] = (parallel ? cross(i == 0 ? point : b, direction) : cross(point, b)).template as<T>();
  }
  view.origin = point.template as<T>();
}

// Validity (finite, not degenerate) is checked by the caller with `is_degenerate`.
template <typename T, typename D>
JAXCT_HD View<T> make_view(const Scan& scan, const ViewVectorsOf<D>& v, const GridVectorsOf<D>& grid) {
  View<T> view;
  view.beam = scan.beam;
  view.planar = scan.planar;
  view.row_middle = static_cast<T>(0.5 * static_cast<double>(scan.rows - 1));
  view.col_middle = static_cast<T>(0.5 * static_cast<double>(scan.cols - 1));
  view.voxel_size = grid.voxel_size.template as<T>();
  view.angle_step = view.row_shift = T(0);
  view.radius = T(1);
  // Residues of rounding, as computed poses have them, are no tilt.
  const D upright = D(4.0 * static_cast<double>(Epsilon<T>::kValue)) * abs_of(v.row_axis[0]);
  view.axial = abs_of(v.row_axis[1]) <= upright && abs_of(v.row_axis[2]) <= upright;

  const Vec3<D> normal = cross(v.col_axis, v.row_axis);
  const D pixel_area = norm(normal);
  view.area_ratio = static_cast<T>(grid.voxel_size[0] * grid.voxel_size[1] * grid.voxel_size[2] / pixel_area);

  if (scan.beam == Beam::kParallel) {
    const Vec3<D> basis[3] = {v.anchor, v.col_axis, v.row_axis};
    set_rays(view, v, grid, basis, v.anchor);
    view.inverse_distance = static_cast<T>(pixel_area / abs_of(dot(v.anchor, normal)));
    view.across = detail::affine<T>(detail::coefficient_of(v.col_axis, v.row_axis, v.anchor), v.center, grid);
    view.along = detail::affine<T>(detail::coefficient_of(v.row_axis, v.anchor, v.col_axis), v.center, grid);
    view.depth = {T(1), {{T(0), T(0), T(0)}}};
  } else if (scan.beam == Beam::kCone) {
    const Vec3<D> axis = v.center - v.anchor;
    const Vec3<D> basis[3] = {axis, v.col_axis, v.row_axis};
    set_rays(view, v, grid, basis, axis);
    view.inverse_distance = static_cast<T>(pixel_area / abs_of(dot(axis, normal)));
    view.across = detail::affine<T>(detail::coefficient_of(v.col_axis, v.row_axis, axis), v.anchor, grid);
    view.along = detail::affine<T>(detail::coefficient_of(v.row_axis, axis, v.col_axis), v.anchor, grid);
    view.depth = detail::affine<T>(detail::coefficient_of(axis, v.col_axis, v.row_axis), v.anchor, grid);
  } else {
    const Vec3<D> axis = v.center - v.anchor;
    const D row_length2 = dot(v.row_axis, v.row_axis);
    const D shift = dot(axis, v.row_axis) / row_length2;
    const Vec3<D> in_plane = axis - shift * v.row_axis;
    const D radius = norm(in_plane);
    const D pitch = norm(v.col_axis);
    const Vec3<D> basis[3] = {in_plane, (radius / pitch) * v.col_axis, v.row_axis};
    set_rays(view, v, grid, basis, axis);
    view.radius = static_cast<T>(radius);
    view.angle_step = static_cast<T>(pitch / radius);
    view.row_shift = static_cast<T>(shift);
    view.inverse_distance = static_cast<T>(D(1.0) / radius);
    view.across = detail::affine<T>((D(1.0) / pitch) * v.col_axis, v.anchor, grid);
    view.along = detail::affine<T>((D(1.0) / row_length2) * v.row_axis, v.anchor, grid);
    view.depth = detail::affine<T>((D(1.0) / radius) * in_plane, v.anchor, grid);
  }
  if (view.axial) detail::clear_value(view.across.slope[0]), detail::clear_value(view.depth.slope[0]);
  for (int k = 0; k < 3; ++k) view.power[k] = scan.magnification_power == k ? T(1) : T(0);
  view.column_ratio = view.planar ? view.area_ratio : view.area_ratio / abs_of(view.along.slope[0]);
  return view;
}

// A curved detector's column axis must be tangent to the arc about its source.
JAXCT_HD bool is_tangent(const ViewVectors& v) {
  const double tolerance = 1e-3 * norm(v.col_axis);
  const Vec3<double> axis = v.center - v.anchor;
  return std::abs(dot(v.col_axis, axis)) <= tolerance * norm(axis) &&
         std::abs(dot(v.col_axis, v.row_axis)) <= tolerance * norm(v.row_axis);
}

// True where no detector or ray is spanned: zero axes, rays in the detector's plane, a source on the detector, NaN.
JAXCT_HD bool is_degenerate(const Scan& scan, const ViewVectors& v) {
  const Vec3<double> ray = scan.beam == Beam::kParallel ? v.anchor : v.center - v.anchor;
  const double volume = std::abs(dot(ray, cross(v.col_axis, v.row_axis)));
  return !(volume > 1e-9 * norm(ray) * norm(v.col_axis) * norm(v.row_axis)) || !(volume < HUGE_VAL);
}

// Footprint models take a voxel's z extent for its rows: fair while rows are stacked within 30 degrees of z.
JAXCT_HD bool rows_near_z(const Vec3<double>& row_axis) { return std::abs(row_axis[0]) >= 0.8660254 * norm(row_axis); }

template <typename T>
struct Ray {
  Vec3<T> direction, moment;  // index units
};

// How many rows a row is above the source's plane, or (flat) above the detector's middle.
template <typename T>
JAXCT_HD T height_of(const View<T>& view, T row) {
  return row - view.row_middle + view.row_shift;
}

// Through any place of the detector, in pixels: (0, 0) is the middle of the first.
template <typename T>
JAXCT_HD Ray<T> make_ray_at(const View<T>& view, T row, T col) {
  T c0 = T(1);
  T c1 = col - view.col_middle;
  const T c2 = height_of(view, row);
  if (view.beam == Beam::kCurvedCone) {
    const T angle = c1 * view.angle_step;
    c0 = cos_of(angle);
    c1 = sin_of(angle);
  }
  return {c0 * view.direction[0] + c1 * view.direction[1] + c2 * view.direction[2],
          c0 * view.moment[0] + c1 * view.moment[1] + c2 * view.moment[2]};
}

template <typename T>
JAXCT_HD Ray<T> make_ray(const View<T>& view, int64_t row, int64_t col) {
  return make_ray_at(view, static_cast<T>(row), static_cast<T>(col));
}

// 1/cos of the angle between a ray and the detector's normal where it meets it.
template <typename T>
JAXCT_HD T obliquity(const View<T>& view, const Vec3<T>& ray_direction) {
  return norm(ray_direction * view.voxel_size) * view.inverse_distance;
}

// Of the ray of a pixel.
template <typename T>
JAXCT_HD T obliquity(const View<T>& view, int64_t row, int64_t col) {
  return obliquity(view, make_ray(view, row, col).direction);
}

// `offset` + the column (pixels) of a point given its across and depth values. Both are arguments so that a loop has
// one constant to add and, `beam` being view.beam, no branch.
template <typename T>
JAXCT_HD T column_of(const View<T>& view, Beam beam, T offset, T across, T depth) {
  const T middle = view.col_middle + offset;
  if (beam == Beam::kParallel) return middle + across;
  if (beam == Beam::kCurvedCone) return middle + angle_of(across, depth) / view.angle_step;
  return middle + across / depth;
}

template <typename T>
JAXCT_HD T column_of(const View<T>& view, Beam beam, T across, T depth) {
  return column_of(view, beam, T(0), across, depth);
}

// Magnification of a point: what its size is multiplied by on the detector.
template <typename T>
JAXCT_HD T magnification(const View<T>& view, Beam beam, T across, T depth) {
  if (beam == Beam::kParallel) return T(1);
  if (beam == Beam::kCurvedCone) return view.radius / sqrt_of(across * across + depth * depth);
  return T(1) / depth;
}

// factor * magnification / divisor, in one division.
template <typename T>
JAXCT_HD T magnified_ratio(const View<T>& view, Beam beam, T factor, T across, T depth, T divisor) {
  if (beam == Beam::kParallel) return ratio(factor, divisor);
  if (beam == Beam::kCurvedCone) return ratio(factor * view.radius, sqrt_of(across * across + depth * depth) * divisor);
  return ratio(factor, depth * divisor);
}

template <typename T>
JAXCT_HD T row_of(const View<T>& view, T along, T magnified) {
  return view.row_middle - view.row_shift + along * magnified;
}

// Of a point.
template <typename T>
JAXCT_HD T row_at(const View<T>& view, const Vec3<T>& q) {
  return row_of(view, view.along(q), magnification(view, view.beam, view.across(q), view.depth(q)));
}

JAXCT_NAMESPACE_END
