#pragma once
// From the buffers and attributes of an XLA call to a Call that can be run; for the CUDA handlers, and for tests that
// run the kernels on the host.
#include <sstream>
#include <string>

#include "abi.h"
#include "cuda/call.h"

namespace jaxct::cuda_ffi {

namespace ffi = xla::ffi;

inline bool find_type(ffi::DataType type, DataType& found) {
  switch (type) {
    case ffi::F32:
      found = DataType::kFloat32;
      return true;
    case ffi::F64:
      found = DataType::kFloat64;
      return true;
    case ffi::F16:
      found = DataType::kFloat16;
      return true;
    case ffi::BF16:
      found = DataType::kBfloat16;
      return true;
    default:
      return false;
  }
}

inline std::string type_name(const ffi::AnyBuffer& buffer) {
  std::ostringstream text;
  text << buffer.element_type();
  return text.str();
}

// Types of a call: 16-bit data have their geometry in float32.
inline ffi::Error check_types(ffi::AnyBuffer in, ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::AnyBuffer out,
                              DataType& type) {
  if (!find_type(out.element_type(), type) || in.element_type() != out.element_type())
    return ffi::Error::InvalidArgument(
        "jaxct: input and result must have one dtype, float32, float64, float16 or bfloat16, got " + type_name(in) +
        " and " + type_name(out));
  const ffi::DataType geometry = type == DataType::kFloat64 ? ffi::F64 : ffi::F32;
  if (vectors.element_type() != geometry || grid.element_type() != geometry)
    return ffi::Error::InvalidArgument(
        "jaxct: vectors and grid must be float64 for float64 data and float32 otherwise, got " + type_name(vectors) +
        " and " + type_name(grid));
  return ffi::Error::Success();
}

inline ffi::Error check_batch_axes(int64_t axes) {
  if (axes <= kMaxBatchAxes) return ffi::Error::Success();
  return ffi::Error::InvalidArgument("jaxct: at most " + std::to_string(kMaxBatchAxes) +
                                     " nested vmaps are supported on CUDA, got " + std::to_string(axes));
}

// What is not a buffer's, once attributes, shapes and types have been checked.
inline ffi::Error describe_call(Model model, Direction direction, Derivative derivative, const CallAttributes& a,
                                Dimensions vectors, DataType type, cuda::Call& call) {
  if (auto e = check_batch_axes(a.batch_axes); e.failure()) return e;
  if (derivative != Derivative::kNone && is_16_bit(type))
    return ffi::Error::InvalidArgument("jaxct: derivatives by the geometry take float32 and float64");
  call.model = model;
  call.direction = direction;
  call.derivative = derivative;
  call.type = type;
  call.fast = a.fast != 0;
  call.scan = scan_of(a, vectors[vectors.size() - 3]);
  return ffi::Error::Success();
}

inline ffi::Error check_workspace(int64_t needed, ffi::AnyBuffer workspace) {
  if (static_cast<int64_t>(workspace.size_bytes()) >= needed) return ffi::Error::Success();
  return ffi::Error::InvalidArgument("jaxct: the call needs a workspace of " + std::to_string(needed) + " bytes, got " +
                                     std::to_string(workspace.size_bytes()) +
                                     ": the CPU and CUDA modules are of different builds");
}

inline ffi::Error error_of_launch(const std::string& trouble) {
  return trouble.empty() ? ffi::Error::Success() : ffi::Error::Internal("jaxct: CUDA launch failed: " + trouble);
}

// run(call) says what went wrong, or nothing.
template <typename Run>
ffi::Error run_planned(cuda::Call& call, ffi::AnyBuffer workspace, Run&& run) {
  call.workspace = workspace.untyped_data();
  if (auto e = check_workspace(plan_workspace(call.request()).bytes, workspace); e.failure()) return e;
  return call.plan.results == 0 ? ffi::Error::Success() : error_of_launch(run(call));
}

// The dimensions of an operand of numbers and their tangents, which lie next to each other, without the axis of these.
inline ffi::Error drop_pairs(Dimensions& dims) {
  if (dims.size() == 0 || dims[dims.size() - 1] != 2)
    return ffi::Error::InvalidArgument("jaxct: numbers with their tangents have a last axis of 2, got " +
                                       to_string(dims));
  dims = Dimensions(dims.begin(), dims.size() - 1);
  return ffi::Error::Success();
}

template <typename Run>
ffi::Error run_checked(Model model, Direction direction, Derivative derivative, CallAttributes a, ffi::AnyBuffer in,
                       ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::AnyBuffer out, ffi::AnyBuffer workspace,
                       Run&& run) {
  Dimensions vector_dims = vectors.dimensions(), grid_dims = grid.dimensions();
  if (derivative == Derivative::kTangent)
    for (Dimensions* dims : {&vector_dims, &grid_dims})
      if (auto e = drop_pairs(*dims); e.failure()) return e;
  if (auto e = check_call(a, direction, in.dimensions(), vector_dims, grid_dims, out.dimensions()); e.failure())
    return e;
  DataType type{};
  if (auto e = check_types(in, vectors, grid, out, type); e.failure()) return e;
  cuda::Call call{};
  if (auto e = describe_call(model, direction, derivative, a, vector_dims, type, call); e.failure()) return e;
  call.plan = plan_batch(call.scan.planar && derivative == Derivative::kNone, static_cast<int>(a.batch_axes),
                         in.dimensions().begin(), vector_dims.begin(), grid_dims.begin());
  call.in = in.untyped_data();
  call.vectors = vectors.untyped_data();
  call.grid = grid.untyped_data();
  call.out = out.untyped_data();
  return run_planned(call, workspace, run);
}

template <typename Run>
ffi::Error run_checked_gradient(Model model, CallAttributes a, ffi::AnyBuffer volume, ffi::AnyBuffer projections,
                                ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::AnyBuffer by_vectors,
                                ffi::AnyBuffer by_grid, ffi::AnyBuffer workspace, Run&& run) {
  if (auto e = check_gradient(a, volume.dimensions(), projections.dimensions(), vectors.dimensions(), grid.dimensions(),
                              by_vectors.dimensions(), by_grid.dimensions());
      e.failure())
    return e;
  DataType type{};
  if (auto e = check_types(volume, vectors, grid, by_vectors, type); e.failure()) return e;
  if (auto e = check_types(projections, vectors, grid, by_grid, type); e.failure()) return e;
  cuda::Call call{};
  if (auto e = describe_call(model, Direction::kForward, Derivative::kGradient, a, vectors.dimensions(), type, call);
      e.failure())
    return e;
  const auto plan_for = [&](ffi::AnyBuffer data, ffi::AnyBuffer other) {
    return plan_batch(false, static_cast<int>(a.batch_axes), data.dimensions().begin(), vectors.dimensions().begin(),
                      grid.dimensions().begin(), other.dimensions().begin());
  };
  call.plan = plan_for(volume, projections);
  call.projections_batch = plan_for(projections, volume).batch;
  call.in = volume.untyped_data();
  call.projections = projections.untyped_data();
  call.vectors = vectors.untyped_data();
  call.grid = grid.untyped_data();
  call.out = by_vectors.untyped_data();
  call.by_grid = by_grid.untyped_data();
  return run_planned(call, workspace, run);
}

}  // namespace jaxct::cuda_ffi
