#pragma once
// Functions on one detector axis, in pixel edges: pixel i covers [i, i + 1]. Each gives the weight of a pixel and the
// range of pixels that can have one.
#include "core/dual.h"

JAXCT_NAMESPACE_BEGIN

template <typename T>
JAXCT_HD T overlap(T begin_1, T end_1, T begin_2, T end_2) {
  return max_of(T(0), min_of(end_1, end_2) - max_of(begin_1, begin_2));
}

// The part of a pixel that an interval covers.
template <typename T>
struct Box {
  template <typename U>
  using Of = Box<U>;
  // Pixels cover stacked boxes as these cover stacked pixels.
  static constexpr bool kSymmetric = true;

  T begin, end;

  JAXCT_HD T weight(int32_t i) const { return overlap(begin, end, static_cast<T>(i), static_cast<T>(i + 1)); }
  JAXCT_HD IndexRange range(int32_t n) const { return index_range(value_of(begin), value_of(end), n); }

  // Stacked boxes of height `slope`: where the first touches begins, how far it reaches, how many pixels that can be.
  JAXCT_HD static T support_begin(T) { return T(0); }
  JAXCT_HD static T support_width(T slope) { return slope; }
  JAXCT_HD static int32_t taps(T slope) { return floor_index(slope) + 2; }

  // Of n pixels from that on in which [begin, end) begins; it has no part in more.
  template <int n>
  JAXCT_HD static void split(T begin, T end, T first, T (&weights)[n]) {
    weights[0] = min_of(end, first + T(1)) - begin;
    T rest = (end - begin) - weights[0];
    if constexpr (n > 2) {
      weights[2] = max_of(end - (first + T(2)), T(0));
      rest = rest - weights[2];
    }
    weights[1] = rest;
  }
};

// Linear interpolation at a point.
template <typename T>
struct Hat {
  template <typename U>
  using Of = Hat<U>;
  static constexpr bool kSymmetric = false;

  T position;

  JAXCT_HD T weight(Index<T> i) const { return max_of(T(0), T(1) - abs_of(position - (static_cast<T>(i) + T(0.5)))); }

  JAXCT_HD IndexRange range(int32_t n) const { return index_range(value_of(begin()), value_of(end()), n); }
  JAXCT_HD T begin() const { return position - T(0.5); }
  JAXCT_HD T end() const { return position + T(0.5); }
  // As Trapezoid::weights.
  JAXCT_HD void weights(T first, T (&out)[4]) const {
    for (int k = 0; k < 4; ++k) out[k] = max_of(T(0), T(1) - abs_of(position - (first + T(k + 0.5))));
  }

  JAXCT_HD static T support_begin(T) { return T(-0.5); }
  JAXCT_HD static T support_width(T) { return T(1); }
  JAXCT_HD static int32_t taps(T) { return 2; }

  // As Box::split, from the support's begin.
  template <int n>
  JAXCT_HD static void split(T begin, T, T first, T (&weights)[n]) {
    weights[1] = begin - first;
    weights[0] = T(1) - weights[1];
  }
};

template <typename T>
struct Trapezoid;

// A strip of height 1, less what its flanks lack.
template <typename T>
JAXCT_HD T part_below(const Trapezoid<T>& shape, T x) {
  const T at = clamp(x, shape.t0, shape.t3), p = at - shape.t1;
  const T q = min_of(p, T(0)), r = max_of(at - shape.t2, T(0));
  return (p + T(0.5) * (shape.t1 - shape.t0)) + q * q * shape.rise - r * r * shape.fall;
}

// For an x that does not move. Not through the formula above: it is no use where a flank is narrower than rounding.
template <typename T>
JAXCT_HD Dual<T> part_below(const Trapezoid<Dual<T>>& s, Dual<T> x) {
  const Trapezoid<T> values = {s.t0.value, s.t1.value, s.t2.value, s.t3.value, s.rise.value, s.fall.value};
  T by[4];
  values.below_by(x.value, by);
  return {part_below(values, x.value),
          (by[0] * s.t0.tangent + by[1] * s.t1.tangent) + (by[2] * s.t2.tangent + by[3] * s.t3.tangent)};
}

// How far along a trapezoid's flanks an x is, from 0 to 1, and the squares of it. What lies below x has derivatives by
// the break points that are linear in these; or in sums of them, each times what a change there is worth.
template <typename T>
struct Climb {
  T rise, rise_square, fall, fall_square;

  JAXCT_HD void by_break_points(T (&by)[4]) const {
    by[1] = -T(0.5) * rise_square;
    by[0] = -rise - by[1];
    by[3] = T(0.5) * fall_square;
    by[2] = fall - by[3];
  }

  JAXCT_HD friend Climb operator+(const Climb& a, const Climb& b) {
    return {a.rise + b.rise, a.rise_square + b.rise_square, a.fall + b.fall, a.fall_square + b.fall_square};
  }
  JAXCT_HD friend Climb operator*(const Climb& a, T worth) {
    return {a.rise * worth, a.rise_square * worth, a.fall * worth, a.fall_square * worth};
  }
};

// The integral over a pixel of a trapezoid of height 1.
template <typename T>
struct Trapezoid {
  T t0, t1, t2, t3;
  T rise, fall;  // half the slopes of its flanks

  // What lies below x.
  JAXCT_HD T below(T x) const { return part_below(*this, x); }
  JAXCT_HD Climb<T> climb(T x) const {
    const T u = clamp(T(2) * rise * (x - t0), T(0), T(1)), v = clamp(T(2) * fall * (x - t2), T(0), T(1));
    return {u, u * u, v, v * v};
  }
  // The derivatives by t0 to t3 of what lies below x.
  JAXCT_HD void below_by(T x, T (&by)[4]) const { climb(x).by_break_points(by); }
  JAXCT_HD T area() const { return T(0.5) * ((t3 - t0) + (t2 - t1)); }
  JAXCT_HD T weight(Index<T> i) const { return below(static_cast<T>(i + 1)) - below(static_cast<T>(i)); }
  JAXCT_HD IndexRange range(int32_t n) const { return index_range(value_of(t0), value_of(t3), n); }

  JAXCT_HD T begin() const { return t0; }
  JAXCT_HD T end() const { return t3; }
  // Of four consecutive pixels, which share their edges; `first` is the lower edge of the first.
  JAXCT_HD void weights(T first, T (&out)[4]) const {
    const T b1 = below(first + T(1)), b2 = below(first + T(2)), all = area();
    out[1] = b2 - b1;
    // Most footprints begin in the first and end before the fourth.
    if (!any_of(max_of(first - t0, t3 - (first + T(3))) > T(0))) {
      out[0] = b1;
      out[2] = all - b2;
      out[3] = T(0);
      return;
    }
    const T b3 = below(first + T(3)), b4 = below(first + T(4));
    out[0] = b1 - below(first);
    out[2] = b3 - b2;
    out[3] = b4 - b3;
  }
};

template <typename T>
JAXCT_HD Trapezoid<T> make_trapezoid(T t0, T t1, T t2, T t3) {
  // One division for both slopes. A flank this narrow has no area to speak of.
  const T narrow = T(4) * epsilon<T>();
  const T a = max_of(t1 - t0, narrow), b = max_of(t3 - t2, narrow);
  const T half = ratio(T(0.5), a * b);
  return {t0, t1, t2, t3, half * b, half * a};
}

JAXCT_NAMESPACE_END
