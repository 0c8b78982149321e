#pragma once
// Functions on one detector axis, in pixel edges: pixel i covers [i, i + 1]. Each gives the weight of a pixel and the
// range of pixels that can have one.
#include "core/scalar.h"

JAXCT_NAMESPACE_BEGIN

template <typename T>
JAXCT_HD T overlap(T begin_1, T end_1, T begin_2, T end_2) {
  return max_of(T(0), min_of(end_1, end_2) - max_of(begin_1, begin_2));
}

// The part of a pixel that an interval covers.
template <typename T>
struct Box {
  T begin, end;

  JAXCT_HD T weight(int32_t i) const { return overlap(begin, end, static_cast<T>(i), static_cast<T>(i + 1)); }
  JAXCT_HD Range<Index<T>> range(int32_t n) const { return index_range(begin, end, n); }

  // Stacked boxes of height `slope`: where the first touches begins, how far it reaches, how many pixels that can be.
  JAXCT_HD static T support_begin(T) { return T(0); }
  JAXCT_HD static T support_width(T slope) { return slope; }
  JAXCT_HD static int32_t taps(T slope) { return floor_index(slope) + 2; }
};

// Linear interpolation at a point.
template <typename T>
struct Hat {
  T position;

  JAXCT_HD T weight(Index<T> i) const {
    return max_of(T(0), T(1) - abs_of(position - (static_cast<T>(i) + T(0.5))));
  }
  // Of n pixels from pixel i on.
  template <int n>
  JAXCT_HD void weights(Index<T> i, T* out) const {
    for (int k = 0; k < n; ++k) out[k] = weight(i + k);
  }
  JAXCT_HD Range<Index<T>> range(int32_t n) const { return index_range(position - T(0.5), position + T(0.5), n); }

  JAXCT_HD static T support_begin(T) { return T(-0.5); }
  JAXCT_HD static T support_width(T) { return T(1); }
  JAXCT_HD static int32_t taps(T) { return 2; }
};

// The integral of a unit-area trapezoid over a pixel.
template <typename T>
struct Trapezoid {
  T t0, t1, t2, t3;
  T rise, fall, height;  // 1/2/(t1 - t0), 1/2/(t3 - t2), 1/area; zero where a flank or the whole is empty

  JAXCT_HD T below(T x) const {
    const T p = clamp(x - t0, T(0), t1 - t0);
    const T q = clamp(x - t1, T(0), t2 - t1);
    const T r = clamp(x - t2, T(0), t3 - t2);
    return height * (p * p * rise + q + r - r * r * fall);
  }
  JAXCT_HD T weight(Index<T> i) const { return below(static_cast<T>(i + 1)) - below(static_cast<T>(i)); }
  template <int n>
  JAXCT_HD void weights(Index<T> i, T* out) const {
    T low = below(static_cast<T>(i));
    for (int k = 0; k < n; ++k) {
      const T high = below(static_cast<T>(i + (k + 1)));
      out[k] = high - low;
      low = high;
    }
  }
  JAXCT_HD Range<Index<T>> range(int32_t n) const { return index_range(t0, t3, n); }
};

template <typename T>
JAXCT_HD Trapezoid<T> make_trapezoid(T t0, T t1, T t2, T t3) {
  const T area = T(0.5) * ((t3 - t0) + (t2 - t1));
  return {t0,
          t1,
          t2,
          t3,
          select(t1 > t0, ratio(T(0.5), t1 - t0), T(0)),
          select(t3 > t2, ratio(T(0.5), t3 - t2), T(0)),
          select(area > T(0), ratio(T(1), area), T(0))};
}

JAXCT_NAMESPACE_END
