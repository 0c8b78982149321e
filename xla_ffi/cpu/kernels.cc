// The loops of every model, compiled once per instruction set (JAXCT_ISA).
#include "cpu/kernels.h"

#include "core/models.h"
#include "cpu/derivatives.h"
#include "cpu/image_loops.h"
#include "cpu/line_loops.h"
#include "cpu/planar_rays.h"
#include "cpu/pose_loops.h"
#include "cpu/ray_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

using jaxct::Direction;
using jaxct::Model;

template <typename Loops>
Status run_loops(const Loops& loops, Direction direction) {
  return direction == Direction::kForward ? loops.forward() : loops.back();
}

template <typename M, typename T>
Status run_rays(const Problem<T>& p, int64_t images, Direction direction, const Executor& executor) {
  if (images > 1) return run_loops(PlanarRayStack<M, T>(p, images, executor), direction);
  if (p.scan.planar) return run_loops(PlanarRays<M, T>(p, executor), direction);
  return direction == Direction::kForward ? forward_rays<M>(p, executor) : back_rays<M>(p, executor);
}

template <typename Loops>
Status run_axial(const Loops& loops, Direction direction, const Executor& executor) {
  const bool ok = direction == Direction::kForward ? loops.forward(executor) : loops.back(executor);
  return ok ? Status::kOk : Status::kOutOfMemory;
}

template <typename M, typename T>
Status run_separable(const Problem<T>& p, int64_t images, Direction direction, const Executor& executor) {
  if (p.scan.planar && images == 1) return run_axial(ImageLoops<M, T>(p), direction, executor);
  if (p.scan.planar) return run_axial(LineLoops<M, T>(p, image_layout(p.scan, images)), direction, executor);
  bool axial = true, shared = true;
  for (int64_t v = 0; v < p.scan.views; ++v) {
    axial = axial && p.views[v].axial;
    shared = shared && rows_are_shared(p.views[v]);
  }
  if (axial) return run_axial(LineLoops<M, T>(p, volume_layout(p.scan, shared)), direction, executor);
  return direction == Direction::kForward ? forward_pose<M>(p, executor) : back_pose<M>(p, executor);
}

template <typename T>
Status run_model(Model model, const Problem<T>& p, int64_t images, Direction direction, const Executor& executor) {
  return with_maths(model, [&](auto maths) {
    using M = decltype(maths);
    if constexpr (kIsLineModel<M>)
      return run_rays<M>(p, images, direction, executor);
    else
      return run_separable<M>(p, images, direction, executor);
  });
}

// Fewer images would leave registers empty.
constexpr int64_t kMinStack = 4;

// True for a batch of 2-D images that share one geometry, and so run as one problem.
template <typename T>
bool is_stack(const Call<T>& call) {
  if (!call.planar || call.batch < kMinStack) return false;
  for (int64_t b = 0; b < call.batch; ++b) {
    const Item& item = call.items[b];
    if (item.vectors != 0 || item.grid != 0 || item.volume != b || item.projections != b) return false;
  }
  return true;
}

template <typename T>
Status run(Model model, Direction direction, const Call<T>& call, const Executor& executor) {
  const Scan scan = scan_of(call);
  Scratch<View<T>> views(call.views);
  if (!views) return Status::kOutOfMemory;
  const bool stack = is_stack(call);
  const bool forward = direction == Direction::kForward;
  const int64_t volume_size = scan.voxels(), projections_size = scan.views * scan.pixels();
  for (int64_t b = 0; b < (stack ? 1 : call.batch); ++b) {
    const Item& item = call.items[b];
    const bool same = b > 0 && item.vectors == call.items[b - 1].vectors && item.grid == call.items[b - 1].grid;
    if (!same) prepare_views(call, item, views.get());
    const Problem<T> problem = {scan, views.get(),
                                call.in + (forward ? item.volume * volume_size : item.projections * projections_size),
                                call.out + b * (forward ? projections_size : volume_size)};
    const Status status = run_model(model, problem, stack ? call.batch : 1, direction, executor);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

}  // namespace loops
JAXCT_NAMESPACE_END

namespace jaxct::cpu {

#define JAXCT_CONCAT_(a, b) a##b
#define JAXCT_CONCAT(a, b) JAXCT_CONCAT_(a, b)

const Kernels& JAXCT_CONCAT(kernels_, JAXCT_ISA)() {
  static constexpr Kernels kTable = {
      &jaxct::JAXCT_ISA::loops::run<float>,          &jaxct::JAXCT_ISA::loops::run<double>,
      &jaxct::JAXCT_ISA::loops::run_tangent<float>,  &jaxct::JAXCT_ISA::loops::run_tangent<double>,
      &jaxct::JAXCT_ISA::loops::run_gradient<float>, &jaxct::JAXCT_ISA::loops::run_gradient<double>};
  return kTable;
}

}  // namespace jaxct::cpu
