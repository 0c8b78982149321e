#pragma once
// Three components in array order (z, y, x).
#include <cmath>

#include "core/scalar.h"

JAXCT_NAMESPACE_BEGIN

template <typename T>
struct Vec3 {
  T c[3];

  JAXCT_HD T& operator[](int i) { return c[i]; }
  JAXCT_HD const T& operator[](int i) const { return c[i]; }

  template <typename U>
  JAXCT_HD Vec3<U> as() const {
    return {{static_cast<U>(c[0]), static_cast<U>(c[1]), static_cast<U>(c[2])}};
  }
};

template <typename T>
JAXCT_HD Vec3<T> operator+(const Vec3<T>& a, const Vec3<T>& b) {
  return {{a[0] + b[0], a[1] + b[1], a[2] + b[2]}};
}

template <typename T>
JAXCT_HD Vec3<T> operator-(const Vec3<T>& a, const Vec3<T>& b) {
  return {{a[0] - b[0], a[1] - b[1], a[2] - b[2]}};
}

template <typename T>
JAXCT_HD Vec3<T> operator*(T s, const Vec3<T>& a) {
  return {{s * a[0], s * a[1], s * a[2]}};
}

// Component by component: world lengths to voxel units and back.
template <typename T>
JAXCT_HD Vec3<T> operator*(const Vec3<T>& a, const Vec3<T>& b) {
  return {{a[0] * b[0], a[1] * b[1], a[2] * b[2]}};
}

template <typename T>
JAXCT_HD Vec3<T> operator/(const Vec3<T>& a, const Vec3<T>& b) {
  return {{a[0] / b[0], a[1] / b[1], a[2] / b[2]}};
}

template <typename T>
JAXCT_HD T dot(const Vec3<T>& a, const Vec3<T>& b) {
  return multiply_add(a[2], b[2], multiply_add(a[1], b[1], a[0] * b[0]));
}

template <typename T>
JAXCT_HD T norm(const Vec3<T>& a) {
  return sqrt_of(dot(a, a));
}

template <typename T>
JAXCT_HD Vec3<T> cross(const Vec3<T>& a, const Vec3<T>& b) {
  return {{a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]}};
}

JAXCT_NAMESPACE_END
