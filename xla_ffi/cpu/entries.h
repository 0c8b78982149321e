#pragma once
// The handlers of one kind of geometry: decode, check, choose the instruction set, run. A kind says what beams and
// lines of response differ in:
//   Attributes; Call, TangentCall, GradientCall; kernels(), of this machine;
//   views(dimensions of vectors), numbers(attributes) of a view, kGridNumbers;
//   find_faults(model, attributes, views, vectors, grid): empty where all is sound;
//   make_call(attributes, views, items, vectors, grid, in, out);
//   check_tangent(attributes, dimensions of the tangents of vectors and grid, views, dimensions of the result).
#include <string>
#include <vector>

#include "cpu/calls.h"

namespace jaxct::cpu {

// What belongs to every item of a batch. `volume` and `projections` are null where the call has no such operand, and
// the item's own result then.
struct Operands {
  const ffi::AnyBuffer *volume, *projections;
  ffi::AnyBuffer vectors, grid;
};

template <Direction kDirection>
Operands operands_of(const ffi::AnyBuffer& in, ffi::AnyBuffer vectors, ffi::AnyBuffer grid) {
  if constexpr (kDirection == Direction::kForward) return {&in, nullptr, vectors, grid};
  return {nullptr, &in, vectors, grid};
}

template <typename Kind>
class Entries {
  using Attributes = typename Kind::Attributes;

  // Items, and the first fault of their geometries; empty if all are sound.
  template <typename T>
  static std::string list_items(Model model, const Attributes& a, const Operands& operands, Dimensions result,
                                std::vector<Item>& items) {
    const int64_t views = Kind::views(operands.vectors.dimensions());
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
      const T* const vectors = operands.vectors.typed_data<T>() + items[i].vectors * views * Kind::numbers(a);
      const T* const grid = operands.grid.typed_data<T>() + items[i].grid * Kind::kGridNumbers;
      const std::string fault = Kind::find_faults(model, a, views, vectors, grid);
      items[i].sound = fault.empty();
      if (first_fault.empty()) first_fault = fault;
    }
    return first_fault;
  }

  template <typename T>
  static auto call_of(const Attributes& a, const std::vector<Item>& items, const Operands& operands, const T* in,
                      T* out) {
    return Kind::make_call(a, Kind::views(operands.vectors.dimensions()), items, operands.vectors.typed_data<T>(),
                           operands.grid.typed_data<T>(), in, out);
  }

  // Of the kernels for float and for double.
  template <typename T, typename Float, typename Double>
  static auto pick(Float in_float, Double in_double) {
    if constexpr (sizeof(T) == sizeof(float))
      return in_float;
    else
      return in_double;
  }

  template <Model kModel, Direction kDirection>
  static ffi::Error project(ffi::ThreadPool pool, Attributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                            ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out) {
    if (auto e = check_call(a, kDirection, in.dimensions(), vectors.dimensions(), grid.dimensions(), out->dimensions());
        e.failure())
      return e;
    return with_type(
        {out->element_type(), in.element_type(), vectors.element_type(), grid.element_type()}, [&](auto number) {
          using T = decltype(number);
          const Operands operands = operands_of<kDirection>(in, vectors, grid);
          std::vector<Item> items;
          if (const std::string fault = list_items<T>(kModel, a, operands, out->dimensions(), items); !fault.empty())
            return ffi::Error::InvalidArgument("jaxct: " + fault);
          if (items.empty() || out->element_count() == 0) return ffi::Error::Success();
          const auto call = call_of(a, items, operands, in.typed_data<T>(), out->typed_data<T>());
          const auto run = pick<T>(Kind::kernels().run_f32, Kind::kernels().run_f64);
          return error_of(run(kModel, kDirection, call, {&pool, &run_on_pool}));
        });
  }

  template <Model kModel, Direction kDirection>
  static ffi::Error project_tangent(ffi::ThreadPool pool, Attributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                                    ffi::AnyBuffer grid, ffi::AnyBuffer vectors_dot, ffi::AnyBuffer grid_dot,
                                    ffi::Result<ffi::AnyBuffer> out) {
    const Dimensions result = out->dimensions();
    if (auto e = check_call(a, kDirection, in.dimensions(), vectors.dimensions(), grid.dimensions(), result);
        e.failure())
      return e;
    if (auto e = Kind::check_tangent(a, vectors_dot.dimensions(), grid_dot.dimensions(),
                                     Kind::views(vectors.dimensions()), result);
        e.failure())
      return e;
    return with_type({out->element_type(), in.element_type(), vectors.element_type(), grid.element_type(),
                      vectors_dot.element_type(), grid_dot.element_type()},
                     [&](auto number) {
                       using T = decltype(number);
                       const Operands operands = operands_of<kDirection>(in, vectors, grid);
                       std::vector<Item> items;
                       list_items<T>(kModel, a, operands, result, items);
                       if (items.empty() || out->element_count() == 0) return ffi::Error::Success();
                       std::vector<Item> dots(items.size());
                       for (size_t i = 0; i < dots.size(); ++i) {
                         const auto b = static_cast<int64_t>(i);
                         dots[i] = {0, 0, operand_item(b, result, vectors_dot.dimensions(), a.batch_axes),
                                    operand_item(b, result, grid_dot.dimensions(), a.batch_axes)};
                       }
                       const typename Kind::template TangentCall<T> call = {
                           call_of(a, items, operands, in.typed_data<T>(), out->typed_data<T>()),
                           vectors_dot.typed_data<T>(), grid_dot.typed_data<T>(), dots.data()};
                       const auto run = pick<T>(Kind::kernels().tangent_f32, Kind::kernels().tangent_f64);
                       return error_of(run(kModel, kDirection, call, {&pool, &run_on_pool}));
                     });
  }

  template <Model kModel>
  static ffi::Error geometry_gradient(ffi::ThreadPool pool, Attributes a, ffi::AnyBuffer volume,
                                      ffi::AnyBuffer projections, ffi::AnyBuffer vectors, ffi::AnyBuffer grid,
                                      ffi::Result<ffi::AnyBuffer> vectors_bar, ffi::Result<ffi::AnyBuffer> grid_bar) {
    const Dimensions result = vectors_bar->dimensions();
    if (auto e = check_gradient(a, volume.dimensions(), projections.dimensions(), vectors.dimensions(),
                                grid.dimensions(), result, grid_bar->dimensions());
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
                       const typename Kind::template GradientCall<T> call = {
                           call_of(a, items, operands, volume.typed_data<T>(), vectors_bar->typed_data<T>()),
                           projections.typed_data<T>(), grid_bar->typed_data<T>()};
                       const auto run = pick<T>(Kind::kernels().gradient_f32, Kind::kernels().gradient_f64);
                       return error_of(run(kModel, call, {&pool, &run_on_pool}));
                     });
  }

  template <auto kFunction, size_t kOperands, size_t kResults>
  static XLA_FFI_Error* run_handler(XLA_FFI_CallFrame* frame) {
    static auto* handler =
        with_buffers<kOperands, kResults>(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().template Attr<Attributes>("scan"))
            .To([](auto... arguments) { return without_exceptions([&] { return kFunction(arguments...); }); })
            .release();
    return handler->Call(frame);
  }

 public:
  template <Model kModel, Direction kDirection>
  struct Projection {
    static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
      return run_handler<project<kModel, kDirection>, 3, 1>(frame);
    }
  };

  template <Model kModel, Direction kDirection>
  struct Tangent {
    static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
      return run_handler<project_tangent<kModel, kDirection>, 5, 1>(frame);
    }
  };

  template <Model kModel>
  struct Gradient {
    static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) { return run_handler<geometry_gradient<kModel>, 4, 2>(frame); }
  };
};

}  // namespace jaxct::cpu
