#pragma once
// What the loops of gradients with respect to the geometry have in common. They are kept per view, in views
// (pullback.h), and summed in double precision.
#include "core/pullback.h"
#include "cpu/packed_views.h"
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

// The lanes of one view's.
template <typename T>
void add_lanes(View<double>& sums, const View<Lanes<T>>& part) {
  for_numbers(sums, part, [](double& sum, const Lanes<T>& value) { sum += static_cast<double>(sum_lanes(value)); });
}

// Of a view's obliquity: y, the projections; shadow(row, col), what is projected there without it.
template <typename T, typename Shadow>
void gradient_of_obliquity(const Scan& scan, const View<T>& view, const T* y, View<double>& sums, Shadow&& shadow) {
  using Number = Lanes<T>;
  const View<Number> packed = pack_views(&view, 1);
  for (int64_t row = 0; row < scan.rows; ++row) {
    const Number height(static_cast<T>(row));
    View<Number> part = {};
    for (int64_t first = 0; first < scan.cols; first += kLanes<T>) {
      const Number col = Number(lane_numbers<T>()) + Number(static_cast<T>(first));
      T by[kLanes<T>] = {};
      for (int64_t c = first; c < min_of(first + kLanes<T>, scan.cols); ++c)
        by[c - first] = y[row * scan.cols + c] * shadow(row, c);
      pull_obliquity(packed, height, col, make_ray_at(packed, height, col).direction, load_lanes(by), part);
    }
    add_lanes(sums, part);
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
