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
  // From derivatives by t0 to t3 of the shadow of the cross-section around q. Each break point is one of the corners.
  template <typename T, typename By>
  JAXCT_HD static void pull_shadow(const View<T>& view, Beam beam, const Vec3<T>& q, const By (&by)[4], View<T>& to) {
    const T h = T(0.5);
    const SectionColumns<T> columns = {view, beam, q};
    const T p[4] = {columns(-h, -h), columns(h, -h), columns(-h, h), columns(h, h)};  // two on the left, two right
    const auto left_rises = p[0] < p[1], right_rises = p[2] < p[3];
    const T left_low = min_of(p[0], p[1]), left_high = max_of(p[0], p[1]);
    const T right_low = min_of(p[2], p[3]), right_high = max_of(p[2], p[3]);
    const auto left_begins = left_low<right_low, left_ends = left_high> right_high;
    const auto in_order = max_of(left_low, right_low) < min_of(left_high, right_high);
    const By by_low = select(in_order, by[1], by[2]), by_high = select(in_order, by[2], by[1]);
    const By by_left_low = select(left_begins, by[0], by_low), by_left_high = select(left_ends, by[3], by_high);
    const By by_right_low = select(left_begins, by_low, by[0]), by_right_high = select(left_ends, by_high, by[3]);
    const auto split = [&](T y, T x, const By& corner) {
      return split_column(view, beam, Vec3<T>{{q[0], q[1] + y, q[2] + x}}, corner, to);
    };
    const auto a = split(-h, -h, select(left_rises, by_left_low, by_left_high));
    const auto b = split(h, -h, select(left_rises, by_left_high, by_left_low));
    const auto c = split(-h, h, select(right_rises, by_right_low, by_right_high));
    const auto d = split(h, h, select(right_rises, by_right_high, by_right_low));
    pull_corners(q, a.across, b.across, c.across, d.across, to.across);
    if (beam != Beam::kParallel) pull_corners(q, a.depth, b.depth, c.depth, d.depth, to.depth);
  }
};

JAXCT_NAMESPACE_END
