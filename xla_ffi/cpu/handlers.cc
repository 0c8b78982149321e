// FFI handlers: decode, check, choose the instruction set, run.
#include "cpu/handlers.h"

#include <string>

#include "abi.h"
#include "core/soundness.h"
#include "cpu/calls.h"
#include "cpu/kernels.h"

namespace jaxct::cpu {
namespace {

const Kernels& kernels() {
#if defined(JAXCT_HAVE_AVX2)
  static const bool avx2 = has_avx2();
  if (avx2) return kernels_avx2();
#endif
  return kernels_baseline();
}

Status dispatch(Model model, Direction direction, const Call<float>& call, const Executor& executor) {
  return kernels().run_f32(model, direction, call, executor);
}

Status dispatch(Model model, Direction direction, const Call<double>& call, const Executor& executor) {
  return kernels().run_f64(model, direction, call, executor);
}

Status dispatch(Model model, Direction direction, const TangentCall<float>& call, const Executor& executor) {
  return kernels().tangent_f32(model, direction, call, executor);
}

Status dispatch(Model model, Direction direction, const TangentCall<double>& call, const Executor& executor) {
  return kernels().tangent_f64(model, direction, call, executor);
}

Status dispatch(Model model, const GradientCall<float>& call, const Executor& executor) {
  return kernels().gradient_f32(model, call, executor);
}

Status dispatch(Model model, const GradientCall<double>& call, const Executor& executor) {
  return kernels().gradient_f64(model, call, executor);
}

std::string describe(Fault fault) {
  switch (fault) {
    case Fault::kNone:
      return "";
    case Fault::kGrid:
      return "the grid's voxel_size must be positive and finite and its center finite";
    case Fault::kNotFinite:
      return "is not finite";
    case Fault::kDegenerate:
      return "is degenerate: its rays do not cross the detector's plane";
    case Fault::kSourceInside:
      return "has its source inside the volume";
    case Fault::kNotTangent:
      return "has a curved detector whose column axis is not tangent to the arc about the source";
    case Fault::kRowsFarFromZ:
      return "has a detector row axis too far from z for a footprint model; use model='joseph'";
  }
  return "";
}

// Empty where the geometry is sound.
template <typename T>
std::string find_faults(const Scan& scan, const T* vectors, const T* grid_values, Model model) {
  const GridVectors grid = unpack_grid(grid_values);
  if (const Fault fault = find_fault(grid); fault != Fault::kNone) return describe(fault);
  for (int64_t v = 0; v < scan.views; ++v)
    if (const Fault fault = find_fault(scan, unpack_view(vectors + v * 12), grid, is_footprint_model(model));
        fault != Fault::kNone)
      return "view " + std::to_string(v) + " of the geometry " + describe(fault);
  return "";
}

// What belongs to every item of a batch. `volume` and `projections` are null where the call has no such operand, and
// the item's own result then.
struct Operands {
  const ffi::AnyBuffer *volume, *projections;
  ffi::AnyBuffer vectors, grid;
};

// Items, and the first fault of their geometries; empty if all are sound.
template <typename T>
std::string list_items(Model model, const CallAttributes& a, const Operands& operands, Dimensions result,
                       std::vector<Item>& items) {
  const auto vector_dims = operands.vectors.dimensions();
  const int64_t views = vector_dims[vector_dims.size() - 3];
  const Scan scan = scan_of(a, views);
  std::string first_fault;
  items.resize(static_cast<size_t>(batch_size(result, a.batch_axes)));
  for (size_t i = 0; i < items.size(); ++i) {
    const auto b = static_cast<int64_t>(i);
    const auto place = [&](const ffi::AnyBuffer* operand) {
      return operand == nullptr ? b : operand_item(b, result, operand->dimensions(), a.batch_axes);
    };
    items[i] = {place(operands.volume), place(operands.projections), place(&operands.vectors), place(&operands.grid)};
    if (i > 0 && items[i].vectors == items[i - 1].vectors && items[i].grid == items[i - 1].grid) {
      items[i].sound = items[i - 1].sound;
      continue;
    }
    const std::string fault = find_faults(scan, operands.vectors.typed_data<T>() + items[i].vectors * views * 12,
                                          operands.grid.typed_data<T>() + items[i].grid * 6, model);
    items[i].sound = fault.empty();
    if (first_fault.empty()) first_fault = fault;
  }
  return first_fault;
}

template <typename T>
Call<T> call_of(const CallAttributes& a, const std::vector<Item>& items, const Operands& operands, const T* in,
                T* out) {
  const auto vector_dims = operands.vectors.dimensions();
  return {vector_dims[vector_dims.size() - 3],
          a.rows,
          a.cols,
          a.nz,
          a.ny,
          a.nx,
          a.beam,
          a.magnification_power,
          a.planar != 0,
          static_cast<int64_t>(items.size()),
          items.data(),
          operands.vectors.typed_data<T>(),
          operands.grid.typed_data<T>(),
          in,
          out};
}

template <Model kModel, Direction kDirection>
ffi::Error project(ffi::ThreadPool pool, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                   ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out) {
  if (auto e = check_call(a, kDirection, in.dimensions(), vectors.dimensions(), grid.dimensions(), out->dimensions());
      e.failure())
    return e;
  return with_type(
      {out->element_type(), in.element_type(), vectors.element_type(), grid.element_type()}, [&](auto number) {
        using T = decltype(number);
        constexpr bool kForward = kDirection == Direction::kForward;
        const Operands operands = {kForward ? &in : nullptr, kForward ? nullptr : &in, vectors, grid};
        std::vector<Item> items;
        if (const std::string fault = list_items<T>(kModel, a, operands, out->dimensions(), items); !fault.empty())
          return ffi::Error::InvalidArgument("jaxct: " + fault);
        if (items.empty() || out->element_count() == 0) return ffi::Error::Success();
        const auto call = call_of(a, items, operands, in.typed_data<T>(), out->typed_data<T>());
        return error_of(dispatch(kModel, kDirection, call, {&pool, &run_on_pool}));
      });
}

template <Model kModel, Direction kDirection>
ffi::Error project_tangent(ffi::ThreadPool pool, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                           ffi::AnyBuffer grid, ffi::AnyBuffer vectors_dot, ffi::AnyBuffer grid_dot,
                           ffi::Result<ffi::AnyBuffer> out) {
  const Dimensions result = out->dimensions();
  if (auto e = check_call(a, kDirection, in.dimensions(), vectors.dimensions(), grid.dimensions(), result); e.failure())
    return e;
  const int64_t views = vectors.dimensions()[vectors.dimensions().size() - 3];
  if (auto e = check_operand("tangent of vectors", vectors_dot.dimensions(), {views, 4, 3}, result, a.batch_axes);
      e.failure())
    return e;
  if (auto e = check_operand("tangent of grid", grid_dot.dimensions(), {2, 3}, result, a.batch_axes); e.failure())
    return e;
  return with_type({out->element_type(), in.element_type(), vectors.element_type(), grid.element_type(),
                    vectors_dot.element_type(), grid_dot.element_type()},
                   [&](auto number) {
                     using T = decltype(number);
                     constexpr bool kForward = kDirection == Direction::kForward;
                     const Operands operands = {kForward ? &in : nullptr, kForward ? nullptr : &in, vectors, grid};
                     std::vector<Item> items;
                     list_items<T>(kModel, a, operands, result, items);
                     if (items.empty() || out->element_count() == 0) return ffi::Error::Success();
                     std::vector<Item> dots(items.size());
                     for (size_t i = 0; i < dots.size(); ++i) {
                       const auto b = static_cast<int64_t>(i);
                       dots[i] = {0, 0, operand_item(b, result, vectors_dot.dimensions(), a.batch_axes),
                                  operand_item(b, result, grid_dot.dimensions(), a.batch_axes)};
                     }
                     const TangentCall<T> call = {call_of(a, items, operands, in.typed_data<T>(), out->typed_data<T>()),
                                                  vectors_dot.typed_data<T>(), grid_dot.typed_data<T>(), dots.data()};
                     return error_of(dispatch(kModel, kDirection, call, {&pool, &run_on_pool}));
                   });
}

template <Model kModel>
ffi::Error geometry_gradient(ffi::ThreadPool pool, CallAttributes a, ffi::AnyBuffer volume, ffi::AnyBuffer projections,
                             ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> vectors_bar,
                             ffi::Result<ffi::AnyBuffer> grid_bar) {
  const Dimensions result = vectors_bar->dimensions();
  if (auto e = check_gradient(a, volume.dimensions(), projections.dimensions(), vectors.dimensions(), grid.dimensions(),
                              result, grid_bar->dimensions());
      e.failure())
    return e;
  return with_type({vectors_bar->element_type(), volume.element_type(), projections.element_type(),
                    vectors.element_type(), grid.element_type(), grid_bar->element_type()},
                   [&](auto number) {
                     using T = decltype(number);
                     const Operands operands = {&volume, &projections, vectors, grid};
                     std::vector<Item> items;
                     list_items<T>(kModel, a, operands, result, items);
                     if (items.empty()) return ffi::Error::Success();
                     const GradientCall<T> call = {
                         call_of(a, items, operands, volume.typed_data<T>(), vectors_bar->typed_data<T>()),
                         projections.typed_data<T>(), grid_bar->typed_data<T>()};
                     return error_of(dispatch(kModel, call, {&pool, &run_on_pool}));
                   });
}

template <size_t kOperands, size_t kResults>
auto binding() {
  return with_buffers<kOperands, kResults>(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Attr<CallAttributes>("scan"));
}

template <Model kModel, Direction kDirection>
struct Entry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    return run_handler<project<kModel, kDirection>>(frame, binding<3, 1>());
  }
};

template <Model kModel, Direction kDirection>
struct TangentEntry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    return run_handler<project_tangent<kModel, kDirection>>(frame, binding<5, 1>());
  }
};

template <Model kModel>
struct GradientEntry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    return run_handler<geometry_gradient<kModel>>(frame, binding<4, 2>());
  }
};

}  // namespace

Handlers handlers() {
  Handlers all = list_handlers<Entry, TangentEntry, GradientEntry>();
  for (auto& handler : lor_handlers()) all.push_back(std::move(handler));
  return all;
}

const char* instruction_set() { return has_avx2() ? "avx2" : "baseline"; }

}  // namespace jaxct::cpu
