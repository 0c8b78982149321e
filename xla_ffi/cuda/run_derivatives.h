#pragma once
// Calls of derivatives by the geometry as sequences of launches, as in run.h. Every image is an item of its own.
#include "core/models.h"
#include "cuda/column_kernels.h"
#include "cuda/gradient_kernels.h"
#include "cuda/pose_kernels.h"
#include "cuda/ray_kernels.h"
#include "cuda/run.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// What the two have in common.
template <typename N, typename Launcher>
class DerivativeLaunches : protected ViewLaunches<N, Launcher> {
  using Base = ViewLaunches<N, Launcher>;

 public:
  using Base::Base;

 protected:
  using T = Real<N>;
  using Base::call_, Base::launch_, Base::workspace_;

  const T* in() const { return static_cast<const T*>(call_.in); }

  Volumes<T> copy_volumes() {
    auto* turned = this->template at<T>(workspace_.turned);
    if (turned != nullptr) launch_(Turn<T, T, T>{call_.scan, call_.plan.data_items, Scaling{nullptr}, in(), turned});
    return {in(), turned, nullptr};
  }
};

template <typename M, typename T, typename Launcher>
class TangentLaunches : DerivativeLaunches<Dual<T>, Launcher> {
  using N = Dual<T>;
  using Base = DerivativeLaunches<N, Launcher>;
  using Base::call_, Base::launch_, Base::request_, Base::workspace_, Base::in, Base::views;
  // Numbers of twice the size fill the registers sooner.
  static constexpr int kSlices = sizeof(N) > 8 ? kRaySlices / 2 : kRaySlices;

 public:
  using Base::Base;

  void operator()() {
    if (call_.plan.results == 0) return;
    Base::prepare_views();
    call_.direction == Direction::kForward ? forward() : back();
  }

 private:
  Setup<N> setup() const {
    return {call_.scan, call_.plan.batch, Scaling{nullptr}, views(), call_.scan.views, static_cast<T*>(call_.out)};
  }

  void forward() {
    const Volumes<T> volumes = Base::copy_volumes();
    if constexpr (kIsLineModel<M>)
      launch_(ForwardRays<M, N, T, 1>{setup(), volumes});
    else
      launch_(ForwardPoses<M, N, T>{setup(), volumes, Base::tilted()});
  }

  void back() {
    if constexpr (kIsLineModel<M>) {
      const Projections<T> projections = {in(), 0, call_.scan.views, false};
      if (call_.scan.planar)
        launch_(BackRays<M, N, T, 1, true>{setup(), projections, true});
      else
        launch_(BackRays<M, N, T, kSlices, false>{setup(), projections, true});
    } else {
      auto* copy = this->template at<N>(workspace_.projections);
      Base::for_blocks([&](int64_t first, int64_t held) {
        launch_(CopyProjections<N, T, N>{call_.scan, call_.plan.batch, Scaling{nullptr}, is_weighted(request_), first,
                                         held, views(), in(), copy});
        launch_(BackPoses<M, N, N>{setup(), Projections<N>{copy, first, held, true}, Base::tilted(), first == 0});
      });
    }
  }
};

template <typename M, typename T, typename Launcher>
class GradientLaunches : DerivativeLaunches<T, Launcher> {
  using Base = DerivativeLaunches<T, Launcher>;
  using Base::call_, Base::launch_, Base::workspace_, Base::in, Base::views;

 public:
  using Base::Base;

  void operator()() {
    if (call_.plan.results == 0) return;
    Base::prepare_views();
    const Volumes<T> volumes = Base::copy_volumes();
    Base::for_blocks([&](int64_t first, int64_t held) {
      add_up_parts(volumes, first, held);
      launch_(PullGeometry<T>{call_.scan, call_.plan.batch, call_.plan.geometries, first, held,
                              static_cast<const T*>(call_.vectors), static_cast<const T*>(call_.grid), views(),
                              by_view(), static_cast<T*>(call_.out), by_grid()});
    });
    sum_rows(call_.plan.results * kGridNumbers, call_.scan.views, by_grid(), static_cast<T*>(call_.by_grid));
  }

 private:
  T* parts() const { return this->template at<T>(workspace_.parts); }
  T* weighted() const { return this->template at<T>(workspace_.projections); }
  T* shadow() const { return this->template at<T>(workspace_.shadow); }
  double* by_view() const { return this->template at<double>(workspace_.by_view); }
  double* by_grid() const { return this->template at<double>(workspace_.by_grid); }
  int64_t all_parts() const { return workspace_.pixel_parts + workspace_.column_parts; }
  Parts<T> pixel_parts() const { return {parts(), all_parts(), 0, workspace_.pixel_parts}; }
  Parts<T> column_parts() const { return {parts(), all_parts(), workspace_.pixel_parts, workspace_.column_parts}; }

  // As if there were no other views.
  Setup<T> setup(int64_t first, int64_t held) const {
    Scan scan = call_.scan;
    scan.views = held;
    return {scan, call_.plan.batch, Scaling{nullptr}, views() + first, call_.scan.views, shadow()};
  }

  void add_up_parts(const Volumes<T>& volumes, int64_t first, int64_t held) {
    const HeldViews<T> projections = {static_cast<const T*>(call_.projections), call_.projections_batch,
                                      call_.scan.views, first};
    if constexpr (kIsLineModel<M>) {
      launch_(Gradient<RayGradient<M, T>, T>{setup(first, held), {volumes, projections}, pixel_parts()});
    } else {
      cast_shadow(volumes, first, held);
      launch_(CopyProjections<T, T, T>{call_.scan, call_.projections_batch, Scaling{nullptr}, true, first, held,
                                       views(), projections.data, weighted()});
      const WeightedViews<T> data = {in(), weighted()};
      if (!call_.scan.planar) launch_(Gradient<ColumnGradient<M, T>, T>{setup(first, held), {data}, column_parts()});
      launch_(Gradient<VoxelGradient<M, T>, T>{setup(first, held), {data}, column_parts()});
      launch_(Gradient<ObliquityGradient<T>, T>{setup(first, held), {projections, shadow()}, pixel_parts()});
    }
    sum_rows(call_.plan.results * held * kViewNumbers, all_parts(), parts(), by_view());
  }

  void cast_shadow(const Volumes<T>& volumes, int64_t first, int64_t held) {
    if (call_.scan.planar) {
      launch_(ForwardColumns<M, T, T, 1, true>{setup(first, held), volumes});
    } else {
      launch_(ForwardColumns<M, T, T, kVolumeRun<T, typename M::template Row<T>>, false>{setup(first, held), volumes});
      launch_(ForwardPoses<M, T, T>{setup(first, held), volumes, Base::tilted()});
    }
  }

  // Each row to one number.
  template <typename From, typename To>
  void sum_rows(int64_t rows, int64_t length, const From* from, To* to) {
    cuda::sum_rows(launch_, rows, length, from, this->template at<double>(workspace_.between), to);
  }
};

template <typename M, typename T, typename Launcher>
void run_derivative(const Call& call, Launcher& launch) {
  if (call.derivative == Derivative::kTangent)
    TangentLaunches<M, T, Launcher>(call, launch)();
  else
    GradientLaunches<M, T, Launcher>(call, launch)();
}

// The type of a call is that of all its operands.
template <typename M, typename Launcher>
void run_derivative(const Call& call, Launcher& launch) {
  if (call.type == DataType::kFloat64)
    run_derivative<M, double>(call, launch);
  else
    run_derivative<M, float>(call, launch);
}

}  // namespace cuda
JAXCT_NAMESPACE_END
