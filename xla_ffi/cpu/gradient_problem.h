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

}  // namespace loops
JAXCT_NAMESPACE_END
