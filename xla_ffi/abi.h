#pragma once
// The FFI face shared by the CPU and CUDA handlers: the attributes of a call and the checks of its operands.
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "core/scan.h"
#include "operators.h"
#include "xla/ffi/api/ffi.h"

namespace jaxct {

// One Python dict, `scan={...}`. The first `batch_axes` axes of every operand have size 1 (shared) or N (mapped).
struct CallAttributes {
  int64_t rows, cols, nz, ny, nx;
  int64_t beam, planar, magnification_power, fast, batch_axes;
};

using Dimensions = xla::ffi::Span<const int64_t>;

inline std::string to_string(Dimensions d) {
  std::string s = "(";
  for (size_t i = 0; i < d.size(); ++i) s += (i > 0 ? ", " : "") + std::to_string(d[i]);
  return s + ")";
}

// Which item of an operand belongs to item b of the result, when leading axes of size 1 are shared.
inline int64_t operand_item(int64_t b, Dimensions result, Dimensions operand, int64_t batch_axes) {
  int64_t item = 0, stride = 1;
  for (int64_t k = batch_axes - 1; k >= 0; --k) {
    const auto i = static_cast<size_t>(k);
    if (operand[i] != 1) item += (b % result[i]) * stride;
    b /= result[i];
    stride *= operand[i];
  }
  return item;
}

inline int64_t batch_size(Dimensions result, int64_t batch_axes) {
  int64_t n = 1;
  for (int64_t k = 0; k < batch_axes; ++k) n *= result[static_cast<size_t>(k)];
  return n;
}

inline std::vector<int64_t> volume_shape(const CallAttributes& a) {
  return a.planar ? std::vector<int64_t>{a.ny, a.nx} : std::vector<int64_t>{a.nz, a.ny, a.nx};
}

inline std::vector<int64_t> projections_shape(const CallAttributes& a, int64_t views) {
  return a.planar ? std::vector<int64_t>{views, a.cols} : std::vector<int64_t>{views, a.rows, a.cols};
}

inline xla::ffi::Error check_attributes(const CallAttributes& a) {
  constexpr int64_t kMaxAxis = int64_t{1} << 30;
  for (int64_t n : {a.rows, a.cols, a.nz, a.ny, a.nx})
    if (n < 1 || n > kMaxAxis)
      return xla::ffi::Error::InvalidArgument("jaxct: axis lengths must lie between 1 and 2^30, got " +
                                              std::to_string(n));
  if (a.beam < 0 || a.beam > 2 || a.magnification_power < 0 || a.magnification_power > 2 || a.batch_axes < 0 ||
      (a.planar && (a.rows != 1 || a.nz != 1)))
    return xla::ffi::Error::InvalidArgument("jaxct: inconsistent attributes");
  return xla::ffi::Error::Success();
}

// Trailing axes as wanted, leading axes 1 or the result's.
inline xla::ffi::Error check_operand(const char* name, Dimensions dims, const std::vector<int64_t>& wanted,
                                     Dimensions result, int64_t batch_axes) {
  const auto nb = static_cast<size_t>(batch_axes);
  bool ok = dims.size() == nb + wanted.size() && result.size() >= nb;
  for (size_t i = 0; ok && i < wanted.size(); ++i) ok = dims[nb + i] == wanted[i];
  for (size_t i = 0; ok && i < nb; ++i) ok = dims[i] == 1 || dims[i] == result[i];
  if (ok) return xla::ffi::Error::Success();
  return xla::ffi::Error::InvalidArgument(std::string("jaxct: ") + name + " has shape " + to_string(dims) +
                                          ", which does not fit a result of shape " + to_string(result) + " with " +
                                          std::to_string(batch_axes) + " batch axes");
}

inline xla::ffi::Error check_views(Dimensions vectors) {
  if (vectors.size() >= 3 && vectors[vectors.size() - 3] > 0) return xla::ffi::Error::Success();
  return xla::ffi::Error::InvalidArgument("jaxct: vectors must end in (views, 4, 3) with at least one view, got " +
                                          to_string(vectors));
}

// Attributes and shapes of a call. Everything after may rely on them.
inline xla::ffi::Error check_call(const CallAttributes& a, Direction direction, Dimensions in, Dimensions vectors,
                                  Dimensions grid, Dimensions result) {
  if (auto e = check_views(vectors); e.failure()) return e;
  const int64_t views = vectors[vectors.size() - 3];
  const bool forward = direction == Direction::kForward;
  const auto volume = volume_shape(a), projections = projections_shape(a, views);
  if (auto e = check_attributes(a); e.failure()) return e;
  if (auto e = check_operand("input", in, forward ? volume : projections, result, a.batch_axes); e.failure()) return e;
  if (auto e = check_operand("vectors", vectors, {views, 4, 3}, result, a.batch_axes); e.failure()) return e;
  if (auto e = check_operand("grid", grid, {2, 3}, result, a.batch_axes); e.failure()) return e;
  return check_operand("result", result, forward ? projections : volume, result, a.batch_axes);
}

// The same of a gradient by the geometry.
inline xla::ffi::Error check_gradient(const CallAttributes& a, Dimensions volume, Dimensions projections,
                                      Dimensions vectors, Dimensions grid, Dimensions vectors_bar,
                                      Dimensions grid_bar) {
  if (auto e = check_views(vectors); e.failure()) return e;
  const int64_t views = vectors[vectors.size() - 3];
  if (auto e = check_attributes(a); e.failure()) return e;
  const auto check = [&](const char* name, Dimensions dims, const std::vector<int64_t>& shape) {
    return check_operand(name, dims, shape, vectors_bar, a.batch_axes);
  };
  if (auto e = check("volume", volume, volume_shape(a)); e.failure()) return e;
  if (auto e = check("projections", projections, projections_shape(a, views)); e.failure()) return e;
  if (auto e = check("vectors", vectors, {views, 4, 3}); e.failure()) return e;
  if (auto e = check("grid", grid, {2, 3}); e.failure()) return e;
  if (auto e = check("gradient by the vectors", vectors_bar, {views, 4, 3}); e.failure()) return e;
  if (auto e = check("gradient by the grid", grid_bar, {2, 3}); e.failure()) return e;
  if (batch_size(grid_bar, a.batch_axes) != batch_size(vectors_bar, a.batch_axes))
    return xla::ffi::Error::InvalidArgument("jaxct: the gradients must have the same batch axes");
  return xla::ffi::Error::Success();
}

inline Scan scan_of(const CallAttributes& a, int64_t views) {
  return {views, a.rows, a.cols, a.nz, a.ny, a.nx, static_cast<Beam>(a.beam), a.planar != 0, a.magnification_power};
}

// Adds operands, then results. Bindings can't be moved by others.
template <size_t kOperands, size_t kResults, typename Binding>
auto with_buffers(Binding&& binding) {
  if constexpr (kOperands > 0)
    return with_buffers<kOperands - 1, kResults>(std::move(binding).template Arg<xla::ffi::AnyBuffer>());
  else if constexpr (kResults > 1)
    return with_buffers<0, kResults - 1>(std::move(binding).template Ret<xla::ffi::AnyBuffer>());
  else
    return std::move(binding).template Ret<xla::ffi::AnyBuffer>();
}

// No exception may cross into XLA.
template <typename Body>
xla::ffi::Error without_exceptions(Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return xla::ffi::Error(xla::ffi::ErrorCode::kResourceExhausted, "jaxct: out of memory");
  } catch (const std::exception& error) {
    return xla::ffi::Error::Internal(std::string("jaxct: ") + error.what());
  }
}

}  // namespace jaxct

XLA_FFI_REGISTER_STRUCT_ATTR_DECODING(jaxct::CallAttributes, xla::ffi::StructMember<int64_t>("rows"),
                                      xla::ffi::StructMember<int64_t>("cols"), xla::ffi::StructMember<int64_t>("nz"),
                                      xla::ffi::StructMember<int64_t>("ny"), xla::ffi::StructMember<int64_t>("nx"),
                                      xla::ffi::StructMember<int64_t>("beam"),
                                      xla::ffi::StructMember<int64_t>("planar"),
                                      xla::ffi::StructMember<int64_t>("magnification_power"),
                                      xla::ffi::StructMember<int64_t>("fast"),
                                      xla::ffi::StructMember<int64_t>("batch_axes"));
