#pragma once
// Separable models, views whose detector rows are stacked along z. All voxels of a (y, x) column then share their
// detector columns and the weights of these, which are most of the work: a thread computes them once for a run of
// slices (in 2-D, of images) that it holds in registers. Forward: a thread owns a few neighbouring detector columns and
// a run of rows, and visits the voxel columns whose shadows can touch them, slab by slab across the rays. Back: a
// thread owns a run of slices and visits the pixels under it.
#include "core/ray_walk.h"
#include "core/separable.h"
#include "cuda/lookups.h"
#include "cuda/operands.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// The line x(y) (or y(x)) of all rays through one place along the detector's columns, in voxels from the middle.
template <typename T>
struct PlaneLine {
  T slope, offset;

  JAXCT_HD T operator()(T at) const { return multiply_add(slope, at, offset); }
};

// An edge that crosses the slabs at a smaller slope than this is not used as one.
template <typename T>
constexpr T kFlattest = T(1e-3);

// The part of the plane that a few detector columns see, between the rays through its edges.
template <typename T>
struct Wedge {
  bool along_y;    // slabs are rows y of the plane; otherwise columns x
  bool is_narrow;  // false: the edges do not cross every slab, and all of each is searched
  PlaneLine<T> edge[2];
};

template <typename T>
JAXCT_HD Wedge<T> make_wedge(const View<T>& view, T begin, T end) {
  const Ray<T> middle = make_ray_at(view, view.row_middle, T(0.5) * (begin + end));
  Wedge<T> wedge;
  wedge.along_y = std::abs(middle.direction[1]) >= std::abs(middle.direction[2]);
  wedge.is_narrow = true;
  const T ahead = wedge.along_y ? middle.direction[1] : middle.direction[2];
  JAXCT_UNROLL
  for (int e = 0; e < 2; ++e) {
    const Ray<T> ray = make_ray_at(view, view.row_middle, e == 0 ? begin : end);
    const T along = wedge.along_y ? ray.direction[1] : ray.direction[2];
    const T across = wedge.along_y ? ray.direction[2] : ray.direction[1];
    wedge.is_narrow = wedge.is_narrow && along * ahead > T(0) && std::abs(along) > kFlattest<T> * std::abs(across);
    wedge.edge[e] = {across / along, (wedge.along_y ? -ray.moment[0] : ray.moment[0]) / along};
  }
  return wedge;
}

// The cells of slab `at` (both from the middle of the grid) within `margin` of the wedge, of n.
template <typename T>
JAXCT_HD IndexRange cells_in(const Wedge<T>& wedge, T at, T margin, int32_t n) {
  if (!wedge.is_narrow) return {0, n};
  const T middle = T(0.5) * static_cast<T>(n - 1);
  // A cell too many costs its footprint; one too few would be missed: the slack is far above rounding.
  T lo = T(1e30), hi = T(-1e30), slack = T(0.01);
  JAXCT_UNROLL
  for (int e = 0; e < 2; ++e) {
    slack += T(4) * epsilon<T>() * std::abs(wedge.edge[e].offset);
    const T near = wedge.edge[e](at - margin), far = wedge.edge[e](at + margin);
    lo = min_of(lo, min_of(near, far));
    hi = max_of(hi, max_of(near, far));
  }
  return index_range(lo + middle - margin - slack, hi + middle + margin + slack + T(1), n);
}

// kLength detector rows at a time (counted upwards); in planar scans as many images of a packed batch, or the only one.
template <typename Model, typename T, typename Store, int kLength, bool kPlanar>
struct ForwardColumns {
  static constexpr int kThreads = 128, kBlocksPerMultiprocessor = sizeof(T) == 8 ? 2 : kPlanar ? 4 : 3, kCols = 2;
  static constexpr bool kPacked = kPlanar && kLength > 1;

  Setup<T> setup;
  Volumes<Store> volumes;

  JAXCT_HD int64_t runs() const { return kPlanar ? setup.batch.runs(kLength) : tiles(setup.scan.rows, kLength); }
  JAXCT_HD int64_t blocks() const {
    return tiles(tiles(setup.scan.cols, kCols) * setup.scan.views * runs() * setup.batch.items, kThreads);
  }

  // Blocks that run at the same time look from all sides at one range of slices, which stays in the cache.
  JAXCT_HD void operator()(int64_t block, int thread) const {
    const Scan& scan = setup.scan;
    Digits digits = {block * kThreads + thread};
    const auto col = static_cast<int32_t>(digits.take(tiles(scan.cols, kCols)) * kCols);
    const int64_t v = digits.take(scan.views);
    const auto run = static_cast<int32_t>(digits.take(runs()));
    if (digits.rest >= setup.batch.items) return;
    const Batch::Offsets at = setup.batch.locate(digits.rest);
    const DeviceView<T> view = load_view(setup.views_of(at) + v);
    if (view.is_tilted()) return;

    T sums[kCols][kLength];
    JAXCT_UNROLL
    for (int c = 0; c < kCols; ++c) JAXCT_UNROLL
    for (int i = 0; i < kLength; ++i) sums[c][i] = view.sound ? T(0) : not_a_number<T>();
    if (view.sound) visit_columns(view, kPacked ? at.pack * runs() + run : at.data, col, run * kLength, sums);
    store(view, at, v, col, run * kLength, sums);
  }

 private:
  JAXCT_HD void visit_columns(const View<T>& view, int64_t item, int32_t col, int32_t begin,
                              T (&sums)[kCols][kLength]) const {
    const T edge = T(0.5) + Model::template pixel_reach<T>();
    const Wedge<T> wedge = make_wedge(view, static_cast<T>(col) - edge, static_cast<T>(col + kCols - 1) + edge);
    const int32_t slabs = setup.size(wedge.along_y ? 1 : 2), cells = setup.size(wedge.along_y ? 2 : 1);
    // Neighbouring detector columns should read neighbouring voxels: across the slabs.
    const Store* volume = (kPacked         ? volumes.packed
                           : wedge.along_y ? volumes.plain
                                           : volumes.turned) +
                          item * setup.scan.voxels() * (kPacked ? kLength : 1);
    for (int32_t k = 0; k < slabs; ++k) {
      const T slab = relative<T>(k, slabs);
      const IndexRange range = cells_in(wedge, slab, Model::template voxel_reach<T>(), cells);
      for (int32_t j = range.begin; j < range.end; ++j) {
        const T cell = relative<T>(j, cells);
        const auto column = make_upward_column<Model>(setup.scan, view, view.beam, wedge.along_y ? slab : cell,
                                                      wedge.along_y ? cell : slab);
        T weights[kCols];
        bool touched = false;
        JAXCT_UNROLL
        for (int c = 0; c < kCols; ++c) {
          weights[c] = column.scale * column.column.weight(col + c);
          touched = touched || weights[c] != T(0);
        }
        if (!touched) continue;
        // Packed images have no second order.
        const int64_t voxel =
            !kPacked || wedge.along_y ? static_cast<int64_t>(k) * cells + j : static_cast<int64_t>(j) * slabs + k;
        if constexpr (kPlanar) {
          JAXCT_UNROLL
          for (int c = 0; c < kCols; ++c) add_run(weights[c], volume + voxel * kLength, sums[c]);
        } else {
          add_slices(column.edge, column.slope, volume + voxel, begin, weights, sums);
        }
      }
    }
  }

  // Spreads a column of voxels over the rows, and these over the detector columns.
  JAXCT_HD void add_slices(T edge, T slope, const Store* voxels, int32_t begin, const T (&weights)[kCols],
                           T (&sums)[kCols][kLength]) const {
    RowLookup<Model, T, Store> lookup(edge, slope, voxels, setup.scan, begin);
    JAXCT_UNROLL
    for (int i = 0; i < kLength; ++i) {
      const T value = lookup.value_at(begin + i);
      JAXCT_UNROLL
      for (int c = 0; c < kCols; ++c) sums[c][i] = multiply_add(weights[c], value, sums[c][i]);
    }
  }

  JAXCT_HD void store(const DeviceView<T>& view, const Batch::Offsets& at, int64_t v, int32_t col, int32_t begin,
                      const T (&sums)[kCols][kLength]) const {
    const Scan& scan = setup.scan;
    const int64_t length = kPlanar ? setup.batch.lanes : scan.rows;
    JAXCT_UNROLL
    for (int c = 0; c < kCols; ++c) JAXCT_UNROLL
    for (int i = 0; i < kLength; ++i) {
      if (begin + i >= length || col + c >= setup.cols()) continue;
      const int64_t lane = kPlanar ? begin + i : 0;
      const int64_t row = kPlanar ? 0 : rows_run_down(view) ? scan.rows - 1 - (begin + i) : begin + i;
      setup.out[scan.pixel(setup.result_of(at, lane), v, row, col + c)] = sums[c][i] * setup.unscale(at, lane);
    }
  }
};

template <typename Model, typename T, typename Store, int kLength, bool kPlanar>
struct ColumnGather {
  JAXCT_HD static void add_view(const Setup<T>& setup, const View<T>& view, const Store* data, int32_t y, int32_t x,
                                int32_t begin, T (&sums)[kLength]) {
    if (!view.axial) return;
    const auto column = make_upward_column<Model>(setup.scan, view, view.beam, relative<T>(y, setup.size(1)),
                                                  relative<T>(x, setup.size(2)));
    if (!(column.scale > T(0))) return;
    const IndexRange cols = column.column.range(setup.cols());
    if constexpr (kPlanar) {
      for (int32_t c = cols.begin; c < cols.end; ++c)
        add_run(column.scale * column.column.weight(c), data + static_cast<int64_t>(c) * kLength, sums);
    } else {
      constexpr int kColumns = kTaps<typename Model::template Column<T>>;
      using Pixels = PixelColumns<T, Store, kColumns>;
      for (int32_t c = cols.begin; c < cols.end; c += kColumns) {
        Pixels pixels = {data + c, setup.cols(), setup.rows(), cols.end - c, rows_run_down(view), {}};
        JAXCT_UNROLL
        for (int t = 0; t < kColumns; ++t) pixels.weights[t] = column.scale * column.column.weight(c + t);
        SliceLookup<Model, T, Pixels> lookup(column.edge, column.slope, pixels, begin);
        JAXCT_UNROLL
        for (int i = 0; i < kLength; ++i) sums[i] += lookup.value_at(begin + i);
      }
    }
  }
};

template <typename Model, typename T, typename Store, int kLength, bool kPlanar>
using BackColumns = Back<ColumnGather<Model, T, Store, kLength, kPlanar>, T, Store, kLength, kPlanar>;

}  // namespace cuda
JAXCT_NAMESPACE_END
