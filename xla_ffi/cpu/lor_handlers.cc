// FFI handlers of lines of response: decode, check, choose the instruction set, run.
#include "cpu/lor_kernels.h"

#include <cmath>
#include <string>

#include "cpu/calls.h"
#include "cpu/handlers.h"
#include "lor_abi.h"

namespace jaxct::cpu {
namespace {

const LorKernels& kernels() {
#if defined(JAXCT_HAVE_AVX2)
  static const bool avx2 = has_avx2();
  if (avx2) return lor_kernels_avx2();
#endif
  return lor_kernels_baseline();
}

Status dispatch(Model model, Direction direction, const LorCall<float>& call, const Executor& executor) {
  return kernels().run_f32(model, direction, call, executor);
}
Status dispatch(Model model, Direction direction, const LorCall<double>& call, const Executor& executor) {
  return kernels().run_f64(model, direction, call, executor);
}
Status dispatch(Model model, Direction direction, const LorTangentCall<float>& call, const Executor& executor) {
  return kernels().tangent_f32(model, direction, call, executor);
}
Status dispatch(Model model, Direction direction, const LorTangentCall<double>& call, const Executor& executor) {
  return kernels().tangent_f64(model, direction, call, executor);
}
Status dispatch(Model model, const LorGradientCall<float>& call, const Executor& executor) {
  return kernels().gradient_f32(model, call, executor);
}
Status dispatch(Model model, const LorGradientCall<double>& call, const Executor& executor) {
  return kernels().gradient_f64(model, call, executor);
}

// Empty where all is sound.
template <typename T>
std::string find_faults(const LorScan& scan, const T* vectors, const T* grid) {
  for (int i = 0; i < 3; ++i)
    if (!(grid[i] > T(0)) || !std::isfinite(grid[i]) || !std::isfinite(grid[3 + i]))
      return "the grid's voxel_size must be positive and finite and its center finite";
  if (scan.tof_bins > 0 &&
      !(grid[6] > T(0) && grid[7] > T(0) && std::isfinite(grid[6]) && std::isfinite(grid[7]) && std::isfinite(grid[8])))
    return "tof must have a positive sigma and bin_width and a finite center_offset";
  const auto is_unsound = [&](int64_t v) {
    bool all = true;
    for (int64_t i = 0; i < scan.numbers(); ++i) all &= std::abs(vectors[v * scan.numbers() + i]) < T(HUGE_VAL);
    return !all;
  };
  for (int64_t v = 0; v < scan.views; ++v)
    if (is_unsound(v)) return "view " + std::to_string(v) + " of the geometry is not finite";
  return "";
}

// `volume` and `projections` are null where the call has no such operand, and the item's own result then.
struct Operands {
  const ffi::AnyBuffer *volume, *projections;
  ffi::AnyBuffer vectors, grid;
};

// Items, and the first fault of their geometries; empty if all are sound.
template <typename T>
std::string list_items(const LorAttributes& a, const Operands& operands, Dimensions result, std::vector<Item>& items) {
  const LorScan scan = scan_of(a, num_views(operands.vectors.dimensions()));
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
    const std::string fault =
        find_faults(scan, operands.vectors.typed_data<T>() + items[i].vectors * scan.views * scan.numbers(),
                    operands.grid.typed_data<T>() + items[i].grid * kLorGridNumbers);
    items[i].sound = fault.empty();
    if (first_fault.empty()) first_fault = fault;
  }
  return first_fault;
}

template <typename T>
LorCall<T> call_of(const LorAttributes& a, const std::vector<Item>& items, const Operands& operands, const T* in,
                   T* out) {
  return {a.kind,
          num_views(operands.vectors.dimensions()),
          a.planes,
          a.bins,
          a.axial_rays,
          a.tangential_rays,
          a.tof_bins,
          a.nz,
          a.ny,
          a.nx,
          a.num_sigmas,
          static_cast<int64_t>(items.size()),
          items.data(),
          operands.vectors.typed_data<T>(),
          operands.grid.typed_data<T>(),
          in,
          out};
}

template <Model kModel, Direction kDirection>
ffi::Error project(ffi::ThreadPool pool, LorAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                   ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out) {
  constexpr bool kForward = kDirection == Direction::kForward;
  const Operands operands = {kForward ? &in : nullptr, kForward ? nullptr : &in, vectors, grid};
  if (auto e = check_call(a, kDirection, in.dimensions(), vectors.dimensions(), grid.dimensions(), out->dimensions());
      e.failure())
    return e;
  return with_type({out->element_type(), in.element_type(), vectors.element_type(), grid.element_type()},
                   [&](auto number) {
                     using T = decltype(number);
                     std::vector<Item> items;
                     if (const std::string fault = list_items<T>(a, operands, out->dimensions(), items); !fault.empty())
                       return ffi::Error::InvalidArgument("jaxct: " + fault);
                     if (items.empty()) return ffi::Error::Success();
                     const auto call = call_of(a, items, operands, in.typed_data<T>(), out->typed_data<T>());
                     return error_of(dispatch(kModel, kDirection, call, {&pool, &run_on_pool}));
                   });
}

template <Model kModel, Direction kDirection>
ffi::Error project_tangent(ffi::ThreadPool pool, LorAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                           ffi::AnyBuffer grid, ffi::AnyBuffer vectors_dot, ffi::AnyBuffer grid_dot,
                           ffi::Result<ffi::AnyBuffer> out) {
  constexpr bool kForward = kDirection == Direction::kForward;
  const Dimensions result = out->dimensions();
  const Operands operands = {kForward ? &in : nullptr, kForward ? nullptr : &in, vectors, grid};
  if (auto e = check_call(a, kDirection, in.dimensions(), vectors.dimensions(), grid.dimensions(), result); e.failure())
    return e;
  if (auto e = check_geometry(a, vectors_dot.dimensions(), grid_dot.dimensions(), result); e.failure()) return e;
  if (num_views(vectors_dot.dimensions()) != num_views(vectors.dimensions()))
    return ffi::Error::InvalidArgument("jaxct: vectors and their tangent must have the same number of views");
  return with_type({out->element_type(), in.element_type(), vectors.element_type(), grid.element_type(),
                    vectors_dot.element_type(), grid_dot.element_type()},
                   [&](auto number) {
                     using T = decltype(number);
                     std::vector<Item> items;
                     list_items<T>(a, operands, result, items);
                     if (items.empty()) return ffi::Error::Success();
                     std::vector<Item> dots(items.size());
                     for (size_t i = 0; i < dots.size(); ++i) {
                       const auto b = static_cast<int64_t>(i);
                       dots[i] = {0, 0, operand_item(b, result, vectors_dot.dimensions(), a.batch_axes),
                                  operand_item(b, result, grid_dot.dimensions(), a.batch_axes)};
                     }
                     const LorTangentCall<T> call = {
                         call_of(a, items, operands, in.typed_data<T>(), out->typed_data<T>()),
                         vectors_dot.typed_data<T>(), grid_dot.typed_data<T>(), dots.data()};
                     return error_of(dispatch(kModel, kDirection, call, {&pool, &run_on_pool}));
                   });
}

template <Model kModel>
ffi::Error geometry_gradient(ffi::ThreadPool pool, LorAttributes a, ffi::AnyBuffer volume, ffi::AnyBuffer projections,
                             ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> vectors_bar,
                             ffi::Result<ffi::AnyBuffer> grid_bar) {
  const Dimensions result = vectors_bar->dimensions();
  const Operands operands = {&volume, &projections, vectors, grid};
  if (auto e = check_gradient(a, volume.dimensions(), projections.dimensions(), vectors.dimensions(), grid.dimensions(),
                              result, grid_bar->dimensions());
      e.failure())
    return e;
  return with_type({vectors_bar->element_type(), volume.element_type(), projections.element_type(),
                    vectors.element_type(), grid.element_type(), grid_bar->element_type()},
                   [&](auto number) {
                     using T = decltype(number);
                     std::vector<Item> items;
                     list_items<T>(a, operands, result, items);
                     if (items.empty()) return ffi::Error::Success();
                     const LorGradientCall<T> call = {
                         call_of(a, items, operands, volume.typed_data<T>(), vectors_bar->typed_data<T>()),
                         projections.typed_data<T>(), grid_bar->typed_data<T>()};
                     return error_of(dispatch(kModel, call, {&pool, &run_on_pool}));
                   });
}

template <size_t kOperands, size_t kResults>
auto binding() {
  return with_buffers<kOperands, kResults>(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Attr<LorAttributes>("scan"));
}

template <Model kModel, Direction kDirection>
XLA_FFI_Error* call_projection(XLA_FFI_CallFrame* frame) {
  return run_handler<project<kModel, kDirection>>(frame, binding<3, 1>());
}

template <Model kModel, Direction kDirection>
XLA_FFI_Error* call_tangent(XLA_FFI_CallFrame* frame) {
  return run_handler<project_tangent<kModel, kDirection>>(frame, binding<5, 1>());
}

template <Model kModel>
XLA_FFI_Error* call_gradient(XLA_FFI_CallFrame* frame) {
  return run_handler<geometry_gradient<kModel>>(frame, binding<4, 2>());
}

template <Model kModel>
void add_model(Handlers& handlers) {
  const std::string name = std::string("jaxct_lors_") + kModelNames[static_cast<size_t>(kModel)];
  handlers.emplace_back(name + "_forward", call_projection<kModel, Direction::kForward>);
  handlers.emplace_back(name + "_back", call_projection<kModel, Direction::kBack>);
  if constexpr (kModel != Model::kSiddon) {
    handlers.emplace_back(name + "_forward_tangent", call_tangent<kModel, Direction::kForward>);
    handlers.emplace_back(name + "_back_tangent", call_tangent<kModel, Direction::kBack>);
    handlers.emplace_back(name + "_geometry_gradient", call_gradient<kModel>);
  }
}

}  // namespace

Handlers lor_handlers() {
  Handlers all;
  add_model<Model::kJoseph>(all);
  add_model<Model::kSiddon>(all);
  add_model<Model::kDistanceDriven>(all);
  return all;
}

}  // namespace jaxct::cpu
