#pragma once
// Scalar helpers that behave for every input, NaN and infinities included.
//
// A number T is a float, a double, several of either at once (cpu/lanes.h) or one with its derivative (dual.h), which
// overload what they need to. Formulas for several numbers choose with `select`, never with `?:`: each has its own
// answer.
#include <cmath>

#include "core/config.h"

JAXCT_NAMESPACE_BEGIN

template <typename T>
struct IndexOf {
  using Type = int32_t;
};

// The integers that go with a number.
template <typename T>
using Index = typename IndexOf<T>::Type;

template <typename T>
JAXCT_HD T select(bool condition, T yes, T no) {
  return condition ? yes : no;
}

template <typename T>
JAXCT_HD T abs_of(T x) {
  return std::abs(x);
}

template <typename T>
JAXCT_HD T sqrt_of(T x) {
  return std::sqrt(x);
}

template <typename T>
JAXCT_HD T cos_of(T x) {
  return std::cos(x);
}

template <typename T>
JAXCT_HD T sin_of(T x) {
  return std::sin(x);
}

// The angle of (x, y) from the x axis, for x > 0.
template <typename T>
JAXCT_HD T angle_of(T y, T x) {
  return std::atan2(y, x);
}

template <typename T>
JAXCT_HD T min_of(T a, T b) {
  return select(b < a, b, a);
}

template <typename T>
JAXCT_HD T max_of(T a, T b) {
  return select(a < b, b, a);
}

JAXCT_HD bool any_of(bool condition) { return condition; }

// Of one number.
template <typename T>
struct Epsilon {
  static constexpr T kValue = sizeof(T) == sizeof(float) ? T(1.1920929e-7) : T(2.220446049250313e-16);
};

template <typename T>
JAXCT_HD T epsilon() {
  return T(Epsilon<T>::kValue);
}

// a * b + c. Device code is compiled without contraction, so that two kernels that call one formula get the same bits
// of it; where fusing pays it is asked for here, for all of them.
template <typename T>
JAXCT_HD T multiply_add(T a, T b, T c) {
#if defined(__CUDA_ARCH__)
  return fma(a, b, c);
#else
  return a * b + c;
#endif
}

// a / b where a few units in the last place do not matter: in factors, not in positions.
template <typename T>
JAXCT_HD T ratio(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == sizeof(float)) return __fdividef(a, b);
#endif
  return a / b;
}

// v[i] for an i that is not known in advance. An array indexed so would have to leave a GPU's registers.
template <typename T>
JAXCT_HD T pick(const T (&v)[3], int i) {
#if defined(__CUDA_ARCH__)
  return i == 0 ? v[0] : i == 1 ? v[1] : v[2];
#else
  return v[i];
#endif
}

// NaN becomes lo: what follows is always a valid index.
template <typename T>
JAXCT_HD T clamp(T x, T lo, T hi) {
  const T above = select(x > lo, x, lo);
  return select(above < hi, above, hi);
}

// floor(x) as an integer, for |x| < 2^31. Written without std::floor so that every instruction set vectorises it.
template <typename T>
JAXCT_HD int32_t floor_index(T x) {
  const auto i = static_cast<int32_t>(x);
  return i - (static_cast<T>(i) > x ? 1 : 0);
}

template <typename T>
JAXCT_HD Index<T> ceil_index(T x) {
  return -floor_index(-x);
}

// The integers [begin, end) that a real interval [lo, hi] touches, cut to [0, n).
struct IndexRange {
  int32_t begin, end;
  JAXCT_HD bool empty() const { return begin >= end; }
};

JAXCT_HD IndexRange intersect(IndexRange a, IndexRange b) { return {max_of(a.begin, b.begin), min_of(a.end, b.end)}; }

template <typename T>
JAXCT_HD IndexRange index_range(T lo, T hi, int32_t n) {
  const T top = static_cast<T>(n);
  return {floor_index(clamp(lo, T(0), top)), ceil_index(clamp(hi, T(0), top))};
}

JAXCT_NAMESPACE_END
