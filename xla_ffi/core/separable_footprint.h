#pragma once
// Separable footprint (Long, Fessler, Balter 2010): the four corners of the voxel's cross-section, projected and
// sorted, are the break points of a trapezoid. For parallel beams in 2-D this is the exact strip integral.
#include "core/separable.h"

JAXCT_NAMESPACE_BEGIN

struct CornerShadow {
  // Two corners.
  template <typename T>
  struct Edge {
    T low, high;
  };

  template <typename T>
  JAXCT_HD static Edge<T> edge(const SectionColumns<T>& columns, T x) {
    const T p = columns(-T(0.5), x), q = columns(T(0.5), x);
    return {min_of(p, q), max_of(p, q)};
  }

  template <typename T>
  JAXCT_HD static Trapezoid<T> shadow(const SectionColumns<T>&, const Edge<T>& left, const Edge<T>& right) {
    const T inner_1 = max_of(left.low, right.low), inner_2 = min_of(left.high, right.high);
    return make_trapezoid(min_of(left.low, right.low), min_of(inner_1, inner_2), max_of(inner_1, inner_2),
                          max_of(left.high, right.high));
  }
};

struct SeparableFootprint : FootprintModel<CornerShadow> {};

JAXCT_NAMESPACE_END
