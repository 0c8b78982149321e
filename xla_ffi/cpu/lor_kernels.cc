// The loops over lines of response, compiled once per instruction set (JAXCT_ISA).
#include "cpu/lor_kernels.h"

#include <algorithm>
#include <limits>

#include "cpu/line_lists.h"
#include "cpu/lor_loops.h"
#include "cpu/sinogram_lines.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

using jaxct::Direction;
using jaxct::Model;

template <typename F>
Status with_lor_model(Model model, F&& f) {
  switch (model) {
    case Model::kJoseph:
      return f(LorJoseph{});
    case Model::kSiddon:
      return f(LorSiddon{});
    default:
      return f(LorDistanceDriven{});
  }
}

// The same for a model that has derivatives.
template <typename F>
Status with_differentiable_lor_model(Model model, F&& f) {
  return model == Model::kJoseph ? f(LorJoseph{}) : f(LorDistanceDriven{});
}

template <typename T>
struct LorPlaces {
  const T *in, *vectors, *grid;
  T* out;
};

template <typename T>
LorPlaces<T> places_of_item(const LorScan& scan, const LorCall<T>& call, Direction direction, int64_t b) {
  const Item& item = call.items[b];
  const bool forward = direction == Direction::kForward;
  return {call.in + (forward ? item.volume * scan.voxels() : item.projections * scan.projections()),
          call.vectors + item.vectors * scan.views * scan.numbers(), call.grid + item.grid * kLorGridNumbers,
          call.out + b * (forward ? scan.projections() : scan.voxels())};
}

template <typename Model, typename T>
Status project(const LorProblem<T, T>& problem, Direction direction, const T* in, T* out, const Executor& executor) {
  const bool forward = direction == Direction::kForward;
  if constexpr (!std::is_same_v<Model, LorSiddon>)
    if (problem.scan.kind == Lines::kSinogram) {
      const SinogramLines<Model, T> sinogram(problem);
      if (!sinogram) return Status::kOutOfMemory;
      if (sinogram.fits()) return forward ? sinogram.forward(in, out, executor) : sinogram.back(in, out, executor);
    }
  if constexpr (std::is_same_v<Model, LorJoseph>)
    if (PaddedShape<T>::fits(problem.scan)) {
      const LineLists<T> lists(problem);
      return forward ? lists.forward(in, out, executor) : lists.back(in, out, executor);
    }
  return forward ? forward_tubes<Model>(problem, in, out, executor) : back_tubes<Model>(problem, in, out, executor);
}

template <typename T>
Status run_lors(Model model, Direction direction, const LorCall<T>& call, const Executor& executor) {
  const LorScan scan = scan_of(call);
  for (int64_t b = 0; b < call.batch; ++b) {
    const LorPlaces<T> at = places_of_item(scan, call, direction, b);
    const LorProblem<T, T> problem = {scan, at.vectors, at.grid};
    const Status status = with_lor_model(
        model, [&](auto maths) { return project<decltype(maths)>(problem, direction, at.in, at.out, executor); });
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

template <typename T>
Status run_lor_tangent(Model model, Direction direction, const LorTangentCall<T>& tangent, const Executor& executor) {
  const LorCall<T>& call = tangent.call;
  const LorScan scan = scan_of(call);
  for (int64_t b = 0; b < call.batch; ++b) {
    const LorPlaces<T> at = places_of_item(scan, call, direction, b);
    if (!call.items[b].sound) {
      std::fill_n(at.out, direction == Direction::kForward ? scan.projections() : scan.voxels(),
                  std::numeric_limits<T>::quiet_NaN());
      continue;
    }
    const LorProblem<T, Dual<T>> problem = {scan, at.vectors, at.grid,
                                            tangent.vectors_dot + tangent.dots[b].vectors * scan.views * scan.numbers(),
                                            tangent.grid_dot + tangent.dots[b].grid * kLorGridNumbers};
    const Status status = with_differentiable_lor_model(model, [&](auto maths) {
      using M = decltype(maths);
      return direction == Direction::kForward ? forward_tubes<M>(problem, at.in, at.out, executor)
                                              : back_tubes<M>(problem, at.in, at.out, executor);
    });
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

template <typename T>
Status run_lor_gradient(Model model, const LorGradientCall<T>& gradient, const Executor& executor) {
  const LorCall<T>& call = gradient.call;
  const LorScan scan = scan_of(call);
  const int64_t numbers = scan.views * scan.numbers();
  for (int64_t b = 0; b < call.batch; ++b) {
    const Item& item = call.items[b];
    T *const by_vectors = call.out + b * numbers, *const by_grid = gradient.grid_bar + b * kLorGridNumbers;
    if (!item.sound) {
      std::fill_n(by_vectors, numbers, std::numeric_limits<T>::quiet_NaN());
      std::fill_n(by_grid, kLorGridNumbers, std::numeric_limits<T>::quiet_NaN());
      continue;
    }
    const Status status = with_differentiable_lor_model(model, [&](auto maths) {
      return gradient_of_tubes<decltype(maths)>(
          scan, call.vectors + item.vectors * numbers, call.grid + item.grid * kLorGridNumbers,
          call.in + item.volume * scan.voxels(), gradient.projections + item.projections * scan.projections(),
          by_vectors, by_grid, executor);
    });
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

}  // namespace loops
JAXCT_NAMESPACE_END

namespace jaxct::cpu {

#define JAXCT_CONCAT_(a, b) a##b
#define JAXCT_CONCAT(a, b) JAXCT_CONCAT_(a, b)

const LorKernels& JAXCT_CONCAT(lor_kernels_, JAXCT_ISA)() {
  static constexpr LorKernels kTable = {
      &jaxct::JAXCT_ISA::loops::run_lors<float>,         &jaxct::JAXCT_ISA::loops::run_lors<double>,
      &jaxct::JAXCT_ISA::loops::run_lor_tangent<float>,  &jaxct::JAXCT_ISA::loops::run_lor_tangent<double>,
      &jaxct::JAXCT_ISA::loops::run_lor_gradient<float>, &jaxct::JAXCT_ISA::loops::run_lor_gradient<double>};
  return kTable;
}

}  // namespace jaxct::cpu
