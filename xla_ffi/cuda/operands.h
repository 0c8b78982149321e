#pragma once
// What the kernels of a call read and write.
#include <type_traits>

#include "core/ray_walk.h"
#include "cuda/prepare.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

template <typename Store>
struct OrderedVolume {
  const Store* data;
  Strides strides;
};

// Volumes in both orders, or a packed batch of images.
template <typename Store>
struct Volumes {
  const Store* plain;   // [item][z][y][x]
  const Store* turned;  // [item][z][x][y]
  const Store* packed;  // [item][run][y][x][image]

  // Neighbouring rays that run along x differ in y: they read the volume in which y is innermost.
  JAXCT_HD OrderedVolume<Store> along(int axis, const Scan& scan, int64_t item) const {
    if (axis == 2) return {turned + item * scan.voxels(), {{scan.ny * scan.nx, 1, scan.ny}}};
    return {plain + item * scan.voxels(), strides_of(scan)};
  }
};

// Views [first, first + held) of the projections: as they came, copied with an item for every result, or packed.
template <typename Store>
struct Projections {
  const Store* data;
  int64_t first, held;
  bool copied;

  JAXCT_HD const Store* item(const Scan& scan, int64_t data_item, int64_t copied_item) const {
    return data + (copied ? copied_item : data_item) * held * scan.pixels();
  }
};

// A view, in loads of 16 bytes; the parts that are not used are not loaded.
template <typename T>
JAXCT_HD DeviceView<T> load_view(const DeviceView<T>* p) {
#if defined(__CUDA_ARCH__)
  static_assert(sizeof(DeviceView<T>) % sizeof(uint4) == 0 && std::is_trivially_copyable_v<DeviceView<T>>);
  constexpr int kLoads = sizeof(DeviceView<T>) / sizeof(uint4);
  uint4 bits[kLoads];
  JAXCT_UNROLL
  for (int i = 0; i < kLoads; ++i) bits[i] = __ldg(reinterpret_cast<const uint4*>(p) + i);
  DeviceView<T> view;
  memcpy(&view, bits, sizeof view);
  return view;
#else
  return *p;
#endif
}

// With their tangents its numbers are too many for registers.
template <typename T>
JAXCT_HD const DeviceView<Dual<T>>& load_view(const DeviceView<Dual<T>>* p) {
  return *p;
}

// What every kernel of the loops needs. T is what the views' numbers are: of derivatives along a tangent Dual.
template <typename T>
struct Setup {
  Scan scan;
  Batch batch;
  Scaling scaling;
  const DeviceView<T>* views;
  int64_t view_stride;  // of geometries among the views
  Real<T>* out;

  JAXCT_HD const DeviceView<T>* views_of(const Batch::Offsets& at) const { return views + at.geometry * view_stride; }
  JAXCT_HD int32_t size(int axis) const { return static_cast<int32_t>(scan.size(axis)); }
  JAXCT_HD int32_t rows() const { return static_cast<int32_t>(scan.rows); }
  JAXCT_HD int32_t cols() const { return static_cast<int32_t>(scan.cols); }

  JAXCT_HD int64_t result_of(const Batch::Offsets& at, int64_t lane) const {
    return at.result + lane * batch.lane_result;
  }
  // What brings a scaled sum back.
  JAXCT_HD Real<T> unscale(const Batch::Offsets& at, int64_t lane) const {
    return static_cast<Real<T>>(scaling.inverse(at.data + lane * batch.lane_data));
  }
};

// sums += weight * a run of images, or one value.
template <typename T, typename Store, int kLength>
JAXCT_HD void add_run(T weight, const Store* p, T (&sums)[kLength]) {
  if constexpr (kLength == 1) {
    sums[0] = multiply_add(weight, load<Real<T>>(p), sums[0]);
  } else {
    Real<T> values[kLength];
    load_run(p, values);
    JAXCT_UNROLL
    for (int i = 0; i < kLength; ++i) sums[i] = multiply_add(weight, values[i], sums[i]);
  }
}

// The sums of a run of slices or images at (y, x), to where they belong.
template <bool kPlanar, typename T, int kLength>
JAXCT_HD void store_run(const Setup<T>& setup, const Batch::Offsets& at, int32_t begin, int32_t y, int32_t x,
                        bool first, const Real<T> (&sums)[kLength]) {
  const Scan& scan = setup.scan;
  const int64_t length = kPlanar ? setup.batch.lanes : scan.nz;
  JAXCT_UNROLL
  for (int i = 0; i < kLength; ++i) {
    if (begin + i >= length) continue;
    const int64_t lane = kPlanar ? begin + i : 0, z = kPlanar ? 0 : begin + i;
    Real<T>* out = setup.out + ((setup.result_of(at, lane) * scan.nz + z) * scan.ny + y) * scan.nx + x;
    const Real<T> sum = sums[i] * setup.unscale(at, lane);
    *out = first ? sum : *out + sum;
  }
}

// Back projection of any model: a thread owns kLength slices at one (y, x), or, in planar scans, as many images of a
// packed batch, or the only image. Gather::add_view(setup, view, data, y, x, begin, sums) adds what one view gives to
// the slices from `begin` on, or to the images.
template <typename Gather, typename T, typename Store, int kLength, bool kPlanar>
struct Back {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = sizeof(T) > 4 ? 1 : 2;
  static constexpr int kWidth = 32, kHeight = kThreads / kWidth;
  static constexpr bool kPacked = kPlanar && kLength > 1;

  Setup<T> setup;
  Projections<Store> projections;
  bool first;  // of the blocks of views: sums begin at zero

  JAXCT_HD int64_t runs() const { return kPlanar ? setup.batch.runs(kLength) : tiles(setup.scan.nz, kLength); }
  JAXCT_HD int64_t blocks() const {
    return tiles(setup.scan.nx, kWidth) * tiles(setup.scan.ny, kHeight) * runs() * setup.batch.items;
  }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const Scan& scan = setup.scan;
    Digits digits = {block};
    const auto x = static_cast<int32_t>(digits.take(tiles(scan.nx, kWidth)) * kWidth + thread % kWidth);
    const auto y = static_cast<int32_t>(digits.take(tiles(scan.ny, kHeight)) * kHeight + thread / kWidth);
    const auto run = static_cast<int32_t>(digits.take(runs()));
    const int64_t item = digits.rest;
    if (x >= setup.size(2) || y >= setup.size(1)) return;
    const Batch::Offsets at = setup.batch.locate(item);

    Real<T> sums[kLength];
    JAXCT_UNROLL
    for (int i = 0; i < kLength; ++i) sums[i] = Real<T>(0);
    const DeviceView<T>* views = setup.views_of(at) + projections.first;
    const Store* data = projections.item(scan, at.data, kPacked ? (item * runs() + run) * kLength : at.result);
    const auto held = static_cast<int32_t>(projections.held);
    for (int32_t v = 0; v < held; ++v, data += scan.pixels() * (kPacked ? kLength : 1)) {
      const DeviceView<T>& view = load_view(views + v);
      if (view.sound) {
        Gather::add_view(setup, view, data, y, x, run * kLength, sums);
      } else {
        JAXCT_UNROLL
        for (int i = 0; i < kLength; ++i) sums[i] = not_a_number<Real<T>>();
      }
    }
    store_run<kPlanar>(setup, at, run * kLength, y, x, first, sums);
  }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
