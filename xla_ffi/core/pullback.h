#pragma once
// Derivatives backwards: given what a sum would gain from a change of some quantity, what it would gain from changes of
// the quantities that this one is made of. A gradient with respect to a view is kept in a view: each field holds the
// derivative by that field. The functions called pull_* are transposes of what view.h, ray_walk.h and separable.h do to
// tangents (dual.h).
#include "core/ray_walk.h"

JAXCT_NAMESPACE_BEGIN

constexpr int kViewNumbers = 6 * 3 + 2 * 3 + 3 * 4 + 6;

// f(a's number, b's number) for every number of a view that comes from the geometry.
template <typename A, typename B, typename F>
JAXCT_HD void for_numbers(A& a, B& b, F&& f) {
  const auto vectors = [&](auto& p, auto& q) {
    for (int i = 0; i < 3; ++i) f(p[i], q[i]);
  };
  const auto affine = [&](auto& p, auto& q) {
    f(p.constant, q.constant);
    vectors(p.slope, q.slope);
  };
  for (int i = 0; i < 3; ++i) {
    vectors(a.direction[i], b.direction[i]);
    vectors(a.moment[i], b.moment[i]);
  }
  vectors(a.origin, b.origin);
  vectors(a.voxel_size, b.voxel_size);
  affine(a.across, b.across);
  affine(a.along, b.along);
  affine(a.depth, b.depth);
  f(a.angle_step, b.angle_step);
  f(a.row_shift, b.row_shift);
  f(a.inverse_distance, b.inverse_distance);
  f(a.radius, b.radius);
  f(a.area_ratio, b.area_ratio);
  f(a.column_ratio, b.column_ratio);
}

template <typename T>
JAXCT_HD View<T> value_of(const View<Dual<T>>& view) {
  View<T> values;
  values.beam = view.beam;
  values.planar = view.planar;
  values.axial = view.axial;
  values.row_middle = view.row_middle.value;
  values.col_middle = view.col_middle.value;
  values.power = {{view.power[0].value, view.power[1].value, view.power[2].value}};
  for_numbers(view, values, [](const Dual<T>& from, T& to) { to = from.value; });
  return values;
}

template <typename T>
JAXCT_HD const View<T>& value_of(const View<T>& view) {
  return view;
}

// What a sum gains as the view changes along its tangent.
template <typename T>
JAXCT_HD T contract(const View<T>& gradient, const View<Dual<T>>& view) {
  T sum = T(0);
  for_numbers(gradient, view, [&](const T& by, const Dual<T>& number) {
    if (by != T(0)) sum += by * number.tangent;  // what is not used may be infinite
  });
  return sum;
}

// The same with the gradient's numbers one after the other, in the order of for_numbers.
template <typename T>
JAXCT_HD T contract(const T* numbers, const View<Dual<T>>& view) {
  T sum = T(0);
  for_numbers(view, view, [&](const Dual<T>& number, const Dual<T>&) {
    const T by = *numbers++;
    if (by != T(0)) sum += by * number.tangent;
  });
  return sum;
}

template <typename T>
JAXCT_HD void add(const Vec3<T>& by, Vec3<T>& to) {
  for (int i = 0; i < 3; ++i) to[i] = to[i] + by[i];
}

// Derivatives of a sum over the voxels of an axial view's column: the sum of them, and that of each times z's distance
// from the middle. All else that is pulled through is the same for the whole column.
template <typename T>
struct Moments {
  T sum, along_z;

  JAXCT_HD friend Moments operator*(Moments m, T factor) { return {m.sum * factor, m.along_z * factor}; }
  JAXCT_HD friend Moments operator+(Moments a, Moments b) { return {a.sum + b.sum, a.along_z + b.along_z}; }
};

template <typename T>
JAXCT_HD T sum_of(T by) {
  return by;
}
template <typename T>
JAXCT_HD T sum_of(Moments<T> by) {
  return by.sum;
}

// Of make_ray.
template <typename T>
JAXCT_HD void pull_ray(const View<T>& view, T row, T col, const Ray<T>& by, View<T>& to) {
  T c[3] = {T(1), col - view.col_middle, height_of(view, row)};
  const T offset = c[1], angle = offset * view.angle_step;
  const bool curved = view.beam == Beam::kCurvedCone;
  if (curved) {
    c[0] = cos_of(angle);
    c[1] = sin_of(angle);
  }
  T by_c[3];
  for (int i = 0; i < 3; ++i) {
    add(c[i] * by.direction, to.direction[i]);
    add(c[i] * by.moment, to.moment[i]);
    by_c[i] = dot(by.direction, view.direction[i]) + dot(by.moment, view.moment[i]);
  }
  to.row_shift = to.row_shift + by_c[2];
  if (curved) to.angle_step = to.angle_step + (c[0] * by_c[1] - c[1] * by_c[0]) * offset;
}

// Of obliquity, where the pixel's ray is known.
template <typename T>
JAXCT_HD void pull_obliquity(const View<T>& view, T row, T col, const Vec3<T>& direction, T by, View<T>& to) {
  const Vec3<T> world = direction * view.voxel_size;
  const T length = norm(world);
  to.inverse_distance = to.inverse_distance + by * length;
  const Vec3<T> by_world = (by * view.inverse_distance / length) * world;
  add(by_world * direction, to.voxel_size);
  pull_ray(view, row, col, Ray<T>{by_world * view.voxel_size, {{T(0), T(0), T(0)}}}, to);
}

// Derivatives by what a walk takes from its ray.
template <typename T>
struct WalkGradient {
  T a, slope_a, b, slope_b, step;
};

// What a stencil makes of its cells' values.
template <typename T>
JAXCT_HD T apply(const Stencil<T>& stencil, const T (&x)[2][2]) {
  const auto& w = stencil.weight;
  return multiply_add(w[1][1], x[1][1],
                      multiply_add(w[1][0], x[1][0], multiply_add(w[0][1], x[0][1], w[0][0] * x[0][0])));
}

// Of a ray's part of <projections, A volume>, value * step * sum_k w_k . x; w_k depends on where it crosses slab k.
// volume(offset) is a voxel of x.
template <typename Model, typename T, typename Volume>
JAXCT_HD WalkGradient<T> differentiate(const RayWalk<T>& walk, const VoxelBox& grid, const Strides& strides, T value,
                                       Volume&& volume) {
  T sum = T(0), by_a = T(0), by_a_k = T(0), by_b = T(0), by_b_k = T(0);
  const IndexRange slabs = slabs_in(walk, grid);
  for (int32_t k = slabs.begin; k < slabs.end; ++k) {
    const Crossing<T> at = cross_slab(walk, k);
    T x[2][2] = {};
    visit_cells(walk, grid, strides, k, at.cell_a, at.cell_b,
                [&](int i, int j, int64_t voxel) { x[i][j] = volume(voxel); });
    Stencil<T> weight_a, weight_b;
    Model::stencil_by(at.slab, weight_a, weight_b);
    const T here_a = apply(weight_a, x), here_b = apply(weight_b, x), offset = static_cast<T>(k) - walk.middle;
    sum += apply(Model::stencil(at.slab), x);
    by_a += here_a;
    by_a_k = multiply_add(here_a, offset, by_a_k);
    by_b += here_b;
    by_b_k = multiply_add(here_b, offset, by_b_k);
  }
  const T length = value * walk.step;
  return {length * by_a, length * by_a_k, length * by_b, length * by_b_k, value * sum};
}

// Of make_walk.
template <typename T>
JAXCT_HD void pull_walk(const View<T>& view, const Ray<T>& ray, const RayWalk<T>& walk, const WalkGradient<T>& by,
                        Ray<T>& by_ray, View<T>& to) {
  const int i = walk.axis, j = walk.minor_a, k = walk.minor_b;
  const Vec3<T>& d = ray.direction;
  const T inverse = T(1) / d[i];
  const Vec3<T> world = d * view.voxel_size;
  const T length = norm(world);
  // step = length / |d_i|
  const Vec3<T> by_world = (by.step * std::abs(inverse) / length) * world;
  by_ray.direction = by_world * view.voxel_size;
  add(by_world * d, to.voxel_size);
  by_ray.direction[j] += by.slope_a * inverse;
  by_ray.direction[k] += by.slope_b * inverse;
  by_ray.direction[i] -= inverse * (by.slope_a * walk.slope_a + by.slope_b * walk.slope_b + by.step * walk.step +
                                    inverse * (by.b * ray.moment[j] - by.a * ray.moment[k]));
  by_ray.moment = {{T(0), T(0), T(0)}};
  by_ray.moment[k] -= by.a * inverse;
  by_ray.moment[j] += by.b * inverse;
}

// Of an affine function at q. From here on `by` is a number or Moments; of these q's z does not matter.
template <typename T>
JAXCT_HD void pull_affine(const Vec3<T>& q, T by, Affine<T>& to) {
  to.constant = to.constant + by;
  add(by * q, to.slope);
}
template <typename T>
JAXCT_HD void pull_affine(const Vec3<T>& q, Moments<T> by, Affine<T>& to) {
  to.constant = to.constant + by.sum;
  add({{by.along_z, by.sum * q[1], by.sum * q[2]}}, to.slope);
}

// Of points that are not in front of the source nothing is asked, but nothing must become infinite either: derivatives
// of several numbers are computed at once.
template <typename T>
JAXCT_HD T depth_in_front(const View<T>& view, const Vec3<T>& q) {
  return max_of(view.depth(q), T(1e-6));
}

// Derivatives by the across and depth values of a point.
template <typename By>
struct ColumnDerivatives {
  By across, depth;
};

// Of column_of at a point, as far as these two. Its place is its column less the detector's middle.
template <typename T, typename By>
JAXCT_HD ColumnDerivatives<By> split_column(const View<T>& view, Beam beam, const Vec3<T>& q, T place, By by,
                                            View<T>& to) {
  if (beam == Beam::kParallel) return {by, By{}};
  const T depth = depth_in_front(view, q);
  if (beam == Beam::kCone) {
    const By by_across = by * (T(1) / depth);
    return {by_across, by_across * -place};
  }
  const T across = view.across(q);
  const T per_step = T(1) / view.angle_step, over_square = per_step / (across * across + depth * depth);
  to.angle_step = to.angle_step - sum_of(by) * place * per_step;
  return {by * (depth * over_square), by * (-across * over_square)};
}

// Of an affine function at the corners of the cross-section around q, in the order (y, x) = (-, -), (+, -), (-, +),
// (+, +).
template <typename T, typename By>
JAXCT_HD void pull_corners(const Vec3<T>& q, const By& a, const By& b, const By& c, const By& d, Affine<T>& to) {
  pull_affine(q, (a + b) + (c + d), to);
  const T half = T(0.5), diagonal = sum_of(d) - sum_of(a), other = sum_of(b) - sum_of(c);
  to.slope[1] = to.slope[1] + half * (diagonal + other);
  to.slope[2] = to.slope[2] + half * (diagonal - other);
}

// Of magnification at a point, likewise. `by` is what its changes in proportion are worth.
template <typename T, typename By>
JAXCT_HD ColumnDerivatives<By> split_magnification(const View<T>& view, Beam beam, const Vec3<T>& q, By by,
                                                   View<T>& to) {
  if (beam == Beam::kParallel) return {By{}, By{}};
  const T depth = depth_in_front(view, q);
  if (beam == Beam::kCone) return {By{}, by * (T(-1) / depth)};
  const T across = view.across(q), inverse = T(-1) / (across * across + depth * depth);
  to.radius = to.radius + sum_of(by) / view.radius;
  return {by * (inverse * across), by * (inverse * depth)};
}

template <typename T, typename By>
JAXCT_HD void pull_magnification(const View<T>& view, Beam beam, const Vec3<T>& q, By by, View<T>& to) {
  if (beam == Beam::kParallel) return;
  const ColumnDerivatives<By> split = split_magnification(view, beam, q, by, to);
  if (beam == Beam::kCurvedCone) pull_affine(q, split.across, to.across);
  pull_affine(q, split.depth, to.depth);
}

// Of row_of at a point.
template <typename T>
JAXCT_HD void pull_row(const View<T>& view, const Vec3<T>& q, T by, View<T>& to) {
  const T by_along = by * magnification(view, view.beam, view.across(q), view.depth(q));
  to.row_shift -= by;
  pull_affine(q, by_along, to.along);
  pull_magnification(view, view.beam, q, by_along * view.along(q), to);
}

constexpr int kVectorNumbers = 12, kGridNumbers = 6, kGeometryNumbers = kVectorNumbers + kGridNumbers;

// From the gradient by a prepared view to the derivative by one of the numbers that it was prepared from: first those
// of its vectors, then those of the grid.
template <typename T, typename Gradient>
JAXCT_HD double pull_geometry(const Scan& scan, const T* vectors, const T* grid, const Gradient& gradient, int number) {
  Dual<double> v[kVectorNumbers], g[kGridNumbers];
  for (int k = 0; k < kVectorNumbers; ++k) v[k] = {static_cast<double>(vectors[k]), number == k ? 1.0 : 0.0};
  for (int k = 0; k < kGridNumbers; ++k)
    g[k] = {static_cast<double>(grid[k]), number == kVectorNumbers + k ? 1.0 : 0.0};
  return contract(gradient, make_view<Dual<double>>(scan, unpack_view<Dual<double>>(v), unpack_grid<Dual<double>>(g)));
}

JAXCT_NAMESPACE_END
