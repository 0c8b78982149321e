#pragma once
// Derivatives of the operators by the geometry, of the models that have one.
#include <algorithm>
#include <limits>

#include "cpu/gradient_loops.h"
#include "cpu/pose_loops.h"
#include "cpu/ray_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

using jaxct::Direction;
using jaxct::Model;
using jaxct::cpu::GradientCall;
using jaxct::cpu::TangentCall;

// Of an unsound geometry: the operator itself has told of it, or it is a place holder that a solver fills in before its
// first step and passes over what comes of it.
template <typename T>
void fill_with_nan(T* out, int64_t count) {
  std::fill_n(out, count, std::numeric_limits<T>::quiet_NaN());
}

template <typename T>
void prepare_tangents(const TangentCall<T>& tangent, int64_t b, View<Dual<T>>* views) {
  const Call<T>& call = tangent.call;
  const Item &item = call.items[b], &dot = tangent.dots[b];
  const Scan scan = scan_of(call);
  const auto load = [](const T* values, const T* tangents, int n, Dual<double>* to) {
    for (int i = 0; i < n; ++i) to[i] = {static_cast<double>(values[i]), static_cast<double>(tangents[i])};
  };
  Dual<double> vectors[12], grid[6];
  load(call.grid + item.grid * 6, tangent.grid_dot + dot.grid * 6, 6, grid);
  for (int64_t v = 0; v < call.views; ++v) {
    load(call.vectors + (item.vectors * call.views + v) * 12, tangent.vectors_dot + (dot.vectors * call.views + v) * 12,
         12, vectors);
    views[v] = make_view<Dual<T>>(scan, unpack_view<Dual<double>>(vectors), unpack_grid<Dual<double>>(grid));
  }
}

template <typename T>
Status run_tangent(Model model, Direction direction, const TangentCall<T>& tangent, const Executor& executor) {
  const Call<T>& call = tangent.call;
  const Scan scan = scan_of(call);
  const Scratch<View<Dual<T>>> views(call.views);
  if (!views) return Status::kOutOfMemory;
  const bool forward = direction == Direction::kForward;
  const int64_t volume_size = scan.voxels(), projections_size = scan.views * scan.pixels();
  for (int64_t b = 0; b < call.batch; ++b) {
    const Item& item = call.items[b];
    const int64_t result_size = forward ? projections_size : volume_size;
    if (!item.sound) {
      fill_with_nan(call.out + b * result_size, result_size);
      continue;
    }
    prepare_tangents(tangent, b, views.get());
    const Problem<T, Dual<T>> problem = {
        scan, views.get(), call.in + (forward ? item.volume * volume_size : item.projections * projections_size),
        call.out + b * result_size};
    const Status status = with_differentiable(model, [&](auto maths) {
      using M = decltype(maths);
      if constexpr (kIsLineModel<M>)
        return forward ? forward_rays<M>(problem, executor) : back_rays<M>(problem, executor);
      else
        return forward ? forward_pose<M>(problem, executor) : back_pose<M>(problem, executor);
    });
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

template <typename T>
Status run_gradient(Model model, const GradientCall<T>& gradient, const Executor& executor) {
  const Call<T>& call = gradient.call;
  const Scan scan = scan_of(call);
  const Scratch<View<T>> views(call.views);
  if (!views) return Status::kOutOfMemory;
  for (int64_t b = 0; b < call.batch; ++b) {
    const Scratch<View<double>> sums(call.views);
    if (!sums) return Status::kOutOfMemory;
    const Item& item = call.items[b];
    if (!item.sound) {
      fill_with_nan(call.out + b * call.views * 12, call.views * 12);
      fill_with_nan(gradient.grid_bar + b * 6, 6);
      continue;
    }
    prepare_views(call, item, views.get());
    const GradientProblem<T> problem = {scan, views.get(), call.in + item.volume * scan.voxels(),
                                        gradient.projections + item.projections * scan.views * scan.pixels()};
    const Status status =
        with_differentiable(model, [&](auto maths) { return view_gradients(maths, problem, executor, sums.get()); });
    if (status != Status::kOk) return status;
    double by_grid[6] = {};
    for (int64_t v = 0; v < call.views; ++v) {
      const T* vectors = call.vectors + (item.vectors * call.views + v) * 12;
      const auto by = [&](int i) { return pull_geometry(scan, vectors, call.grid + item.grid * 6, sums.get()[v], i); };
      for (int i = 0; i < 12; ++i) call.out[(b * call.views + v) * 12 + i] = static_cast<T>(by(i));
      for (int i = 0; i < kGridNumbers; ++i) by_grid[i] += by(kVectorNumbers + i);
    }
    for (int i = 0; i < 6; ++i) gradient.grid_bar[b * 6 + i] = static_cast<T>(by_grid[i]);
  }
  return Status::kOk;
}

}  // namespace loops
JAXCT_NAMESPACE_END
