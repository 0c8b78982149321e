#pragma once
// As abi.h, for lines of response.
#include "abi.h"
#include "core/lor.h"

namespace jaxct {

// One Python dict, `scan={...}`.
struct LorAttributes {
  int64_t kind, planes, bins, axial_rays, tangential_rays, tof_bins, nz, ny, nx, batch_axes;
  double num_sigmas;
};

inline LorScan scan_of(const LorAttributes& a, int64_t views) {
  return {static_cast<Lines>(a.kind),
          views,
          a.planes,
          a.bins,
          a.axial_rays,
          a.tangential_rays,
          a.tof_bins,
          a.nz,
          a.ny,
          a.nx,
          a.num_sigmas};
}

inline xla::ffi::Error check_attributes(const LorAttributes& a) {
  constexpr int64_t kMaxAxis = int64_t{1} << 30, kMaxRays = 1024;
  for (int64_t n : {a.planes, a.bins, a.nz, a.ny, a.nx})
    if (n < 1 || n > kMaxAxis)
      return xla::ffi::Error::InvalidArgument("jaxct: axis lengths must lie between 1 and 2^30, got " +
                                              std::to_string(n));
  const bool events = a.kind == static_cast<int64_t>(Lines::kEvents);
  if (a.kind < 0 || a.kind > 2 || a.axial_rays < 1 || a.axial_rays > kMaxRays || a.tangential_rays < 1 ||
      a.tangential_rays > kMaxRays || a.tof_bins < 0 || a.tof_bins > kMaxAxis || a.batch_axes < 0 ||
      (events && a.tof_bins == 0) || (a.tof_bins > 0 && !(a.num_sigmas > 0.0)) ||
      (a.kind != static_cast<int64_t>(Lines::kSinogram) && (a.planes != 1 || a.bins != 1)))
    return xla::ffi::Error::InvalidArgument("jaxct: inconsistent attributes");
  return xla::ffi::Error::Success();
}

inline std::vector<int64_t> projections_shape(const LorScan& scan) {
  std::vector<int64_t> shape = {scan.views};
  if (scan.kind == Lines::kSinogram) shape.insert(shape.end(), {scan.planes, scan.bins});
  if (scan.kind != Lines::kEvents && scan.tof_bins > 0) shape.push_back(scan.tof_bins);
  return shape;
}

inline std::vector<int64_t> volume_shape(const LorScan& scan) { return {scan.nz, scan.ny, scan.nx}; }

inline int64_t num_views(Dimensions vectors) { return vectors.size() >= 2 ? vectors[vectors.size() - 2] : 0; }

// Attributes, and the shapes of vectors and grid or of what belongs to them. Everything after may rely on them.
inline xla::ffi::Error check_geometry(const LorAttributes& a, Dimensions vectors, Dimensions grid, Dimensions result) {
  if (num_views(vectors) < 1)
    return xla::ffi::Error::InvalidArgument("jaxct: vectors must end in (views, numbers) with at least one view, got " +
                                            to_string(vectors));
  const LorScan scan = scan_of(a, num_views(vectors));
  if (auto e = check_operand("vectors", vectors, {scan.views, scan.numbers()}, result, a.batch_axes); e.failure())
    return e;
  return check_operand("grid", grid, {3, 3}, result, a.batch_axes);
}

// The same of a call whose input is the volume or the projections, as the direction says.
inline xla::ffi::Error check_call(const LorAttributes& a, Direction direction, Dimensions in, Dimensions vectors,
                                  Dimensions grid, Dimensions result) {
  if (auto e = check_attributes(a); e.failure()) return e;
  if (auto e = check_geometry(a, vectors, grid, result); e.failure()) return e;
  const LorScan scan = scan_of(a, num_views(vectors));
  const bool forward = direction == Direction::kForward;
  const auto volume = volume_shape(scan), projections = projections_shape(scan);
  if (auto e = check_operand("input", in, forward ? volume : projections, result, a.batch_axes); e.failure()) return e;
  return check_operand("result", result, forward ? projections : volume, result, a.batch_axes);
}

// The same of a gradient by the geometry.
inline xla::ffi::Error check_gradient(const LorAttributes& a, Dimensions volume, Dimensions projections,
                                      Dimensions vectors, Dimensions grid, Dimensions vectors_bar,
                                      Dimensions grid_bar) {
  if (auto e = check_attributes(a); e.failure()) return e;
  if (auto e = check_geometry(a, vectors, grid, vectors_bar); e.failure()) return e;
  if (auto e = check_geometry(a, vectors_bar, grid_bar, vectors_bar); e.failure()) return e;
  const LorScan scan = scan_of(a, num_views(vectors));
  if (auto e = check_operand("volume", volume, volume_shape(scan), vectors_bar, a.batch_axes); e.failure()) return e;
  if (auto e = check_operand("projections", projections, projections_shape(scan), vectors_bar, a.batch_axes);
      e.failure())
    return e;
  if (num_views(vectors_bar) != scan.views ||
      batch_size(grid_bar, a.batch_axes) != batch_size(vectors_bar, a.batch_axes))
    return xla::ffi::Error::InvalidArgument(
        "jaxct: the gradients must have the same batch axes, and one row for each view");
  return xla::ffi::Error::Success();
}

}  // namespace jaxct

XLA_FFI_REGISTER_STRUCT_ATTR_DECODING(
    jaxct::LorAttributes, xla::ffi::StructMember<int64_t>("kind"), xla::ffi::StructMember<int64_t>("planes"),
    xla::ffi::StructMember<int64_t>("bins"), xla::ffi::StructMember<int64_t>("axial_rays"),
    xla::ffi::StructMember<int64_t>("tangential_rays"), xla::ffi::StructMember<int64_t>("tof_bins"),
    xla::ffi::StructMember<int64_t>("nz"), xla::ffi::StructMember<int64_t>("ny"), xla::ffi::StructMember<int64_t>("nx"),
    xla::ffi::StructMember<int64_t>("batch_axes"), xla::ffi::StructMember<double>("num_sigmas"));
