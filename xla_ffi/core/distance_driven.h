#pragma once
// Distance driven (De Man, Basu 2004) with the detector's column axis as the common axis: the voxel is the rectangle
// between the middles of two opposite edges, of the pair that looks wider from the source.
#include "core/separable.h"

JAXCT_NAMESPACE_BEGIN

struct WiderPairShadow {
  // The middle of the edge.
  template <typename T>
  struct Edge {
    T middle;
  };

  template <typename T>
  JAXCT_HD static Edge<T> edge(const SectionColumns<T>& columns, T x) {
    return {columns(T(0), x)};
  }

  template <typename T>
  JAXCT_HD static Trapezoid<T> shadow(const SectionColumns<T>& columns, const Edge<T>& left, const Edge<T>& right) {
    const T h = T(0.5);
    const T y0 = columns(-h, T(0)), y1 = columns(h, T(0));
    const auto along_y = abs_of(y1 - y0) >= abs_of(right.middle - left.middle);
    const T p = select(along_y, y0, left.middle), q = select(along_y, y1, right.middle);
    const T low = min_of(p, q), high = max_of(p, q);
    return make_trapezoid(low, low, high, high);
  }
};

struct DistanceDriven : FootprintModel<WiderPairShadow> {};

JAXCT_NAMESPACE_END
