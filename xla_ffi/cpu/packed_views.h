#pragma once
// Views, one a lane.
#include "core/view.h"
#include "cpu/lanes.h"

JAXCT_NAMESPACE_BEGIN

namespace detail {

template <typename T, typename Field>
JAXCT_HD Lanes<T> pack(const View<T>* views, int n, Field field) {
  Lanes<T> lanes;
  for (int lane = 0; lane < kLanes<T>; ++lane) lanes.v[lane] = field(views[min_of(lane, n - 1)]);
  return lanes;
}

template <typename T>
JAXCT_HD Affine<Lanes<T>> pack(const View<T>* views, int n, Affine<T> View<T>::* field) {
  Affine<Lanes<T>> affine;
  affine.constant = pack(views, n, [=](const View<T>& v) { return (v.*field).constant; });
  for (int k = 0; k < 3; ++k) affine.slope[k] = pack(views, n, [=](const View<T>& v) { return (v.*field).slope[k]; });
  return affine;
}

template <typename T>
JAXCT_HD Lanes<T> pack(const View<T>* views, int n, T View<T>::* field) {
  return pack(views, n, [=](const View<T>& v) { return v.*field; });
}

}  // namespace detail

// Several views at once, one a lane, the last of n repeated where there are fewer: what turns a voxel into a place on
// the detector, and a pixel into its obliquity. Where rays run is not for such views; those fields are zero.
template <typename T>
JAXCT_HD View<Lanes<T>> pack_views(const View<T>* views, int n) {
  View<Lanes<T>> packed = {};
  packed.beam = views->beam;
  packed.planar = views->planar;
  packed.axial = views->axial;
  packed.row_middle = detail::pack(views, n, &View<T>::row_middle);
  packed.col_middle = detail::pack(views, n, &View<T>::col_middle);
  for (int k = 0; k < 3; ++k) {
    for (int i = 0; i < 3; ++i)
      packed.direction[i][k] = detail::pack(views, n, [=](const View<T>& v) { return v.direction[i][k]; });
    packed.voxel_size[k] = detail::pack(views, n, [k](const View<T>& v) { return v.voxel_size[k]; });
  }
  packed.inverse_distance = detail::pack(views, n, &View<T>::inverse_distance);
  packed.angle_step = detail::pack(views, n, &View<T>::angle_step);
  packed.row_shift = detail::pack(views, n, &View<T>::row_shift);
  packed.radius = detail::pack(views, n, &View<T>::radius);
  packed.area_ratio = detail::pack(views, n, &View<T>::area_ratio);
  packed.column_ratio = detail::pack(views, n, &View<T>::column_ratio);
  for (int k = 0; k < 3; ++k) packed.power[k] = detail::pack(views, n, [k](const View<T>& v) { return v.power[k]; });
  packed.across = detail::pack(views, n, &View<T>::across);
  packed.along = detail::pack(views, n, &View<T>::along);
  packed.depth = detail::pack(views, n, &View<T>::depth);
  return packed;
}

JAXCT_NAMESPACE_END
