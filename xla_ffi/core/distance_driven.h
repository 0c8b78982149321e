#pragma once
// Distance driven (De Man, Basu 2004) with the detector's column axis as the common axis: the voxel is the rectangle
// between the middles of two opposite edges, of the pair that looks wider from the source.
#include "core/separable.h"

JAXCT_NAMESPACE_BEGIN

struct DistanceDriven : FootprintModel<DistanceDriven> {
  template <typename T, typename ColumnAt>
  JAXCT_HD static Trapezoid<T> shadow(ColumnAt&& column) {
    const T h = T(0.5);
    const T y0 = column(-h, T(0)), y1 = column(h, T(0));
    const T x0 = column(T(0), -h), x1 = column(T(0), h);
    const auto along_y = abs_of(y1 - y0) >= abs_of(x1 - x0);
    const T p = select(along_y, y0, x0), q = select(along_y, y1, x1);
    const T low = min_of(p, q), high = max_of(p, q);
    return make_trapezoid(low, low, high, high);
  }
};

JAXCT_NAMESPACE_END
