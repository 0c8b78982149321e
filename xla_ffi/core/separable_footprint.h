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
  JAXCT_HD static Edge<T> edge(T p, T q) {
    return {min_of(p, q), max_of(p, q)};
  }

  template <typename T>
  JAXCT_HD static Edge<T> edge(const SectionColumns<T>& columns, T x) {
    return edge(columns(-T(0.5), x), columns(T(0.5), x));
  }

  template <typename T>
  JAXCT_HD static Trapezoid<T> shadow(const SectionColumns<T>&, const Edge<T>& left, const Edge<T>& right) {
    const T inner_1 = max_of(left.low, right.low), inner_2 = min_of(left.high, right.high);
    return make_trapezoid(min_of(left.low, right.low), min_of(inner_1, inner_2), max_of(inner_1, inner_2),
                          max_of(left.high, right.high));
  }
};

struct SeparableFootprint : FootprintModel<CornerShadow> {
  // From derivatives by t0 to t3 of the shadow of four corners, each of which is one of them, to those by the corners'
  // columns p: two on the left, then two on the right.
  template <typename T, typename By>
  JAXCT_HD static void pull_break_points(const T (&p)[4], const By (&by)[4], By (&by_corner)[4]) {
    const auto left_rises = p[0] < p[1], right_rises = p[2] < p[3];
    const auto left = CornerShadow::edge(p[0], p[1]), right = CornerShadow::edge(p[2], p[3]);
    const auto left_begins = left.low<right.low, left_ends = left.high> right.high;
    const auto in_order = max_of(left.low, right.low) < min_of(left.high, right.high);
    const By by_low = select(in_order, by[1], by[2]), by_high = select(in_order, by[2], by[1]);
    const By by_left_low = select(left_begins, by[0], by_low), by_left_high = select(left_ends, by[3], by_high);
    const By by_right_low = select(left_begins, by_low, by[0]), by_right_high = select(left_ends, by_high, by[3]);
    by_corner[0] = select(left_rises, by_left_low, by_left_high);
    by_corner[1] = select(left_rises, by_left_high, by_left_low);
    by_corner[2] = select(right_rises, by_right_low, by_right_high);
    by_corner[3] = select(right_rises, by_right_high, by_right_low);
  }

  // From the same of the shadow of the cross-section around q to those by the view.
  template <typename T, typename By>
  JAXCT_HD static void pull_shadow(const View<T>& view, Beam beam, const Vec3<T>& q, const By (&by)[4], View<T>& to) {
    const T h = T(0.5), middle = view.col_middle + h;
    const SectionColumns<T> columns = {view, beam, q};
    const T p[4] = {columns(-h, -h), columns(h, -h), columns(-h, h), columns(h, h)};
    By by_corner[4];
    pull_break_points(p, by, by_corner);
    const auto split = [&](T y, T x, int i) {
      return split_column(view, beam, Vec3<T>{{q[0], q[1] + y, q[2] + x}}, p[i] - middle, by_corner[i], to);
    };
    const auto a = split(-h, -h, 0), b = split(h, -h, 1), c = split(-h, h, 2), d = split(h, h, 3);
    pull_corners(q, a.across, b.across, c.across, d.across, to.across);
    if (beam != Beam::kParallel) pull_corners(q, a.depth, b.depth, c.depth, d.depth, to.depth);
  }
};

JAXCT_NAMESPACE_END
