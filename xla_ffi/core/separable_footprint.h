#pragma once
// Separable footprint (Long, Fessler, Balter 2010): the four corners of the voxel's cross-section, projected and
// sorted, are the break points of a trapezoid. For parallel beams in 2-D this is the exact strip integral.
#include "core/separable.h"

JAXCT_NAMESPACE_BEGIN

struct SeparableFootprint : FootprintModel<SeparableFootprint> {
  template <typename T, typename ColumnAt>
  JAXCT_HD static Trapezoid<T> shadow(ColumnAt&& column) {
    const T h = T(0.5);
    const T p = column(-h, -h), q = column(-h, h), r = column(h, -h), s = column(h, h);
    const T low_1 = min_of(p, q), high_1 = max_of(p, q);
    const T low_2 = min_of(r, s), high_2 = max_of(r, s);
    const T inner_1 = max_of(low_1, low_2), inner_2 = min_of(high_1, high_2);
    return make_trapezoid(min_of(low_1, low_2), min_of(inner_1, inner_2), max_of(inner_1, inner_2),
                          max_of(high_1, high_2));
  }
};

JAXCT_NAMESPACE_END
