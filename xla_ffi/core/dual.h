#pragma once
// A number and its derivative along one direction. Core's formulas take it like any other number, so that every weight
// has its derivative from the formula that it has its value from. Branches follow the value.
#include <type_traits>

#include "core/scalar.h"

JAXCT_NAMESPACE_BEGIN

// Derivatives along several directions at once: a number whose tangent has N entries.
template <typename T, int N>
struct Tangents {
  T v[N];

  Tangents() = default;
  template <typename Scalar, typename = std::enable_if_t<std::is_arithmetic_v<Scalar>>>
  JAXCT_HD explicit Tangents(Scalar scalar) {
    for (int i = 0; i < N; ++i) v[i] = static_cast<T>(scalar);
  }
  template <typename U>
  JAXCT_HD explicit Tangents(const Tangents<U, N>& x) {
    for (int i = 0; i < N; ++i) v[i] = static_cast<T>(x.v[i]);
  }

  JAXCT_HD friend Tangents operator+(Tangents a, const Tangents& b) {
    for (int i = 0; i < N; ++i) a.v[i] += b.v[i];
    return a;
  }
  JAXCT_HD friend Tangents operator-(Tangents a, const Tangents& b) {
    for (int i = 0; i < N; ++i) a.v[i] -= b.v[i];
    return a;
  }
  JAXCT_HD friend Tangents operator-(Tangents a) {
    for (int i = 0; i < N; ++i) a.v[i] = -a.v[i];
    return a;
  }
  JAXCT_HD friend Tangents operator*(Tangents a, T b) {
    for (int i = 0; i < N; ++i) a.v[i] *= b;
    return a;
  }
  JAXCT_HD friend Tangents operator*(T a, const Tangents& b) { return b * a; }
  JAXCT_HD friend Tangents operator/(const Tangents& a, T b) { return a * (T(1) / b); }
  JAXCT_HD Tangents& operator+=(const Tangents& b) { return *this = *this + b; }
};

// V is T for a derivative along one direction.
template <typename T, typename V = T>
struct Dual {
  T value;
  V tangent;

  Dual() = default;
  JAXCT_HD Dual(T v, V t) : value(v), tangent(t) {}
  template <typename Scalar, typename = std::enable_if_t<std::is_arithmetic_v<Scalar>>>
  JAXCT_HD explicit Dual(Scalar constant) : value(static_cast<T>(constant)), tangent(V(T(0))) {}
  template <typename U, typename W>
  JAXCT_HD explicit Dual(const Dual<U, W>& x) : value(static_cast<T>(x.value)), tangent(static_cast<V>(x.tangent)) {}

  // The value alone.
  template <typename Scalar, typename = std::enable_if_t<std::is_arithmetic_v<Scalar>>>
  JAXCT_HD explicit operator Scalar() const {
    return static_cast<Scalar>(value);
  }

  JAXCT_HD Dual& operator+=(Dual other) { return *this = *this + other; }

  JAXCT_HD friend Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.tangent + b.tangent}; }
  JAXCT_HD friend Dual operator-(Dual a, Dual b) { return {a.value - b.value, a.tangent - b.tangent}; }
  JAXCT_HD friend Dual operator-(Dual a) { return {-a.value, -a.tangent}; }
  JAXCT_HD friend Dual operator*(Dual a, Dual b) {
    return {a.value * b.value, a.tangent * b.value + a.value * b.tangent};
  }
  JAXCT_HD friend Dual operator*(Dual a, T b) { return {a.value * b, a.tangent * b}; }
  JAXCT_HD friend Dual operator/(Dual a, Dual b) {
    const T quotient = a.value / b.value;
    return {quotient, (a.tangent - quotient * b.tangent) / b.value};
  }
  JAXCT_HD friend bool operator<(Dual a, Dual b) { return a.value < b.value; }
  JAXCT_HD friend bool operator>(Dual a, Dual b) { return a.value > b.value; }
  JAXCT_HD friend bool operator<=(Dual a, Dual b) { return a.value <= b.value; }
  JAXCT_HD friend bool operator==(Dual a, Dual b) { return a.value == b.value; }
};

template <typename T, typename V>
struct Epsilon<Dual<T, V>> : Epsilon<T> {};

// Of equals the mean moves: of two that are sorted neither counts twice.
template <typename T, typename V>
JAXCT_HD Dual<T, V> min_of(Dual<T, V> a, Dual<T, V> b) {
  if (a == b) return {a.value, T(0.5) * (a.tangent + b.tangent)};
  return b < a ? b : a;
}

template <typename T, typename V>
JAXCT_HD Dual<T, V> max_of(Dual<T, V> a, Dual<T, V> b) {
  if (a == b) return {a.value, T(0.5) * (a.tangent + b.tangent)};
  return a < b ? b : a;
}

template <typename T, typename V>
JAXCT_HD Dual<T, V> abs_of(Dual<T, V> x) {
  return x.value < T(0) ? -x : x;
}

template <typename T, typename V>
JAXCT_HD Dual<T, V> sqrt_of(Dual<T, V> x) {
  const T root = std::sqrt(x.value);
  return {root, root > T(0) ? x.tangent * T(0.5) / root : V(T(0))};
}

template <typename T, typename V>
JAXCT_HD Dual<T, V> cos_of(Dual<T, V> x) {
  return {std::cos(x.value), x.tangent * -std::sin(x.value)};
}

template <typename T, typename V>
JAXCT_HD Dual<T, V> sin_of(Dual<T, V> x) {
  return {std::sin(x.value), x.tangent * std::cos(x.value)};
}

template <typename T, typename V>
JAXCT_HD Dual<T, V> angle_of(Dual<T, V> y, Dual<T, V> x) {
  const T square = x.value * x.value + y.value * y.value;
  return {std::atan2(y.value, x.value), (y.tangent * x.value - y.value * x.tangent) / square};
}

template <typename T, typename V>
JAXCT_HD int32_t floor_index(Dual<T, V> x) {
  return floor_index(x.value);
}

// Values get the bits that they have without a derivative: cells and pixels are then the same.
template <typename T, typename V>
JAXCT_HD Dual<T, V> multiply_add(Dual<T, V> a, Dual<T, V> b, Dual<T, V> c) {
  return {multiply_add(a.value, b.value, c.value), a.tangent * b.value + a.value * b.tangent + c.tangent};
}
template <typename T>
JAXCT_HD Dual<T> multiply_add(Dual<T> a, T b, Dual<T> c) {
  return {multiply_add(a.value, b, c.value), multiply_add(a.tangent, b, c.tangent)};
}

template <typename T>
JAXCT_HD Dual<T> ratio(Dual<T> a, Dual<T> b) {
  const T quotient = ratio(a.value, b.value);
  return {quotient, ratio(a.tangent - quotient * b.tangent, b.value)};
}

// What an operator answers: a sum, or its derivative.
template <typename T>
JAXCT_HD T answer_of(T x) {
  return x;
}
template <typename T, typename V>
JAXCT_HD V answer_of(const Dual<T, V>& x) {
  return x.tangent;
}

// answer_of(a * b) + sum
template <typename T>
JAXCT_HD T add_answer(T a, T b, T sum) {
  return multiply_add(a, b, sum);
}
template <typename T>
JAXCT_HD T add_answer(Dual<T> a, Dual<T> b, T sum) {
  return multiply_add(a.tangent, b.value, multiply_add(a.value, b.tangent, sum));
}

// The value of a number that may have a derivative.
template <typename T>
JAXCT_HD T value_of(T x) {
  return x;
}
template <typename T, typename V>
JAXCT_HD T value_of(const Dual<T, V>& x) {
  return x.value;
}

// The type of its value.
template <typename T>
using Real = decltype(value_of(T()));

// The same number in double precision.
template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, Real<T>>, double, Dual<double>>;

JAXCT_NAMESPACE_END
