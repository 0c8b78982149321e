#pragma once
// Separable footprint (Long, Fessler, Balter 2010): the four corners of the voxel's cross-section, projected and
// sorted, are the break points of a trapezoid. For parallel beams in 2-D this is the exact strip integral.
#include "core/pullback.h"
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

struct SeparableFootprint : FootprintModel<CornerShadow> {
  // Of the shadow of the cross-section around q, from the derivatives by t0 to t3.
  template <typename T>
  JAXCT_HD static void pull_shadow(const View<T>& view, const Vec3<T>& q, const T (&by)[4], View<T>& to) {
    const T h = T(0.5), y[4] = {-h, -h, h, h}, x[4] = {-h, h, -h, h};
    const SectionColumns<T> columns = {view, view.beam, q};
    T sorted[4];
    int corner[4];
    for (int i = 0; i < 4; ++i) {
      const T col = columns(y[i], x[i]);
      int place = i;
      for (; place > 0 && sorted[place - 1] > col; --place) {
        sorted[place] = sorted[place - 1];
        corner[place] = corner[place - 1];
      }
      sorted[place] = col;
      corner[place] = i;
    }
    for (int i = 0; i < 4; ++i) pull_column(view, q + Vec3<T>{{T(0), y[corner[i]], x[corner[i]]}}, by[i], to);
  }
};

JAXCT_NAMESPACE_END
