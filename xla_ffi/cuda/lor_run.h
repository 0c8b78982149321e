#pragma once
// A call on lines of response as a sequence of launches, as in run.h. The items of a batch come one after the other, in
// one workspace.
#include "cuda/lor_kernels.h"
#include "cuda/prepare.h"
#include "cuda/sums.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

template <Model kModel>
using LorMaths = std::conditional_t<kModel == Model::kJoseph, LorJoseph,
                                    std::conditional_t<kModel == Model::kSiddon, LorSiddon, LorDistanceDriven>>;

// Number is T, or T with derivatives.
template <typename Model, typename T, typename Number, typename Launcher>
class LorLaunches {
 public:
  LorLaunches(const LorCall& call, Launcher& launch)
      : call_(call), scan_(call.scan), launch_(launch), workspace_(plan_workspace(call.request())) {}

  void operator()() {
    for (int64_t i = 0; i < call_.plan.results; ++i) run_item(i);
  }

 private:
  static constexpr bool kGradient = std::is_same_v<Number, LorGradientNumber<T>>;

  template <typename Pointer>
  Pointer* at(int64_t offset) const {
    return offset < 0 ? nullptr : reinterpret_cast<Pointer*>(static_cast<char*>(call_.workspace) + offset);
  }
  PreparedLorsOf<T, Number>* prepared() const { return at<PreparedLorsOf<T, Number>>(workspace_.prepared); }
  const T* in() const { return static_cast<const T*>(call_.in); }

  LorProblem<T, Number> problem_of(const GeometryBatch::Offsets& item) const {
    constexpr int64_t kPitch = std::is_same_v<Number, Dual<T>> ? 2 : 1;
    const T* const vectors =
        static_cast<const T*>(call_.vectors) + item.vectors * scan_.views * scan_.numbers() * kPitch;
    const T* const grid = static_cast<const T*>(call_.grid) + item.grid * kLorGridNumbers * kPitch;
    if constexpr (std::is_same_v<Number, T>)
      return {scan_, vectors, grid};
    else if constexpr (kGradient)
      return {scan_, vectors, grid, 0, kDirections<Model::kLines>};
    else
      return {scan_, vectors, grid, vectors + 1, grid + 1, kPitch};
  }

  void run_item(int64_t i) {
    const Batch::Offsets place = call_.plan.batch.locate(i);
    const LorItem<Model, T, Number> item = {problem_of(call_.plan.geometries.locate(place.geometry)), prepared()};
    const int prepare = kGradient ? kDirections<Model::kLines> / kDirectionsAtOnce : 1;
    launch_(PrepareLors<T, Number>{item.problem, prepare, prepared()});
    if constexpr (kGradient) {
      differentiate(item, place, call_.projections_batch.locate(i).data);
    } else if (call_.direction == Direction::kForward) {
      launch_(ForwardTubes<Model, T, Number>{item, in() + place.data * scan_.voxels(),
                                             static_cast<T*>(call_.out) + place.result * scan_.projections()});
    } else {
      back(item, in() + place.data * scan_.projections(), static_cast<T*>(call_.out) + place.result * scan_.voxels());
    }
  }

  void back(const LorItem<Model, T, Number>& item, const T* data, T* out) {
    auto* const unsound = at<uint32_t>(workspace_.unsound);
    auto *const bounds = at<double>(workspace_.bounds), *const between = at<double>(workspace_.between);
    auto* const scale = at<FixedScale<T>>(workspace_.scale);
    const FixedSums sums = {at<uint64_t>(workspace_.sums), at<uint32_t>(workspace_.wild)};
    launch_(SetToZero{workspace_.zeroed / 4, unsound});
    launch_(BoundTubes<Model, T, Number>{item, data, workspace_.bound_threads, bounds});
    sum_rows(launch_, 1, workspace_.bound_threads, bounds, between, bounds);
    launch_(ChooseScale<T>{bounds, scale});
    launch_(BackTubes<Model, T, Number>{item, data, sums, scale, unsound});
    launch_(RoundSums<T>{scan_.voxels(), sums, scale, unsound, out});
  }

  void differentiate(const LorItem<Model, T, Number>& item, const Batch::Offsets& place, int64_t projections_item) {
    const T *const volume = in() + place.data * scan_.voxels(), *const projections =
                                                                    static_cast<const T*>(call_.projections) +
                                                                    projections_item * scan_.projections();
    T* const by_vectors = static_cast<T*>(call_.out) + place.result * scan_.views * scan_.numbers();
    T* const by_grid = static_cast<T*>(call_.by_grid) + place.result * kLorGridNumbers;
    auto* const parts = at<T>(workspace_.parts);
    auto* const by_walk = at<double>(workspace_.by_walk);
    for (int64_t v = 0; v < scan_.views; v += workspace_.block_views) {
      const int64_t held = min_of(workspace_.block_views, scan_.views - v);
      launch_(GradientOfTubes<Model, T>{item, v, held, volume, projections, parts});
      launch_(CollectTubes<Model, T>{scan_, v, held, parts, by_vectors});
      sum_rows(launch_, kDirections<Model::kLines>, held * scan_.planes * scan_.bins * Model::walks(scan_), parts,
               at<double>(workspace_.between), by_walk);
      launch_(CollectGrid<Model, T>{v == 0, by_walk, at<double>(workspace_.by_grid), by_grid});
    }
  }

  const LorCall& call_;
  const LorScan& scan_;
  Launcher& launch_;
  const LorWorkspace workspace_;
};

template <typename Model, typename Launcher>
void run_lors(const LorCall& call, Launcher& launch) {
  if (call.wide)
    LorLaunches<Model, double, double, Launcher>(call, launch)();
  else
    LorLaunches<Model, float, float, Launcher>(call, launch)();
}

template <typename Model, typename T, typename Launcher>
void run_lor_derivative(const LorCall& call, Launcher& launch) {
  if (call.derivative == Derivative::kTangent)
    LorLaunches<Model, T, Dual<T>, Launcher>(call, launch)();
  else
    LorLaunches<Model, T, LorGradientNumber<T>, Launcher>(call, launch)();
}

template <typename Model, typename Launcher>
void run_lor_derivative(const LorCall& call, Launcher& launch) {
  if (call.wide)
    run_lor_derivative<Model, double>(call, launch);
  else
    run_lor_derivative<Model, float>(call, launch);
}

}  // namespace cuda
JAXCT_NAMESPACE_END
