#pragma once
// As decode.h, for lines of response.
#include "cuda/decode.h"
#include "cuda/lor_call.h"
#include "lor_abi.h"

namespace jaxct::cuda_ffi {

// All operands have one type.
inline ffi::Error check_lor_types(std::initializer_list<ffi::AnyBuffer> buffers, bool& wide) {
  const ffi::DataType type = buffers.begin()->element_type();
  wide = type == ffi::F64;
  bool same = wide || type == ffi::F32;
  for (const ffi::AnyBuffer& buffer : buffers) same = same && buffer.element_type() == type;
  if (same) return ffi::Error::Success();
  std::string names;
  for (const ffi::AnyBuffer& buffer : buffers) names += (names.empty() ? "" : ", ") + type_name(buffer);
  return ffi::Error::InvalidArgument("jaxct: operands and results must be all float32 or all float64, got " + names);
}

// run(call) says what went wrong, or nothing.
template <typename Run>
ffi::Error run_planned(cuda::LorCall& call, ffi::AnyBuffer workspace, Run&& run) {
  call.workspace = workspace.untyped_data();
  if (auto e = check_workspace(plan_workspace(call.request()).bytes, workspace); e.failure()) return e;
  return call.plan.results == 0 ? ffi::Error::Success() : error_of_launch(run(call));
}

template <typename Run>
ffi::Error run_checked(Model model, Direction direction, Derivative derivative, LorAttributes a, ffi::AnyBuffer in,
                       ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::AnyBuffer out, ffi::AnyBuffer workspace,
                       Run&& run) {
  Dimensions vector_dims = vectors.dimensions(), grid_dims = grid.dimensions();
  if (derivative == Derivative::kTangent)
    for (Dimensions* dims : {&vector_dims, &grid_dims})
      if (auto e = drop_pairs(*dims); e.failure()) return e;
  if (auto e = check_batch_axes(a.batch_axes); e.failure()) return e;
  if (auto e = check_call(a, direction, in.dimensions(), vector_dims, grid_dims, out.dimensions()); e.failure())
    return e;
  cuda::LorCall call{};
  if (auto e = check_lor_types({in, vectors, grid, out}, call.wide); e.failure()) return e;
  call.model = model;
  call.direction = direction;
  call.derivative = derivative;
  call.scan = scan_of(a, num_views(vector_dims));
  call.plan = plan_batch(false, static_cast<int>(a.batch_axes), in.dimensions().begin(), vector_dims.begin(),
                         grid_dims.begin());
  call.in = in.untyped_data();
  call.vectors = vectors.untyped_data();
  call.grid = grid.untyped_data();
  call.out = out.untyped_data();
  return run_planned(call, workspace, run);
}

template <typename Run>
ffi::Error run_checked_gradient(Model model, LorAttributes a, ffi::AnyBuffer volume, ffi::AnyBuffer projections,
                                ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::AnyBuffer by_vectors,
                                ffi::AnyBuffer by_grid, ffi::AnyBuffer workspace, Run&& run) {
  if (auto e = check_batch_axes(a.batch_axes); e.failure()) return e;
  if (auto e = check_gradient(a, volume.dimensions(), projections.dimensions(), vectors.dimensions(), grid.dimensions(),
                              by_vectors.dimensions(), by_grid.dimensions());
      e.failure())
    return e;
  cuda::LorCall call{};
  if (auto e = check_lor_types({volume, projections, vectors, grid, by_vectors, by_grid}, call.wide); e.failure())
    return e;
  const auto plan_for = [&](ffi::AnyBuffer data, ffi::AnyBuffer other) {
    return plan_batch(false, static_cast<int>(a.batch_axes), data.dimensions().begin(), vectors.dimensions().begin(),
                      grid.dimensions().begin(), other.dimensions().begin());
  };
  call.model = model;
  call.direction = Direction::kForward;
  call.derivative = Derivative::kGradient;
  call.scan = scan_of(a, num_views(vectors.dimensions()));
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
