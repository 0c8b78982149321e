#pragma once
// What comes before the loops: prepared views, and copies of the data in the order and type that the loops read.
#include "core/soundness.h"
#include "cuda/call.h"
#include "cuda/launch.h"
#include "cuda/storage.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// A thread per geometry and view. T is what the views' numbers are, and the type of the operands: of tangents Dual.
template <typename T>
struct PrepareViews {
  static constexpr int kThreads = 64, kBlocksPerMultiprocessor = 1;

  Scan scan;
  GeometryBatch geometries;
  bool footprint;
  const T* vectors;
  const T* grid;
  DeviceView<T>* views;
  uint32_t* tilted;  // flags: any geometry, then each; zero before; null if nobody asks

  JAXCT_HD int64_t blocks() const { return tiles(geometries.count * scan.views, kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t at = block * kThreads + thread;
    if (at >= geometries.count * scan.views) return;
    const GeometryBatch::Offsets item = geometries.locate(at / scan.views);
    const T *const of_view = vectors + (item.vectors * scan.views + at % scan.views) * 12, *const of_grid =
                                                                                               grid + item.grid * 6;
    DeviceView<T> prepared;
    static_cast<View<T>&>(prepared) = make_view<T>(scan, unpack_view<Wide<T>>(of_view), unpack_grid<Wide<T>>(of_grid));
    const ViewVectors view = unpack_view(of_view);
    const GridVectors box = unpack_grid(of_grid);
    prepared.sound = find_fault(box) == Fault::kNone && find_fault(scan, view, box, footprint) == Fault::kNone;
    views[at] = prepared;
    // Several threads may write the same.
    if (tilted != nullptr && prepared.is_tilted()) tilted[0] = tilted[1 + at / scan.views] = 1;
  }
};

// Numbers near the top of half precision's range, so that the small ones keep their digits. A power of two: exact.
struct Scaling {
  const uint32_t* magnitudes;  // bits of the largest |x| of each data item; null: no scaling

  JAXCT_HD float factor(int64_t item) const { return magnitudes == nullptr ? 1.0F : power(exponent(item)); }
  JAXCT_HD float inverse(int64_t item) const { return magnitudes == nullptr ? 1.0F : power(-exponent(item)); }

 private:
  // Brings the largest magnitude into [2^11, 2^12): obliquity then has a factor of 16 to spare.
  JAXCT_HD int exponent(int64_t item) const {
    const auto biased = static_cast<int>(magnitudes[item] >> 23);
    return biased == 0 ? 0 : min_of(11 + 127 - biased, 126);
  }
  JAXCT_HD static float power(int e) { return detail::float_of(static_cast<uint32_t>(e + 127) << 23); }
};

struct SetToZero {
  static constexpr int kThreads = 64, kBlocksPerMultiprocessor = 1;

  int64_t items;
  uint32_t* words;

  JAXCT_HD int64_t blocks() const { return tiles(items, kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t at = block * kThreads + thread;
    if (at < items) words[at] = 0;
  }
};

// The maximum does not depend on the order, so an atomic one is deterministic. Magnitudes compare as their bits do.
struct FindMagnitudes {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = 1, kPerThread = 64;

  int64_t items, size;
  const float* in;
  uint32_t* magnitudes;

  // Infinities and NaN pass through half precision as they are, and must not scale the rest away.
  JAXCT_HD static uint32_t finite_bits(float x) {
    const uint32_t magnitude = detail::bits_of(x) & 0x7fffffffU;
    return magnitude < 0x7f800000U ? magnitude : 0U;
  }
  JAXCT_HD int64_t per_item() const { return tiles(size, int64_t{kThreads} * kPerThread); }
  JAXCT_HD int64_t blocks() const { return items * per_item(); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t item = block / per_item(), first = block % per_item() * kThreads * kPerThread + thread;
    uint32_t most = 0;
    for (int64_t i = first; i < min_of(size, first + int64_t{kThreads} * kPerThread); i += kThreads)
      most = max_of(most, finite_bits(load<float>(in + item * size + i)));
#if defined(__CUDA_ARCH__)
    // What has been seen already need not be written again: most threads then only read.
    if (most > *static_cast<const volatile uint32_t*>(magnitudes + item)) atomicMax(magnitudes + item, most);
#else
    magnitudes[item] = max_of(magnitudes[item], most);
#endif
  }
};

// Every element in another type.
template <typename T, typename From, typename To>
struct Convert {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = 1, kPerThread = 4;

  int64_t items, size;
  Scaling scaling;
  const From* from;
  To* to;

  JAXCT_HD int64_t blocks() const { return tiles(items * size, int64_t{kThreads} * kPerThread); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t first = block * kThreads * kPerThread + thread;
    for (int i = 0; i < kPerThread; ++i)
      if (const int64_t at = first + i * kThreads; at < items * size)
        to[at] = Rounded<To>::from(load<T>(from + at) * static_cast<T>(scaling.factor(at / size)));
  }
};

// The volume as [z][x][y]. A thread reads a run of eight x of one y and writes it to eight rows: its 32 neighbours in y
// make each row's store whole, and the runs are whole sectors of the loads.
template <typename T, typename From, typename To>
struct Turn {
  static constexpr int kThreads = 128, kBlocksPerMultiprocessor = 1, kRun = 8;

  Scan scan;
  int64_t items;
  Scaling scaling;
  const From* from;
  To* to;

  JAXCT_HD int64_t blocks() const { return tiles(items * scan.nz * tiles(scan.nx, kRun) * scan.ny, kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    Digits digits = {block * kThreads + thread};
    const int64_t y = digits.take(scan.ny), x0 = digits.take(tiles(scan.nx, kRun)) * kRun;
    const int64_t z = digits.take(scan.nz), item = digits.rest;
    if (item >= items) return;
    const int64_t slice = (item * scan.nz + z) * scan.ny * scan.nx;
    const T factor = static_cast<T>(scaling.factor(item));
    for (int i = 0; i < kRun; ++i)
      if (x0 + i < scan.nx)
        to[slice + (x0 + i) * scan.ny + y] = Rounded<To>::from(load<T>(from + slice + y * scan.nx + x0 + i) * factor);
  }
};

// Projections times the obliquity of their pixels, in place.
template <typename T>
struct WeightProjections {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = 1;

  Scan scan;
  Batch batch;
  const DeviceView<T>* views;
  T* projections;

  JAXCT_HD int64_t blocks() const { return tiles(batch.items * batch.lanes * scan.views * scan.pixels(), kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    Digits digits = {block * kThreads + thread};
    const int64_t col = digits.take(scan.cols), row = digits.take(scan.rows), v = digits.take(scan.views);
    const int64_t lane = digits.take(batch.lanes);
    if (digits.rest >= batch.items) return;
    const Batch::Offsets at = batch.locate(digits.rest);
    const int64_t result = at.result + lane * batch.lane_result;
    projections[scan.pixel(result, v, row, col)] *= obliquity(views[at.geometry * scan.views + v], row, col);
  }
};

// A batch of images as [item][run][y][x][image], padded with zeros.
template <typename T, typename From, typename To>
struct PackImages {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = 1;

  int64_t packs, pixels;
  Batch batch;
  Scaling scaling;
  const From* from;
  To* to;

  JAXCT_HD int64_t runs() const { return batch.runs(kRun<T>); }
  JAXCT_HD int64_t blocks() const { return tiles(packs * runs() * pixels * kRun<T>, kThreads); }

  // Stores are whole; loads make do with the caches.
  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t at = block * kThreads + thread;
    Digits digits = {at};
    const int64_t image = digits.take(kRun<T>), pixel = digits.take(pixels), run = digits.take(runs());
    if (digits.rest >= packs) return;
    const int64_t lane = run * kRun<T> + image, inner = batch.lane_data;
    const int64_t item = digits.rest / inner * inner * batch.lanes + lane * inner + digits.rest % inner;
    const T value =
        lane < batch.lanes ? load<T>(from + item * pixels + pixel) * static_cast<T>(scaling.factor(item)) : T(0);
    to[at] = Rounded<To>::from(value);
  }
};

// A block of views, weighted with the obliquity where the model asks for it: an item for every result, or, for a batch
// of images, packed as [item][run][view][column][image]. T is what the views' numbers are.
template <typename T, typename From, typename To>
struct CopyProjections {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = 1;

  Scan scan;
  Batch batch;
  Scaling scaling;
  bool weighted;
  int64_t first_view, num_views;
  const DeviceView<T>* views;
  const From* from;
  To* to;

  JAXCT_HD bool is_packed() const { return batch.lanes > 1; }
  JAXCT_HD int64_t runs() const { return batch.runs(kRun<T>); }
  JAXCT_HD int64_t blocks() const {
    const int64_t images = is_packed() ? runs() * kRun<T> : 1;
    return tiles(batch.items * images * num_views * scan.pixels(), kThreads);
  }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t to_at = block * kThreads + thread;
    Digits digits = {to_at};
    const int64_t image = is_packed() ? digits.take(kRun<T>) : 0;
    const int64_t col = digits.take(scan.cols), row = digits.take(scan.rows), v = first_view + digits.take(num_views);
    const int64_t lane = is_packed() ? digits.take(runs()) * kRun<T> + image : 0;
    if (digits.rest >= batch.items) return;
    T value = T(0);
    if (lane < batch.lanes) {
      const Batch::Offsets at = batch.locate(digits.rest);
      const int64_t item = at.data + lane * batch.lane_data;
      value = load<T>(from + scan.pixel(item, v, row, col));
      if (weighted) value = value * obliquity(views[at.geometry * scan.views + v], row, col);
      value = value * static_cast<Real<T>>(scaling.factor(item));
    }
    to[to_at] = Rounded<To>::from(value);
  }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
