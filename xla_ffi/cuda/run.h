#pragma once
// A call as a sequence of launches, for any launcher: a CUDA stream, or the host in tests.
#include "core/models.h"
#include "cuda/column_kernels.h"
#include "cuda/pose_kernels.h"
#include "cuda/ray_kernels.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// Of the line models' back projection, where a longer run meets more rays.
constexpr int kRaySlices = 8;

// What every call begins with: prepared views, of numbers N.
template <typename N, typename Launcher>
class ViewLaunches {
 public:
  ViewLaunches(const Call& call, Launcher& launch)
      : call_(call), launch_(launch), request_(call.request()), workspace_(plan_workspace(request_)) {}

 protected:
  void prepare_views() {
    if (workspace_.tilted >= 0) launch_(SetToZero{1 + call_.plan.geometries.count, at<uint32_t>(workspace_.tilted)});
    launch_(PrepareViews<N>{call_.scan, call_.plan.geometries, is_footprint_model(call_.model),
                            static_cast<const N*>(call_.vectors), static_cast<const N*>(call_.grid), views(),
                            at<uint32_t>(workspace_.tilted)});
  }

  template <typename Pointer>
  Pointer* at(int64_t offset) const {
    return offset < 0 ? nullptr : reinterpret_cast<Pointer*>(static_cast<char*>(call_.workspace) + offset);
  }
  DeviceView<N>* views() const { return at<DeviceView<N>>(workspace_.views); }
  Tilted tilted() const { return Tilted{at<uint32_t>(workspace_.tilted)}; }

  // f(first, held) for blocks of views.
  template <typename F>
  void for_blocks(F&& f) const {
    for (int64_t v = 0; v < call_.scan.views; v += workspace_.block_views)
      f(v, min_of(workspace_.block_views, call_.scan.views - v));
  }

  const Call& call_;
  Launcher& launch_;
  const WorkspaceRequest request_;
  const Workspace workspace_;
};

template <typename M, typename T, typename From, typename Store, typename Launcher>
class Launches : ViewLaunches<T, Launcher> {
  using Base = ViewLaunches<T, Launcher>;
  using Base::call_, Base::launch_, Base::request_, Base::workspace_, Base::views, Base::tilted;

 public:
  using Base::Base;

  void operator()() {
    if (call_.plan.results == 0) return;
    Base::prepare_views();
    find_magnitudes();
    is_forward() ? forward() : back();
    if (is_16_bit(call_.type)) round_results();
  }

 private:
  template <typename Pointer>
  Pointer* at(int64_t offset) const {
    return Base::template at<Pointer>(offset);
  }
  Scaling scaling() const { return Scaling{at<uint32_t>(workspace_.magnitudes)}; }
  const From* in() const { return static_cast<const From*>(call_.in); }
  T* sums() const { return workspace_.sums < 0 ? static_cast<T*>(call_.out) : at<T>(workspace_.sums); }
  Setup<T> setup() const { return {call_.scan, call_.plan.batch, scaling(), views(), call_.scan.views, sums()}; }
  bool one_lane() const { return call_.plan.batch.lanes == 1; }

  int64_t volume_size() const { return call_.scan.voxels(); }
  int64_t projections_size() const { return call_.scan.views * call_.scan.pixels(); }
  bool is_forward() const { return call_.direction == Direction::kForward; }

  void find_magnitudes() {
    if constexpr (std::is_same_v<From, float>) {
      if (workspace_.magnitudes < 0) return;
      const int64_t size = is_forward() ? volume_size() : projections_size();
      auto* magnitudes = at<uint32_t>(workspace_.magnitudes);
      launch_(SetToZero{call_.plan.data_items, magnitudes});
      launch_(FindMagnitudes{call_.plan.data_items, size, in(), magnitudes});
    }
  }

  void forward() {
    const Scan& scan = call_.scan;
    const Volumes<Store> volumes = copy_volumes();
    if constexpr (kIsLineModel<M>) {
      if (one_lane())
        launch_(ForwardRays<M, T, Store, 1>{setup(), volumes});
      else
        launch_(ForwardRays<M, T, Store, kRun<T>>{setup(), volumes});
    } else {
      if (!scan.planar) {
        launch_(ForwardColumns<M, T, Store, kVolumeRun<T, typename M::template Row<T>>, false>{setup(), volumes});
        launch_(ForwardPoses<M, T, Store>{setup(), volumes, tilted()});
      } else if (one_lane()) {
        launch_(ForwardColumns<M, T, Store, 1, true>{setup(), volumes});
      } else {
        launch_(ForwardColumns<M, T, Store, kRun<T>, true>{setup(), volumes});
      }
      if (is_footprint_model(call_.model)) launch_(WeightProjections<T>{scan, call_.plan.batch, views(), sums()});
    }
  }

  Volumes<Store> copy_volumes() {
    const Scan& scan = call_.scan;
    Volumes<Store> volumes = {at<Store>(workspace_.plain), at<Store>(workspace_.turned), at<Store>(workspace_.packed)};
    if constexpr (std::is_same_v<From, Store>)
      if (workspace_.plain < 0) volumes.plain = in();
    if (workspace_.packed >= 0)
      launch_(PackImages<T, From, Store>{call_.plan.data_items / call_.plan.batch.lanes, scan.voxels(),
                                         call_.plan.batch, scaling(), in(), at<Store>(workspace_.packed)});
    if (workspace_.plain >= 0)
      launch_(
          Convert<T, From, Store>{call_.plan.data_items, scan.voxels(), scaling(), in(), at<Store>(workspace_.plain)});
    if (workspace_.turned >= 0)
      launch_(Turn<T, From, Store>{scan, call_.plan.data_items, scaling(), in(), at<Store>(workspace_.turned)});
    return volumes;
  }

  void back() {
    Base::for_blocks([&](int64_t first, int64_t held) { back_views(copy_views(first, held), first == 0); });
  }

  Projections<Store> copy_views(int64_t first, int64_t held) {
    if constexpr (std::is_same_v<From, Store>)
      if (workspace_.projections < 0) return {in(), first, held, false};
    auto* copy = at<Store>(workspace_.projections);
    launch_(CopyProjections<T, From, Store>{call_.scan, call_.plan.batch, scaling(), is_weighted(request_), first, held,
                                            views(), in(), copy});
    return {copy, first, held, true};
  }

  void back_views(const Projections<Store>& projections, bool first) {
    if constexpr (kIsLineModel<M>) {
      if (!call_.scan.planar)
        launch_(BackRays<M, T, Store, kRaySlices, false>{setup(), projections, first});
      else if (one_lane())
        launch_(BackRays<M, T, Store, 1, true>{setup(), projections, first});
      else
        launch_(BackRays<M, T, Store, kRun<T>, true>{setup(), projections, first});
    } else {
      if (!call_.scan.planar) {
        launch_(
            BackColumns<M, T, Store, kVolumeRun<T, typename M::template Row<T>>, false>{setup(), projections, first});
        launch_(BackPoses<M, T, Store>{setup(), projections, tilted(), false});
      } else if (one_lane()) {
        launch_(BackColumns<M, T, Store, 1, true>{setup(), projections, first});
      } else {
        launch_(BackColumns<M, T, Store, kRun<T>, true>{setup(), projections, first});
      }
    }
  }

  void round_results() {
    const int64_t size = is_forward() ? projections_size() : volume_size();
    if (call_.type == DataType::kFloat16)
      launch_(Convert<T, T, Half>{call_.plan.results, size, Scaling{nullptr}, sums(), static_cast<Half*>(call_.out)});
    else
      launch_(Convert<T, T, Bfloat16>{call_.plan.results, size, Scaling{nullptr}, sums(),
                                      static_cast<Bfloat16*>(call_.out)});
  }
};

// The types of a call: of the data as they come and as the loops read them.
template <typename M, typename Launcher>
void run_model(const Call& call, Launcher& launch) {
  const bool half = is_stored_as_half(call.request());
  switch (call.type) {
    case DataType::kFloat64:
      return Launches<M, double, double, double, Launcher>(call, launch)();
    case DataType::kFloat32:
      return half ? Launches<M, float, float, Half, Launcher>(call, launch)()
                  : Launches<M, float, float, float, Launcher>(call, launch)();
    case DataType::kFloat16:
      return half ? Launches<M, float, Half, Half, Launcher>(call, launch)()
                  : Launches<M, float, Half, float, Launcher>(call, launch)();
    case DataType::kBfloat16:
      return Launches<M, float, Bfloat16, float, Launcher>(call, launch)();
  }
}

}  // namespace cuda
JAXCT_NAMESPACE_END
