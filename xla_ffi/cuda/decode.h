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

// run(call) says what went wrong, or nothing.
template <typename Run>
ffi::Error run_checked(Model model, Direction direction, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                       ffi::AnyBuffer grid, ffi::AnyBuffer out, ffi::AnyBuffer workspace, Run&& run) {
  const Dimensions vector_dims = vectors.dimensions();
  if (auto e = check_call(a, direction, in.dimensions(), vector_dims, grid.dimensions(), out.dimensions()); e.failure())
    return e;
  cuda::Call call{};
  if (auto e = check_types(in, vectors, grid, out, call.type); e.failure()) return e;
  if (a.batch_axes > kMaxBatchAxes)
    return ffi::Error::InvalidArgument("jaxct: at most " + std::to_string(kMaxBatchAxes) +
                                       " nested vmaps are supported on CUDA, got " + std::to_string(a.batch_axes));
  call.model = model;
  call.direction = direction;
  call.fast = a.fast != 0;
  call.scan = scan_of(a, vector_dims[vector_dims.size() - 3]);
  call.plan = plan_batch(call.scan.planar, static_cast<int>(a.batch_axes), in.dimensions().begin(), vector_dims.begin(),
                         grid.dimensions().begin());
  call.in = in.untyped_data();
  call.vectors = vectors.untyped_data();
  call.grid = grid.untyped_data();
  call.out = out.untyped_data();
  call.workspace = workspace.untyped_data();
  const int64_t needed = plan_workspace(call.request()).bytes;
  if (static_cast<int64_t>(workspace.size_bytes()) < needed)
    return ffi::Error::InvalidArgument("jaxct: the call needs a workspace of " + std::to_string(needed) +
                                       " bytes, got " + std::to_string(workspace.size_bytes()) +
                                       ": the CPU and CUDA modules are of different builds");
  if (out.element_count() == 0) return ffi::Error::Success();
  if (const std::string trouble = run(call); !trouble.empty())
    return ffi::Error::Internal("jaxct: CUDA launch failed: " + trouble);
  return ffi::Error::Success();
}

}  // namespace jaxct::cuda_ffi
