#pragma once
// Separable models for views of any pose: one voxel at a time. Forward: a task owns a band of detector columns of one
// view and collects every voxel that falls on it. Back: a task owns a row of voxels.
#include "core/separable.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename T>
Vec3<T> relative_index(const Scan& scan, int64_t z, int64_t y, int64_t x) {
  return {{relative<T>(z, scan.nz), relative<T>(y, scan.ny), relative<T>(x, scan.nx)}};
}

template <typename T>
void scale_by_obliquity(const Scan& scan, const View<T>& view, const T* in, T* out) {
  for (int64_t r = 0; r < scan.rows; ++r)
    for (int64_t c = 0; c < scan.cols; ++c) out[r * scan.cols + c] = obliquity(view, r, c) * in[r * scan.cols + c];
}

template <typename Model, typename T>
Status forward_pose(const Problem<T>& p, const Executor& executor) {
  const Scan& scan = p.scan;
  const int64_t bands = scan.views < 8 ? min_of(scan.cols, int64_t{8}) : 1;
  parallel_for(executor, scan.views * bands, [&](int64_t task) {
    const int64_t v = task / bands;
    const IndexRange cols = band_of(scan, task % bands, bands);
    T* projection = p.out + v * scan.pixels();
    for (int64_t r = 0; r < scan.rows; ++r)
      for (int64_t c = cols.begin; c < cols.end; ++c) projection[r * scan.cols + c] = T(0);
    const T* volume = p.in;
    for (int64_t z = 0; z < scan.nz; ++z)
      for (int64_t y = 0; y < scan.ny; ++y)
        for (int64_t x = 0; x < scan.nx; ++x, ++volume)
          for_footprint<Model>(scan, p.views[v], relative_index<T>(scan, z, y, x), cols,
                               [&](int64_t at, T weight) { projection[at] += weight * *volume; });
    if (!Model::kObliquity) return;
    for (int64_t r = 0; r < scan.rows; ++r)
      for (int64_t c = cols.begin; c < cols.end; ++c) projection[r * scan.cols + c] *= obliquity(p.views[v], r, c);
  });
  return Status::kOk;
}

template <typename Model, typename T>
Status back_pose(const Problem<T>& p, const Executor& executor) {
  const Scan& scan = p.scan;
  Scratch<T> weighted(Model::kObliquity ? scan.views * scan.pixels() : 0);
  if (!weighted) return Status::kOutOfMemory;
  const T* projections = p.in;
  if (Model::kObliquity) {
    parallel_for(executor, scan.views, [&](int64_t v) {
      scale_by_obliquity(scan, p.views[v], p.in + v * scan.pixels(), weighted.get() + v * scan.pixels());
    });
    projections = weighted.get();
  }
  const IndexRange all = {0, static_cast<int32_t>(scan.cols)};
  parallel_for(executor, scan.nz * scan.ny, [&](int64_t task) {
    const int64_t z = task / scan.ny, y = task % scan.ny;
    for (int64_t x = 0; x < scan.nx; ++x) {
      T sum = T(0);
      for (int64_t v = 0; v < scan.views; ++v)
        for_footprint<Model>(scan, p.views[v], relative_index<T>(scan, z, y, x), all,
                             [&](int64_t at, T weight) { sum += weight * projections[v * scan.pixels() + at]; });
      p.out[task * scan.nx + x] = sum;
    }
  });
  return Status::kOk;
}

}  // namespace loops
JAXCT_NAMESPACE_END
