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

using Buffers = std::initializer_list<ffi::AnyBuffer>;

inline bool all_are(ffi::DataType type, Buffers buffers) {
  for (const ffi::AnyBuffer& buffer : buffers)
    if (buffer.element_type() != type) return false;
  return true;
}

inline std::string type_names(Buffers buffers) {
  std::string names;
  for (const ffi::AnyBuffer& buffer : buffers) names += (names.empty() ? "" : ", ") + type_name(buffer);
  return names;
}

inline ffi::Error check_batch_axes(int64_t axes) {
  if (axes <= kMaxBatchAxes) return ffi::Error::Success();
  return ffi::Error::InvalidArgument("jaxct: at most " + std::to_string(kMaxBatchAxes) +
                                     " nested vmaps are supported on CUDA, got " + std::to_string(axes));
}

// What a call on beams and one on lines of response differ in: what it is decoded to; the types of its operands and
// results, of which `data` are volumes, projections and gradients; and what else its attributes say, once shapes have
// been checked.
template <typename Attributes>
struct Decoding;

template <>
struct Decoding<CallAttributes> {
  using Call = cuda::Call;

  // Data of 16 bits have their geometry in float32.
  static ffi::Error take_types(Buffers data, Buffers geometry, Call& call) {
    const ffi::DataType type = data.begin()->element_type();
    if (!find_type(type, call.type) || !all_are(type, data))
      return ffi::Error::InvalidArgument(
          "jaxct: input and result must have one dtype, float32, float64, float16 or bfloat16, got " +
          type_names(data));
    if (!all_are(call.type == DataType::kFloat64 ? ffi::F64 : ffi::F32, geometry))
      return ffi::Error::InvalidArgument(
          "jaxct: vectors and grid must be float64 for float64 data and float32 otherwise, got " +
          type_names(geometry));
    if (call.derivative != Derivative::kNone && is_16_bit(call.type))
      return ffi::Error::InvalidArgument("jaxct: derivatives by the geometry take float32 and float64");
    return ffi::Error::Success();
  }

  static void take_attributes(const CallAttributes& a, Dimensions vectors, Call& call) {
    call.fast = a.fast != 0;
    call.scan = scan_of(a, vectors[vectors.size() - 3]);
  }

  // Whether the items of a batch may be taken for slices of one volume.
  static bool as_slices(const Call& call) { return call.scan.planar && call.derivative == Derivative::kNone; }
};

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
template <typename Call, typename Run>
ffi::Error run_planned(Call& call, ffi::AnyBuffer workspace, Run&& run) {
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

template <typename Attributes, typename Run>
ffi::Error run_checked(Model model, Direction direction, Derivative derivative, Attributes a, ffi::AnyBuffer in,
                       ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::AnyBuffer out, ffi::AnyBuffer workspace,
                       Run&& run) {
  Dimensions vector_dims = vectors.dimensions(), grid_dims = grid.dimensions();
  if (derivative == Derivative::kTangent)
    for (Dimensions* dims : {&vector_dims, &grid_dims})
      if (auto e = drop_pairs(*dims); e.failure()) return e;
  if (auto e = check_batch_axes(a.batch_axes); e.failure()) return e;
  if (auto e = check_call(a, direction, in.dimensions(), vector_dims, grid_dims, out.dimensions()); e.failure())
    return e;
  using Decode = Decoding<Attributes>;
  typename Decode::Call call{};
  call.model = model;
  call.direction = direction;
  call.derivative = derivative;
  if (auto e = Decode::take_types({in, out}, {vectors, grid}, call); e.failure()) return e;
  Decode::take_attributes(a, vector_dims, call);
  call.plan = plan_batch(Decode::as_slices(call), static_cast<int>(a.batch_axes), in.dimensions().begin(),
                         vector_dims.begin(), grid_dims.begin());
  call.in = in.untyped_data();
  call.vectors = vectors.untyped_data();
  call.grid = grid.untyped_data();
  call.out = out.untyped_data();
  return run_planned(call, workspace, run);
}

template <typename Attributes, typename Run>
ffi::Error run_checked_gradient(Model model, Attributes a, ffi::AnyBuffer volume, ffi::AnyBuffer projections,
                                ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::AnyBuffer by_vectors,
                                ffi::AnyBuffer by_grid, ffi::AnyBuffer workspace, Run&& run) {
  if (auto e = check_batch_axes(a.batch_axes); e.failure()) return e;
  if (auto e = check_gradient(a, volume.dimensions(), projections.dimensions(), vectors.dimensions(), grid.dimensions(),
                              by_vectors.dimensions(), by_grid.dimensions());
      e.failure())
    return e;
  using Decode = Decoding<Attributes>;
  typename Decode::Call call{};
  call.model = model;
  call.direction = Direction::kForward;
  call.derivative = Derivative::kGradient;
  if (auto e = Decode::take_types({volume, projections, by_vectors, by_grid}, {vectors, grid}, call); e.failure())
    return e;
  Decode::take_attributes(a, vectors.dimensions(), call);
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
