#pragma once
// What the loops of gradients with respect to the geometry have in common. They are kept per view, in views
// (pullback.h), and summed in double precision.
#include "core/pullback.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename T>
struct GradientProblem {
  Scan scan;
  const View<T>* views;
  const T* volume;
  const T* projections;
};

template <typename T>
void add_to(View<double>& sums, const View<T>& part) {
  for_numbers(sums, part, [](double& sum, const T& value) { sum += static_cast<double>(value); });
}

// Of a view's obliquity: y, the projections; shadow(row, col), what is projected there without it.
template <typename T, typename Shadow>
void gradient_of_obliquity(const Scan& scan, const View<T>& view, const T* y, View<double>& sums, Shadow&& shadow) {
  for (int64_t row = 0; row < scan.rows; ++row) {
    View<T> part = {};
    for (int64_t col = 0; col < scan.cols; ++col)
      pull_obliquity(view, static_cast<T>(row), static_cast<T>(col), make_ray(view, row, col).direction,
                     y[row * scan.cols + col] * shadow(row, col), part);
    add_to(sums, part);
  }
}

// The same where all rays have one direction: they share it, and `sums` has by now what the footprints' common factor
// adds up to, area_ratio's derivative.
template <typename T>
void gradient_of_parallel_obliquity(const View<T>& view, View<double>& sums) {
  const Vec3<T> direction = make_ray(view, 0, 0).direction;
  const double whole = sums.area_ratio * static_cast<double>(view.area_ratio);
  View<T> part = {};
  pull_obliquity(view, T(0), T(0), direction, static_cast<T>(whole) / obliquity(view, direction), part);
  add_to(sums, part);
}

}  // namespace loops
JAXCT_NAMESPACE_END
