#pragma once
// Gradients with respect to the geometry: what <projections, A volume> gains from changes of each view and of the grid.
// A thread adds up, in the fields of a view (core/pullback.h), what a few pixels or voxel columns of a view give, and
// writes these partial sums down; others add them up in a fixed order, and carry the sums on to vectors and grid.
#include "core/footprint_pullback.h"
#include "core/separable_footprint.h"
#include "cuda/lookups.h"
#include "cuda/operands.h"
#include "cuda/sums.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// Partial sums of some views, [item][view][number][part], of which a kernel writes `count` from `begin` on.
template <typename T>
struct Parts {
  T* numbers;
  int64_t all, begin, count;

  JAXCT_HD void store(int64_t view, int64_t part, const View<T>& gradient) const {
    T* to = numbers + view * kViewNumbers * all + begin + part;
    for_numbers(gradient, gradient, [&](const T& number, const T&) {
      *to = number;
      to += all;
    });
  }
};

// Where a thread is: an item of the batch and one of the views that are held.
struct Place {
  Batch::Offsets at;
  int64_t item, view;
};

// A thread owns every so many-th element of a view, so that neighbouring threads have neighbours. Of's
// add(setup, view, place, element, to) adds what an element gives; views that it does not take are another kernel's.
template <typename Of, typename T>
struct Gradient {
  static constexpr int kThreads = 128, kBlocksPerMultiprocessor = sizeof(T) == 8 ? 2 : 3;

  Setup<T> setup;
  Of of;
  Parts<T> parts;

  JAXCT_HD int64_t blocks() const { return tiles(parts.count * setup.scan.views * setup.batch.items, kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    Digits digits = {block * kThreads + thread};
    const int64_t part = digits.take(parts.count), v = digits.take(setup.scan.views), item = digits.rest;
    if (item >= setup.batch.items) return;
    const Place place = {setup.batch.locate(item), item, v};
    const DeviceView<T>& view = setup.views_of(place.at)[v];
    if (!of.takes(view)) return;
    View<T> sum = {};
    if (view.sound)
      for (int64_t i = part; i < of.elements(setup.scan); i += parts.count) of.add(setup, view, place, i, sum);
    parts.store(item * setup.scan.views + v, part, sum);
  }
};

// Views of an operand's projections from the first that is held on.
template <typename T>
struct HeldViews {
  const T* data;
  Batch batch;
  int64_t views, first;

  JAXCT_HD const T* at(const Scan& scan, const Place& place) const {
    return data + (batch.locate(place.item).data * views + first + place.view) * scan.pixels();
  }
};

template <typename Model, typename T>
struct RayGradient {
  Volumes<T> volumes;
  HeldViews<T> projections;

  JAXCT_HD int64_t elements(const Scan& scan) const { return scan.pixels(); }
  JAXCT_HD bool takes(const DeviceView<T>&) const { return true; }

  JAXCT_HD void add(const Setup<T>& setup, const View<T>& view, const Place& place, int64_t pixel, View<T>& to) const {
    const Scan& scan = setup.scan;
    const T value = load<T>(projections.at(scan, place) + pixel);
    const int64_t row = pixel / scan.cols, col = pixel % scan.cols;
    const Ray<T> ray = make_ray(view, row, col);
    const RayWalk<T> walk = make_walk(scan, view, ray);
    if (value == T(0) || !is_walkable(walk)) return;
    const OrderedVolume<T> volume = volumes.along(walk.axis, scan, place.at.data);
    Ray<T> by_ray;
    pull_walk(view, ray, walk,
              differentiate<Model>(walk, whole_grid(scan), volume.strides, value,
                                   [&](int64_t voxel) { return load<T>(volume.data + voxel); }),
              by_ray, to);
    pull_ray(view, static_cast<T>(row), static_cast<T>(col), by_ray, to);
  }
};

// What the kernels of footprints read.
template <typename T>
struct WeightedViews {
  const T* volume;
  const T* projections;  // [item][view][row][column], weighted with the obliquity

  JAXCT_HD const T* at(const Scan& scan, const Place& place) const {
    return projections + (place.item * scan.views + place.view) * scan.pixels();
  }
};

// Views whose detector rows are stacked along z: all voxels of a column together.
template <typename Model, typename T>
struct ColumnGradient {
  static constexpr int kColumns = kTaps<typename Model::template Column<T>>;

  WeightedViews<T> data;

  JAXCT_HD int64_t elements(const Scan& scan) const { return scan.ny * scan.nx; }
  JAXCT_HD bool takes(const DeviceView<T>& view) const { return !view.is_tilted(); }

  JAXCT_HD void add(const Setup<T>& setup, const View<T>& view, const Place& place, int64_t i, View<T>& to) const {
    const Scan& scan = setup.scan;
    const Vec3<T> foot = {{T(0), relative<T>(i / scan.nx, scan.ny), relative<T>(i % scan.nx, scan.nx)}};
    const auto column = make_upward_column<Model>(scan, view, view.beam, foot[1], foot[2]);
    if (!(column.scale > T(0))) return;
    const IndexRange cols = column.column.range(setup.cols());
    const IndexRange rows =
        index_range(column.edge, column.edge + column.slope * static_cast<T>(scan.nz), setup.rows());
    if (cols.empty() || rows.empty()) return;
    const T *const voxels = data.volume + place.at.data * scan.voxels() + i, *const pixels = data.at(scan, place);
    Moments<T> sum = {T(0), T(0)}, by_shape[4] = {};
    EdgeMoments<T> edges = {T(0), T(0), T(0)};
    T lower[4], upper[4];
    column.column.below_by(static_cast<T>(cols.begin), lower);
    for (int32_t first = cols.begin; first < cols.end; first += kColumns) {
      T weights[kColumns];
      JAXCT_UNROLL
      for (int t = 0; t < kColumns; ++t) weights[t] = column.scale * column.column.weight(first + t);
      Moments<T> met[kColumns] = {};
      meet(setup, view, column, {first, min_of(first + kColumns, cols.end)}, rows, voxels, pixels, weights, met, edges);
      JAXCT_UNROLL
      for (int t = 0; t < kColumns; ++t) {
        column.column.below_by(static_cast<T>(first + t + 1), upper);
        for (int k = 0; k < 4; ++k) {
          by_shape[k] = by_shape[k] + met[t] * (column.scale * (upper[k] - lower[k]));
          lower[k] = upper[k];
        }
        sum = sum + met[t] * weights[t];
      }
    }
    pull_column<Model>(view, foot, column, sum, by_shape, edges, to);
  }

 private:
  // A few detector columns: what the voxels meet in each, and what moving the voxels' edges changes in all of them.
  template <typename Column>
  JAXCT_HD static void meet(const Setup<T>& setup, const View<T>& view, const Column& column, IndexRange cols,
                            IndexRange rows, const T* voxels, const T* pixels, const T (&weights)[kColumns],
                            Moments<T> (&met)[kColumns], EdgeMoments<T>& edges) {
    const Scan& scan = setup.scan;
    const bool down = rows_run_down(view);
    RowLookup<Model, T, T> lookup(column.edge, column.slope, voxels, scan, rows.begin);
    for (int32_t row = rows.begin; row < rows.end; ++row) {
      const T* line = pixels + static_cast<int64_t>(down ? setup.rows() - 1 - row : row) * scan.cols;
      T values[kColumns], value = T(0), flat = T(0), steep = T(0);
      JAXCT_UNROLL
      for (int t = 0; t < kColumns; ++t) {
        values[t] = cols.begin + t < cols.end ? load<T>(line + cols.begin + t) : T(0);
        value = multiply_add(weights[t], values[t], value);
      }
      lookup.visit(
          row,
          [&](int32_t z, T weight, T voxel) {
            flat = multiply_add(weight, voxel, flat);
            steep = multiply_add(weight * relative<T>(z, setup.size(0)), voxel, steep);
          },
          [&](int32_t z, T place, T gain) {
            if (place < static_cast<T>(rows.begin)) return;
            const T change = gain * value, s = static_cast<T>(z) - T(0.5) * static_cast<T>(setup.size(0));
            edges.zeroth += change;
            edges.first = multiply_add(change, s, edges.first);
            edges.second = multiply_add(change * s, s, edges.second);
          });
      JAXCT_UNROLL
      for (int t = 0; t < kColumns; ++t)
        met[t] = {multiply_add(flat, values[t], met[t].sum), multiply_add(steep, values[t], met[t].along_z)};
    }
  }
};

// Images, and views of any other pose: voxel by voxel.
template <typename Model, typename T>
struct VoxelGradient {
  WeightedViews<T> data;

  JAXCT_HD int64_t elements(const Scan& scan) const { return scan.ny * scan.nx; }
  JAXCT_HD bool takes(const DeviceView<T>& view) const { return view.planar || view.is_tilted(); }

  JAXCT_HD void add(const Setup<T>& setup, const View<T>& view, const Place& place, int64_t i, View<T>& to) const {
    const Scan& scan = setup.scan;
    const T *const voxels = data.volume + place.at.data * scan.voxels() + i, *const pixels = data.at(scan, place);
    Vec3<T> q = {{T(0), relative<T>(i / scan.nx, scan.ny), relative<T>(i % scan.nx, scan.nx)}};
    for (int64_t z = 0; z < scan.nz; ++z) {
      q[0] = relative<T>(z, scan.nz);
      pull_voxel<Model>(
          scan, view, q, load<T>(voxels + z * scan.ny * scan.nx),
          [&](int64_t pixel) { return load<T>(pixels + pixel); }, [](int64_t, T) {}, to);
    }
  }
};

// What a footprint model's pixels give through their obliquity.
template <typename T>
struct ObliquityGradient {
  HeldViews<T> projections;
  const T* shadow;  // [item][view][row][column], the volume's projection without it

  JAXCT_HD int64_t elements(const Scan& scan) const { return scan.pixels(); }
  JAXCT_HD bool takes(const DeviceView<T>&) const { return true; }

  JAXCT_HD void add(const Setup<T>& setup, const View<T>& view, const Place& place, int64_t pixel, View<T>& to) const {
    const Scan& scan = setup.scan;
    const int64_t row = pixel / scan.cols, col = pixel % scan.cols;
    const T by = load<T>(projections.at(scan, place) + pixel) *
                 load<T>(shadow + (place.item * scan.views + place.view) * scan.pixels() + pixel);
    pull_obliquity(view, static_cast<T>(row), static_cast<T>(col), make_ray(view, row, col).direction, by, to);
  }
};

// From the sums of some views to the gradient by their vectors, and to what each gives to that by the grid. A thread
// has one of the numbers. NaN for views that are not sound.
template <typename T>
struct PullGeometry {
  static constexpr int kThreads = 64, kBlocksPerMultiprocessor = 1;

  Scan scan;
  Batch batch;
  GeometryBatch geometries;
  int64_t first, held;
  const T* vectors;
  const T* grid;
  const DeviceView<T>* views;
  const double* by_view;  // [item][view that is held][number]
  T* by_vectors;          // [item][view][number]
  double* by_grid;        // [item][number][view]

  JAXCT_HD int64_t blocks() const { return tiles(kGeometryNumbers * held * batch.items, kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    Digits digits = {block * kThreads + thread};
    const auto number = static_cast<int>(digits.take(kGeometryNumbers));
    const int64_t of_held = digits.take(held), v = first + of_held, item = digits.rest;
    if (item >= batch.items) return;
    const double by = pull(batch.locate(item).geometry, v, by_view + (item * held + of_held) * kViewNumbers, number);
    if (number < kVectorNumbers)
      by_vectors[(item * scan.views + v) * kVectorNumbers + number] = static_cast<T>(by);
    else
      by_grid[(item * kGridNumbers + number - kVectorNumbers) * scan.views + v] = by;
  }

 private:
  JAXCT_HD double pull(int64_t geometry, int64_t v, const double* sums, int number) const {
    if (!views[geometry * scan.views + v].sound) return not_a_number<double>();
    const GeometryBatch::Offsets at = geometries.locate(geometry);
    return pull_geometry(scan, vectors + (at.vectors * scan.views + v) * kVectorNumbers, grid + at.grid * kGridNumbers,
                         sums, number);
  }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
