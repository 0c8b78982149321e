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

  template <typename T>
  struct Edge {};

  static constexpr bool kObliquity = false;

  // A pixel has a weight where the voxel's centre falls within a pixel of its middle.
  template <typename T>
  JAXCT_HD static T pixel_reach() {
    return T(0.5);
  }
  template <typename T>
  JAXCT_HD static T voxel_reach() {
    return T(0);
  }

  template <typename T>
  JAXCT_HD static T weight(const View<T>& view, T m) {
    return view.power[0] + m * (view.power[1] + m * view.power[2]);
  }

  template <typename T>
  JAXCT_HD static SeparableVoxel<Hat<T>, Hat<T>, T> make_voxel(const Scan&, const View<T>& view, const Vec3<T>& q) {
    const T across = view.across(q), depth = view.depth(q);
    const T m = magnification(view, view.beam, across, depth);
    return {{column_of(view, view.beam, across, depth) + T(0.5)},
            {row_of(view, view.along(q), m) + T(0.5)},
            depth > T(0) ? weight(view, m) : T(0)};
  }

  template <typename T>
  JAXCT_HD static Edge<T> make_edge(const View<T>&, Beam, T, T) {
    return {};
  }

  template <typename T>
  JAXCT_HD static AxialColumn<Hat<T>, T> make_column(const Scan& scan, const View<T>& view, Beam beam, T y, T x,
                                                     const Edge<T>& = {}, const Edge<T>& = {}) {
    const Vec3<T> foot = {{-T(0.5) * static_cast<T>(scan.nz - 1), y, x}};
    // As in FootprintModel::make_column: selections, no branches.
    const T across = view.across(foot), along = view.along(foot), true_depth = view.depth(foot);
    const auto in_front = true_depth > T(0);
    const T depth = select(in_front, true_depth, T(1));
    const T m = magnification(view, beam, across, depth);
    const T distance_weight = weight(view, m);
    AxialColumn<Hat<T>, T> column;
    column.column.position = column_of(view, beam, across, depth) + T(0.5);
    column.edge = row_of(view, along, m) + T(0.5);
    column.slope = view.along.slope[0] * m;
    column.scale = select(in_front, distance_weight, T(0));
    return column;
  }

  template <typename T>
  JAXCT_HD static T row_weight(T edge, T slope, Index<T> z, Index<T> row) {
    return Hat<T>{multiply_add(slope, static_cast<T>(z), edge)}.weight(row);
  }
};

JAXCT_NAMESPACE_END
