#pragma once
// Joseph (1982): bilinear interpolation in the plane of voxel centres, times the path length per slab.
#include "core/ray_walk.h"

JAXCT_NAMESPACE_BEGIN

struct Joseph : LineModel {
  template <typename T>
  JAXCT_HD static Stencil<T> stencil(const Slab<T>& s) {
    const auto ahead = (s.begin < T(0.5)) & (s.end > T(0.5));
    const T a1 = select(ahead, s.fraction_a, T(0));
    const T a0 = select(ahead, T(1) - s.fraction_a, T(0));
    const T b1 = s.fraction_b;
    const T b0 = T(1) - s.fraction_b;
    return {{{a0 * b0, a0 * b1}, {a1 * b0, a1 * b1}}};
  }

  // Its derivatives by the fractions.
  template <typename T>
  JAXCT_HD static void stencil_by(const Slab<T>& s, Stencil<T>& by_a, Stencil<T>& by_b) {
    const auto ahead = (s.begin < T(0.5)) & (s.end > T(0.5));
    const T one = select(ahead, T(1), T(0));
    const T a1 = select(ahead, s.fraction_a, T(0)), b1 = one * s.fraction_b;
    const T a0 = one - a1, b0 = one - b1;
    by_a = {{{-b0, -b1}, {b0, b1}}};
    by_b = {{{-a0, a0}, {-a1, a1}}};
  }

  // In 2-D: of a cell, `distance` from where a ray crosses the middle of its slab. At most 1.
  template <typename T>
  JAXCT_HD static T cell_weight(T distance) {
    return T(1) - distance;
  }
};

JAXCT_NAMESPACE_END
