#pragma once
// Separable models for views of any pose: one voxel at a time. Forward: a task owns a band of detector columns of one
// view and collects every voxel that falls on it. Back: a task owns a row of voxels.
#include <atomic>

#include "core/separable.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename T>
Vec3<T> relative_index(const Scan& scan, int64_t z, int64_t y, int64_t x) {
  return {{relative<T>(z, scan.nz), relative<T>(y, scan.ny), relative<T>(x, scan.nx)}};
}

template <typename Model, typename T, typename Number>
Status forward_pose(const Problem<T, Number>& p, const Executor& executor) {
  const Scan& scan = p.scan;
  const int64_t bands = scan.views < 8 ? min_of(scan.cols, int64_t{8}) : 1;
  std::atomic<bool> ok{true};
  parallel_for(executor, scan.views * bands, [&](int64_t task) {
    const int64_t v = task / bands;
    const View<Number>& view = p.views[v];
    const IndexRange cols = band_of(scan, task % bands, bands);
    const Scratch<Number> sums(scan.pixels());
    if (!sums) {
      ok = false;
      return;
    }
    const T* volume = p.in;
    for (int64_t z = 0; z < scan.nz; ++z)
      for (int64_t y = 0; y < scan.ny; ++y)
        for (int64_t x = 0; x < scan.nx; ++x, ++volume)
          for_footprint<Model>(scan, view, relative_index<Number>(scan, z, y, x), cols,
                               [&](int64_t at, Number weight) { sums.get()[at] += weight * *volume; });
    for (int64_t r = 0; r < scan.rows; ++r)
      for (int64_t c = cols.begin; c < cols.end; ++c) {
        const int64_t at = r * scan.cols + c;
        const Number sum = sums.get()[at];
        p.out[v * scan.pixels() + at] = answer_of(Model::kObliquity ? sum * obliquity(view, r, c) : sum);
      }
  });
  return ok ? Status::kOk : Status::kOutOfMemory;
}

template <typename Model, typename T, typename Number>
Status back_pose(const Problem<T, Number>& p, const Executor& executor) {
  const Scan& scan = p.scan;
  const Scratch<Number> weighted(Model::kObliquity ? scan.views * scan.pixels() : 0);
  if (!weighted) return Status::kOutOfMemory;
  const Number* projections = weighted.get();
  if constexpr (Model::kObliquity)
    parallel_for(executor, scan.views, [&](int64_t v) {
      const T* in = p.in + v * scan.pixels();
      Number* values = weighted.get() + v * scan.pixels();
      for (int64_t r = 0; r < scan.rows; ++r)
        for (int64_t c = 0; c < scan.cols; ++c, ++in, ++values) *values = obliquity(p.views[v], r, c) * *in;
    });
  else
    projections = p.in;
  const IndexRange all = {0, static_cast<int32_t>(scan.cols)};
  parallel_for(executor, scan.nz * scan.ny, [&](int64_t task) {
    const int64_t z = task / scan.ny, y = task % scan.ny;
    for (int64_t x = 0; x < scan.nx; ++x) {
      Number sum = Number(0);
      for (int64_t v = 0; v < scan.views; ++v)
        for_footprint<Model>(scan, p.views[v], relative_index<Number>(scan, z, y, x), all,
                             [&](int64_t at, Number weight) { sum += weight * projections[v * scan.pixels() + at]; });
      p.out[task * scan.nx + x] = answer_of(sum);
    }
  });
  return Status::kOk;
}

}  // namespace loops
JAXCT_NAMESPACE_END
