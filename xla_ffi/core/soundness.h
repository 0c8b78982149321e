#pragma once
// What makes a geometry unusable. Python looks at concrete values; traced ones are only seen here.
#include "core/view.h"

JAXCT_NAMESPACE_BEGIN

enum class Fault { kNone, kGrid, kNotFinite, kDegenerate, kSourceInside, kNotTangent, kRowsFarFromZ };

namespace detail {

JAXCT_HD bool is_finite(double x) { return std::abs(x) < HUGE_VAL; }

JAXCT_HD bool is_finite(const Vec3<double>& v) { return is_finite(v[0]) && is_finite(v[1]) && is_finite(v[2]); }

JAXCT_HD bool is_inside(const Scan& scan, const GridVectors& grid, const Vec3<double>& point) {
  for (int i = 0; i < 3; ++i)
    if (std::abs(point[i] - grid.center[i]) >= 0.5 * static_cast<double>(scan.size(i)) * grid.voxel_size[i])
      return false;
  return true;
}

}  // namespace detail

JAXCT_HD Fault find_fault(const GridVectors& grid) {
  for (int i = 0; i < 3; ++i)
    if (!(grid.voxel_size[i] > 0.0) || !detail::is_finite(grid.voxel_size[i]) || !detail::is_finite(grid.center[i]))
      return Fault::kGrid;
  return Fault::kNone;
}

// Of one view, the grid being sound. `footprint`: the model takes a voxel's z extent for its rows.
JAXCT_HD Fault find_fault(const Scan& scan, const ViewVectors& view, const GridVectors& grid, bool footprint) {
  if (!detail::is_finite(view.anchor) || !detail::is_finite(view.center) || !detail::is_finite(view.row_axis) ||
      !detail::is_finite(view.col_axis))
    return Fault::kNotFinite;
  if (is_degenerate(scan, view)) return Fault::kDegenerate;
  if (scan.beam != Beam::kParallel && detail::is_inside(scan, grid, view.anchor)) return Fault::kSourceInside;
  if (scan.beam == Beam::kCurvedCone && !is_tangent(view)) return Fault::kNotTangent;
  if (footprint && !rows_near_z(view.row_axis)) return Fault::kRowsFarFromZ;
  return Fault::kNone;
}

JAXCT_NAMESPACE_END
