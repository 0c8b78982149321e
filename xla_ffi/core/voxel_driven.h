#pragma once
// Voxel driven: linear interpolation at the projection of the voxel's centre, times a power of the magnification
// (2 is the weight of Feldkamp, Davis and Kress).
#include "core/separable.h"

JAXCT_NAMESPACE_BEGIN

struct VoxelDriven {
  template <typename T>
  using Column = Hat<T>;
  template <typename T>
  using Row = Hat<T>;

  static constexpr bool kObliquity = false;

  template <typename T>
  JAXCT_HD static T weight(const Scan& scan, T magnification) {
    return scan.magnification_power == 2 ? magnification * magnification
                                         : (scan.magnification_power == 1 ? magnification : T(1));
  }

  template <typename T>
  JAXCT_HD static SeparableVoxel<Hat<T>, Hat<T>, T> make_voxel(const Scan& scan, const View<T>& view,
                                                               const Vec3<T>& q) {
    const T across = view.across(q), depth = view.depth(q);
    const T m = magnification(view, view.beam, across, depth);
    return {{column_of(view, view.beam, across, depth) + T(0.5)},
            {row_of(view, view.along(q), m) + T(0.5)},
            depth > T(0) ? weight(scan, m) : T(0)};
  }

  template <typename T>
  JAXCT_HD static AxialColumn<Hat<T>, T> make_column(const Scan& scan, const View<T>& view, Beam beam, T y, T x) {
    const Vec3<T> foot = {{-T(0.5) * static_cast<T>(scan.nz - 1), y, x}};
    const T across = view.across(foot), true_depth = view.depth(foot);
    const bool in_front = true_depth > T(0);
    const T depth = in_front ? true_depth : T(1);
    const T m = magnification(view, beam, across, depth);
    return {{column_of(view, beam, across, depth) + T(0.5)},
            row_of(view, view.along(foot), m) + T(0.5),
            view.along.slope[0] * m,
            in_front ? weight(scan, m) : T(0)};
  }

  template <typename T>
  JAXCT_HD static Hat<T> row_at(T edge, T slope, int32_t z) {
    return {edge + slope * static_cast<T>(z)};
  }
};

JAXCT_NAMESPACE_END
