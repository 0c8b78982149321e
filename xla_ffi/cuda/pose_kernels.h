#pragma once
// Separable models, views of any pose: one voxel, or one pixel, at a time. Forward: a thread owns a pixel and visits,
// slab by slab along its ray, the voxels whose shadows can touch it. Back: a thread owns a voxel. Both add to what the
// kernels for stacked rows have written, and leave at once where no view of a geometry is tilted. Derivatives along a
// tangent have no other kernels.
#include "core/pullback.h"
#include "core/separable.h"
#include "cuda/operands.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// Which views are for these kernels.
struct Tilted {
  const uint32_t* flags;  // of all geometries together, then of each; null: all views are, tilted or not

  JAXCT_HD bool any() const { return flags == nullptr || flags[0] != 0; }
  JAXCT_HD bool has(int64_t geometry) const { return flags == nullptr || flags[1 + geometry] != 0; }
  template <typename T>
  JAXCT_HD bool takes(const DeviceView<T>& view) const {
    return flags == nullptr || view.is_tilted();
  }
};

// The rays through a pixel and its neighbours, all walked along one axis.
template <typename T>
struct PixelBeam {
  RayWalk<T> middle, next_row, next_col;
};

template <typename T>
JAXCT_HD PixelBeam<T> make_beam(const Scan& scan, const View<T>& view, T row, T col) {
  const Ray<T> ray = make_ray_at(view, row, col);
  const int axis = dominant_axis(ray.direction);
  return {make_walk_along(scan, view, ray, axis), make_walk_along(scan, view, make_ray_at(view, row + T(1), col), axis),
          make_walk_along(scan, view, make_ray_at(view, row, col + T(1)), axis)};
}

struct CellWindow {
  IndexRange a, b;
};

// The cells of slab k whose shadows can touch the pixel, by first order about its ray: a pixel's step in either
// direction moves the ray by (row_a, row_b) or (col_a, col_b) in the slab; the inverse gives a voxel's half shadow.
template <typename Model, typename T>
JAXCT_HD CellWindow cells_near(const Scan& scan, const PixelBeam<T>& beam, int32_t k) {
  const RayWalk<T>& walk = beam.middle;
  const auto num_a = static_cast<int32_t>(scan.size(walk.minor_a));
  const auto num_b = static_cast<int32_t>(scan.size(walk.minor_b));
  const T offset = static_cast<T>(k) - walk.middle;
  const T a = multiply_add(walk.slope_a, offset, walk.a), b = multiply_add(walk.slope_b, offset, walk.b);
  const auto step_a = [&](const RayWalk<T>& next) { return multiply_add(next.slope_a, offset, next.a) - a; };
  const auto step_b = [&](const RayWalk<T>& next) { return multiply_add(next.slope_b, offset, next.b) - b; };
  const T row_a = step_a(beam.next_row), row_b = step_b(beam.next_row);
  const T col_a = step_a(beam.next_col), col_b = step_b(beam.next_col);
  const T area = row_a * col_b - row_b * col_a;
  // A neighbouring ray that is nearly parallel to the slab, or to this one, says nothing of the window.
  if (!(std::abs(area) > T(1e-12) && std::abs(area) < T(1e30))) return {{0, num_a}, {0, num_b}};
  // Rows and columns per voxel along a, b and the ray's axis.
  const T rows = std::abs(col_b) + std::abs(col_a) + std::abs(col_b * walk.slope_a - col_a * walk.slope_b);
  const T cols = std::abs(row_b) + std::abs(row_a) + std::abs(row_b * walk.slope_a - row_a * walk.slope_b);
  const T reach = T(0.5) + Model::template pixel_reach<T>(), half = Model::template voxel_reach<T>() / std::abs(area);
  // A quarter more for what first order leaves out.
  const T reach_row = T(1.25) * (reach + half * rows), reach_col = T(1.25) * (reach + half * cols);
  const T reach_a = std::abs(row_a) * reach_row + std::abs(col_a) * reach_col + T(0.25);
  const T reach_b = std::abs(row_b) * reach_row + std::abs(col_b) * reach_col + T(0.25);
  return {index_range(a - reach_a, a + reach_a + T(1), num_a), index_range(b - reach_b, b + reach_b + T(1), num_b)};
}

template <typename Model, typename T, typename Store>
struct ForwardPoses {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = sizeof(T) > 4 ? 1 : 2;

  Setup<T> setup;
  Volumes<Store> volumes;
  Tilted tilted;

  JAXCT_HD int64_t blocks() const {
    return tiles(setup.batch.items * setup.scan.views * setup.scan.pixels(), kThreads);
  }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    if (!tilted.any()) return;
    Digits digits = {block * kThreads + thread};
    const int64_t pixel = digits.take(setup.scan.pixels()), v = digits.take(setup.scan.views);
    if (digits.rest >= setup.batch.items) return;
    const Batch::Offsets at = setup.batch.locate(digits.rest);
    if (!tilted.has(at.geometry)) return;
    const DeviceView<T>& view = setup.views_of(at)[v];
    if (tilted.takes(view))
      setup.out[(at.result * setup.scan.views + v) * setup.scan.pixels() + pixel] =
          view.sound ? integrate(view, at.data, pixel / setup.scan.cols, pixel % setup.scan.cols) * setup.unscale(at, 0)
                     : not_a_number<Real<T>>();
  }

 private:
  // Values come without obliquity, as those of the kernels for stacked rows; derivatives have it.
  JAXCT_HD Real<T> integrate(const View<T>& view, int64_t item, int64_t row, int64_t col) const {
    const T sum = collect(view, item, row, col);
    if constexpr (Model::kObliquity && !std::is_same_v<T, Real<T>>) return answer_of(sum * obliquity(view, row, col));
    return answer_of(sum);
  }

  JAXCT_HD T collect(const View<T>& view, int64_t item, int64_t row, int64_t col) const {
    const Scan& scan = setup.scan;
    const PixelBeam<Real<T>> beam =
        make_beam(scan, value_of(view), static_cast<Real<T>>(row), static_cast<Real<T>>(col));
    if (!is_walkable(beam.middle)) return T(0);
    const int i = beam.middle.axis, j = beam.middle.minor_a, k = beam.middle.minor_b;
    const Strides strides = strides_of(scan);
    const Store* volume = volumes.plain + item * scan.voxels();
    T sum = T(0);
    int32_t q[3];
    for (q[i] = 0; q[i] < setup.size(i); ++q[i]) {
      const CellWindow window = cells_near<Model>(scan, beam, q[i]);
      for (q[j] = window.a.begin; q[j] < window.a.end; ++q[j])
        for (q[k] = window.b.begin; q[k] < window.b.end; ++q[k]) {
          const T weight = weight_of(view, q, static_cast<int32_t>(row), static_cast<int32_t>(col));
          const int64_t at = q[0] * strides.axis[0] + q[1] * strides.axis[1] + q[2];
          if (value_of(weight) != Real<T>(0)) sum = multiply_add(weight, load<Real<T>>(volume + at), sum);
        }
    }
    return sum;
  }

  JAXCT_HD T weight_of(const View<T>& view, const int32_t (&q)[3], int32_t row, int32_t col) const {
    const Vec3<T> place = {
        {relative<T>(q[0], setup.size(0)), relative<T>(q[1], setup.size(1)), relative<T>(q[2], setup.size(2))}};
    const auto voxel = Model::make_voxel(setup.scan, view, place);
    return voxel.scale > T(0) ? voxel.scale * voxel.column.weight(col) * voxel.row.weight(row) : T(0);
  }
};

template <typename Model, typename T, typename Store>
struct BackPoses {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = sizeof(T) > 4 ? 1 : 2;

  Setup<T> setup;
  Projections<Store> projections;
  Tilted tilted;
  bool first;  // sums begin at zero

  JAXCT_HD int64_t blocks() const { return tiles(setup.batch.items * setup.scan.voxels(), kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    if (!tilted.any()) return;
    Digits digits = {block * kThreads + thread};
    const int64_t voxel = digits.take(setup.scan.voxels());
    if (digits.rest >= setup.batch.items) return;
    const Batch::Offsets at = setup.batch.locate(digits.rest);
    if (!tilted.has(at.geometry)) return;
    const Real<T> sum =
        collect(setup.views_of(at) + projections.first, projections.item(setup.scan, at.data, at.result), voxel) *
        setup.unscale(at, 0);
    Real<T>* out = setup.out + at.result * setup.scan.voxels() + voxel;
    *out = first ? sum : *out + sum;
  }

 private:
  JAXCT_HD Real<T> collect(const DeviceView<T>* views, const Store* data, int64_t voxel) const {
    const Scan& scan = setup.scan;
    Digits digits = {voxel};
    const int64_t x = digits.take(scan.nx), y = digits.take(scan.ny), z = digits.rest;
    const Vec3<T> place = {{relative<T>(z, scan.nz), relative<T>(y, scan.ny), relative<T>(x, scan.nx)}};
    Real<T> sum = Real<T>(0);
    for (int64_t v = 0; v < projections.held; ++v)
      if (!views[v].sound)
        sum = not_a_number<Real<T>>();
      else if (tilted.takes(views[v]))
        for_footprint<Model>(scan, views[v], place, {0, setup.cols()}, [&](int64_t at, T weight) {
          sum = add_answer(weight, load<T>(data + v * scan.pixels() + at), sum);
        });
    return sum;
  }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
