#pragma once
// Line models. Forward: a thread owns a ray. Back: a thread finds the rays that pass within a voxel of its run of
// slices (in 2-D, of images), and takes from each the weights that the forward walk gives: it evaluates the same
// crossing of the same slab.
#include "core/pullback.h"
#include "cuda/operands.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// kImages > 1: a run of a packed batch.
template <typename Model, typename T, typename Store, int kImages>
struct ForwardRays {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = kImages > 1 || sizeof(T) > 4 ? 2 : 3;

  Setup<T> setup;
  Volumes<Store> volumes;

  JAXCT_HD int64_t runs() const { return setup.batch.runs(kImages); }
  JAXCT_HD int64_t blocks() const {
    return tiles(setup.batch.items * runs() * setup.scan.views * setup.scan.pixels(), kThreads);
  }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const Scan& scan = setup.scan;
    Digits digits = {block * kThreads + thread};
    const int64_t col = digits.take(scan.cols), row = digits.take(scan.rows), v = digits.take(scan.views);
    const int64_t run = digits.take(runs());
    if (digits.rest >= setup.batch.items) return;
    const Batch::Offsets at = setup.batch.locate(digits.rest);
    const DeviceView<T>& view = setup.views_of(at)[v];

    T sums[kImages], step = T(1);
    JAXCT_UNROLL
    for (int i = 0; i < kImages; ++i) sums[i] = T(0);
    if (view.sound) {
      const RayWalk<T> walk = make_walk(scan, view, make_ray(view, row, col));
      step = walk.step;
      integrate(walk, kImages > 1 ? at.pack * runs() + run : at.data, sums);
    }
    JAXCT_UNROLL
    for (int i = 0; i < kImages; ++i) {
      const int64_t lane = run * kImages + i;
      if (lane < setup.batch.lanes)
        setup.out[scan.pixel(setup.result_of(at, lane), v, row, col)] =
            view.sound ? answer_of(sums[i] * step) * setup.unscale(at, lane) : not_a_number<Real<T>>();
    }
  }

 private:
  JAXCT_HD void integrate(const RayWalk<T>& walk, int64_t item, T (&sums)[kImages]) const {
    const Scan& scan = setup.scan;
    const OrderedVolume<Store> volume =
        kImages > 1 ? OrderedVolume<Store>{volumes.packed + item * scan.voxels() * kImages, strides_of(scan)}
                    : volumes.along(walk.axis, scan, item);
    const VoxelBox grid = whole_grid(scan);
    walk_slabs<Model>(walk, slabs_in(walk, grid), [&](int32_t k, int32_t a, int32_t b, const Stencil<T>& stencil) {
      for_cells(walk, grid, volume.strides, k, a, b, stencil,
                [&](int64_t cell, T weight) { add_run(weight, volume.data + cell * kImages, sums); });
    });
  }
};

// How far, in pixels, rays that pass within a voxel of a run of slices can be from its middle.
// A run whose extent towards the source is more than 0.9 of its distance is too near for bounds that help.
template <typename T>
constexpr T kNearest = T(0.1);

template <typename T>
struct Reach {
  T row, col;
  bool bounded;  // false where the run is too near the source: every pixel is within reach
};

// `half`: half the extent of the places that rays are looked for at, in voxels from q. Exact bounds for flat detectors,
// where row and column are quotients of affine functions; for curved ones a circle about the source stands in.
template <typename T>
JAXCT_HD Reach<T> reach_of(const View<T>& view, const Vec3<T>& q, const Vec3<T>& half) {
  const T across = view.across(q), depth = view.depth(q), along = view.along(q);
  if (view.beam == Beam::kCurvedCone) {
    const T distance = std::sqrt(across * across + depth * depth);
    T sideways = T(0), radial = T(0), up = T(0);
    JAXCT_UNROLL
    for (int i = 0; i < 3; ++i) {
      const T a = view.across.slope[i], d = view.depth.slope[i];
      sideways += half[i] * std::abs(depth * a - across * d);
      radial += half[i] * std::sqrt(a * a + d * d);
      up += half[i] * std::abs(view.along.slope[i]);
    }
    const T nearest = distance - radial;
    if (!(nearest > kNearest<T> * distance)) return {T(0), T(0), false};
    return {view.radius / nearest * (up + std::abs(along) * radial / distance),
            sideways / (distance * nearest * view.angle_step), true};
  }
  const T col = across / depth, row = along / depth;
  T cols = T(0), rows = T(0), nearer = T(0);
  JAXCT_UNROLL
  for (int i = 0; i < 3; ++i) {
    cols += half[i] * std::abs(view.across.slope[i] - col * view.depth.slope[i]);
    rows += half[i] * std::abs(view.along.slope[i] - row * view.depth.slope[i]);
    nearer += half[i] * std::abs(view.depth.slope[i]);
  }
  // Behind the source: no ray gets there. Twice, because a line model may weigh the part of a slab.
  if (depth + T(2) * nearer <= T(0)) return {T(-1), T(-1), true};
  const T nearest = depth - nearer;
  if (!(nearest > kNearest<T> * depth)) return {T(0), T(0), false};
  return {rows / nearest, cols / nearest, true};
}

// Half the box around q in which rays of weight for a run cross the plane of their slab's middles: a little over one
// voxel (what reaches further by rounding has a weight of that size) in the minor axes, and nothing in the dominant one
// where all rays nearby surely share it.
template <typename T>
JAXCT_HD Vec3<T> search_box(const View<T>& view, const Vec3<T>& q, T half_run) {
  const T near = T(1.01);
  // Rays of weight pass within two voxels of q, and a run is eight slices long: at 32 voxels from the source their
  // directions differ by less than a fifth, and an axis below 0.7 of the largest cannot become the dominant one.
  const T far_away = T(32), minor = T(0.7);
  const Vec3<T> d = view.beam == Beam::kParallel ? view.direction[0] : q - view.origin;
  const T most = max_of(std::abs(d[0]), max_of(std::abs(d[1]), std::abs(d[2])));
  const bool far = view.beam == Beam::kParallel || most > far_away;
  Vec3<T> half = {{half_run + near, near, near}};
  JAXCT_UNROLL
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    if (far && std::abs(d[j]) < minor * most && std::abs(d[k]) < minor * most) half[i] -= near;
  }
  return half;
}

template <typename Model, typename T, typename Store, int kLength, bool kPlanar>
struct RayGather {
  using Sums = Real<T>[kLength];

  JAXCT_HD static void add_view(const Setup<T>& setup, const View<T>& view, const Store* data, int32_t y, int32_t x,
                                int32_t begin, Sums& sums) {
    const Window window = pixels_near(setup, value_of(view), y, x, begin);
    for (int32_t row = window.rows.begin; row < window.rows.end; ++row)
      for (int32_t col = window.cols.begin; col < window.cols.end; ++col) {
        const RayWalk<T> walk = make_walk(setup.scan, view, make_ray(view, row, col));
        if (!is_walkable(walk)) continue;
        if (kPlanar)
          add_to_images(walk, data + static_cast<int64_t>(col) * kLength, y, x, sums);
        else
          add_to_slices(walk, walk.step * load<Real<T>>(data + static_cast<int64_t>(row) * setup.cols() + col), y, x,
                        begin, sums);
      }
  }

 private:
  struct Window {
    IndexRange rows, cols;
  };

  // Pixels whose rays can pass within a voxel of the run.
  JAXCT_HD static Window pixels_near(const Setup<T>& setup, const View<Real<T>>& view, int32_t y, int32_t x,
                                     int32_t begin) {
    using R = Real<T>;
    const R half_run = kPlanar ? R(0) : R(0.5) * static_cast<R>(kLength - 1);
    const Vec3<R> middle = {{kPlanar ? R(0) : relative<R>(begin, setup.size(0)) + half_run,
                             relative<R>(y, setup.size(1)), relative<R>(x, setup.size(2))}};
    Window window = {{0, setup.rows()}, {0, setup.cols()}};
    const Reach<R> reach = reach_of(view, middle, search_box(view, middle, half_run));
    if (!reach.bounded) return window;
    const R across = view.across(middle), depth = view.depth(middle);
    const R col = column_of(view, view.beam, across, depth);
    window.cols = index_range(col - reach.col, col + reach.col + R(1), setup.cols());
    if (!kPlanar) {
      const R row = row_of(view, view.along(middle), magnification(view, view.beam, across, depth));
      window.rows = index_range(row - reach.row, row + reach.row + R(1), setup.rows());
    }
    return window;
  }

  // The weight of a cell of the stencil, zero for all others.
  JAXCT_HD static T weight_at(const Stencil<T>& stencil, int32_t a, int32_t b) {
    const T low = b == 0 ? stencil.weight[0][0] : b == 1 ? stencil.weight[0][1] : T(0);
    const T high = b == 0 ? stencil.weight[1][0] : b == 1 ? stencil.weight[1][1] : T(0);
    return a == 0 ? low : a == 1 ? high : T(0);
  }

  JAXCT_HD static void add_to_images(const RayWalk<T>& walk, const Store* data, int32_t y, int32_t x, Sums& sums) {
    // The axes of a plane ray: (y; x, z) or (x; z, y).
    const bool along_y = walk.axis == 1;
    const Crossing<T> at = cross_slab(walk, along_y ? y : x);
    const Stencil<T> stencil = Model::stencil(at.slab);
    const Real<T> weight = answer_of(walk.step * (along_y ? weight_at(stencil, x - at.cell_a, -at.cell_b)
                                                          : weight_at(stencil, -at.cell_a, y - at.cell_b)));
    if (weight != Real<T>(0)) add_run(weight, data, sums);
  }

  JAXCT_HD static void add_to_slices(const RayWalk<T>& walk, T value, int32_t y, int32_t x, int32_t begin, Sums& sums) {
    if (walk.axis == 0) {  // (z; y, x)
      JAXCT_UNROLL
      for (int i = 0; i < kLength; ++i) {
        const Crossing<T> at = cross_slab(walk, begin + i);
        sums[i] = add_answer(weight_at(Model::stencil(at.slab), y - at.cell_a, x - at.cell_b), value, sums[i]);
      }
      return;
    }
    const bool along_y = walk.axis == 1;  // (y; x, z) or (x; z, y)
    const Crossing<T> at = cross_slab(walk, along_y ? y : x);
    const int32_t plane = along_y ? x - at.cell_a : y - at.cell_b;
    if (plane < 0 || plane > 1) return;
    const Stencil<T> stencil = Model::stencil(at.slab);
    const int32_t cell_z = along_y ? at.cell_b : at.cell_a;
    const T low = weight_at(stencil, along_y ? plane : 0, along_y ? 0 : plane);
    const T high = weight_at(stencil, along_y ? plane : 1, along_y ? 1 : plane);
    JAXCT_UNROLL
    for (int i = 0; i < kLength; ++i) {
      const int32_t z = begin + i - cell_z;
      const T weight = z == 0 ? low : z == 1 ? high : T(0);
      sums[i] = add_answer(weight, value, sums[i]);
    }
  }
};

template <typename Model, typename T, typename Store, int kLength, bool kPlanar>
using BackRays = Back<RayGather<Model, T, Store, kLength, kPlanar>, T, Store, kLength, kPlanar>;

}  // namespace cuda
JAXCT_NAMESPACE_END
