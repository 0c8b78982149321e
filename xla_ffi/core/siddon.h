#pragma once
// Siddon (1985): the exact length of the ray inside each voxel. Within a slab a ray moves by at most one voxel in
// either minor axis, so it can cross only the face nearest to its middle: each axis is split into a lower and an upper
// part.
#include "core/ray_walk.h"

JAXCT_NAMESPACE_BEGIN

struct Siddon : LineModel {
  template <typename T>
  struct Split {
    T begin[2], end[2];  // of the lower and the upper cell, along the slab
  };

  // A ray that lies in the face itself belongs to the upper cell.
  template <typename T>
  JAXCT_HD static Split<T> split(T fraction, T slope, T begin, T end) {
    const auto falls = slope < T(0);
    // A slope of zero, of either sign, puts the face at an infinite distance; 0/0 is NaN, which `clamp` makes `begin`.
    const T face = clamp(T(0.5) + (T(0.5) - fraction) / select(falls, slope, abs_of(slope)), begin, end);
    return {{select(falls, face, begin), select(falls, begin, face)},
            {select(falls, end, face), select(falls, face, end)}};
  }

  template <typename T>
  JAXCT_HD static Stencil<T> stencil(const Slab<T>& s) {
    const Split<T> a = split(s.fraction_a, s.slope_a, s.begin, s.end);
    const Split<T> b = split(s.fraction_b, s.slope_b, s.begin, s.end);
    Stencil<T> out;
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j)
        out.weight[i][j] = max_of(T(0), min_of(a.end[i], b.end[j]) - max_of(a.begin[i], b.begin[j]));
    return out;
  }
};

JAXCT_NAMESPACE_END
