#pragma once
// Along z, the other factor of the separable weights: a row as a sum over slices, and a slice as a sum over rows. Boxes
// that are stacked without gaps meet pixels as two sorted lists meet: each slice and each row is loaded once, and
// asking for one row (or slice) after the other costs a step or two. Hats are short enough to be looked up.
#include "core/separable.h"
#include "cuda/storage.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// Detector columns that are combined at a time.
template <typename Column>
constexpr int kTaps = 4;
template <typename T>
constexpr int kTaps<Hat<T>> = 2;

// Slices or rows at a time. Hats have less to share, and their lookups are independent: they fill registers faster.
template <typename T, typename Row>
constexpr int kVolumeRun = kRun<T>;
template <typename T>
constexpr int kVolumeRun<T, Hat<T>> = kRun<T> / 2;

// Values of detector rows: weighted sums over a few columns. Rows count upwards.
template <typename T, typename Store, int kColumns>
struct PixelColumns {
  const Store* first;  // the first column, in the first row of the data
  int32_t stride, rows, taps;
  bool down;
  T weights[kColumns];

  JAXCT_HD T operator[](int32_t row) const {
    if (row < 0 || row >= rows) return T(0);
    const Store* p = first + static_cast<int64_t>(down ? rows - 1 - row : row) * stride;
    T value = T(0);
    JAXCT_UNROLL
    for (int t = 0; t < kColumns; ++t)
      if (t < taps) value = multiply_add(weights[t], load<T>(p + t), value);
    return value;
  }
};

// Values of slices. Slices outside count as zero.
template <typename T, typename Store>
struct VoxelColumn {
  const Store* first;
  int64_t stride;
  int32_t slices;

  JAXCT_HD T operator[](int32_t z) const { return z < 0 || z >= slices ? T(0) : load<T>(first + z * stride); }
};

// Detector rows, asked for in ascending order from `begin` on: the sum over slices z of weight(z, row) * voxels[z].
template <typename Model, typename T, typename Store, typename Row = typename Model::template Row<T>>
class RowLookup;

// Slices, asked for in ascending order from `begin` on: the sum over rows of weight(z, row) * pixels[row].
template <typename Model, typename T, typename Pixels, typename Row = typename Model::template Row<T>>
class SliceLookup;

template <typename Model, typename T, typename Store>
class RowLookup<Model, T, Store, Box<T>> {
 public:
  JAXCT_HD RowLookup(T edge, T slope, const Store* voxels, const Scan& scan, int32_t begin)
      : edge_(edge), slope_(slope), voxels_{voxels, scan.ny * scan.nx, static_cast<int32_t>(scan.nz)} {
    // A slice too early does no harm.
    const T lowest = (static_cast<T>(begin) - edge) / slope - T(1e-3);
    z_ = floor_index(clamp(lowest, T(-1), static_cast<T>(scan.nz)));
    value_ = voxels_[z_];
  }

  JAXCT_HD T value_at(int32_t row) {
    T sum = T(0);
    visit(row, [&](int32_t, T weight, T value) { sum = multiply_add(weight, value, sum); }, [](int32_t, T, T) {});
    return sum;
  }

  // slice(z, weight, value) for the slices that may meet a row, and edge(z, place, gain) where slice z begins in it,
  // with what the row gains of the slice before it if that edge moves up.
  template <typename Slice, typename Edge>
  JAXCT_HD void visit(int32_t row, Slice&& slice, Edge&& edge) {
    slice(z_, Model::row_weight(edge_, slope_, z_, row), value_);
    while (z_ < voxels_.slices) {
      const T place = multiply_add(slope_, static_cast<T>(z_ + 1), edge_);
      if (!(place < static_cast<T>(row + 1))) return;
      const T before = value_;
      value_ = voxels_[++z_];
      edge(z_, place, before - value_);
      slice(z_, Model::row_weight(edge_, slope_, z_, row), value_);
    }
  }

 private:
  const T edge_, slope_;
  const VoxelColumn<T, Store> voxels_;
  int32_t z_;
  T value_;
};

template <typename Model, typename T, typename Pixels>
class SliceLookup<Model, T, Pixels, Box<T>> {
 public:
  JAXCT_HD SliceLookup(T edge, T slope, const Pixels& pixels, int32_t begin)
      : edge_(edge), slope_(slope), pixels_(pixels) {
    const T lowest = multiply_add(slope, static_cast<T>(begin), edge);
    row_ = floor_index(clamp(lowest, T(-1), static_cast<T>(pixels.rows)));
    value_ = pixels_[row_];
  }

  JAXCT_HD T value_at(int32_t z) {
    const T end = multiply_add(slope_, static_cast<T>(z + 1), edge_);
    T sum = Model::row_weight(edge_, slope_, z, row_) * value_;
    while (row_ < pixels_.rows && static_cast<T>(row_ + 1) < end) {
      value_ = pixels_[++row_];
      sum = multiply_add(Model::row_weight(edge_, slope_, z, row_), value_, sum);
    }
    return sum;
  }

 private:
  const T edge_, slope_;
  const Pixels& pixels_;
  int32_t row_;
  T value_;
};

template <typename Model, typename T, typename Store>
class RowLookup<Model, T, Store, Hat<T>> {
 public:
  JAXCT_HD RowLookup(T edge, T slope, const Store* voxels, const Scan& scan, int32_t)
      : edge_(edge),
        slope_(slope),
        inverse_(T(1) / slope),
        voxels_{voxels, scan.ny * scan.nx, static_cast<int32_t>(scan.nz)} {}

  JAXCT_HD T value_at(int32_t row) const {
    const T slack = T(1e-3), top = static_cast<T>(voxels_.slices);
    const T lowest = (static_cast<T>(row) - T(0.5) - edge_) * inverse_, highest = lowest + T(2) * inverse_;
    const int32_t end = floor_index(clamp(highest + slack, T(-1), top)) + 1;
    T sum = T(0);
    for (int32_t z = floor_index(clamp(lowest - slack, T(-1), top)); z < end; ++z)
      sum = multiply_add(Model::row_weight(edge_, slope_, z, row), voxels_[z], sum);
    return sum;
  }

 private:
  const T edge_, slope_, inverse_;
  const VoxelColumn<T, Store> voxels_;
};

template <typename Model, typename T, typename Pixels>
class SliceLookup<Model, T, Pixels, Hat<T>> {
 public:
  JAXCT_HD SliceLookup(T edge, T slope, const Pixels& pixels, int32_t) : edge_(edge), slope_(slope), pixels_(pixels) {}

  JAXCT_HD T value_at(int32_t z) const {
    const T position = multiply_add(slope_, static_cast<T>(z), edge_);
    const int32_t row = floor_index(clamp(position - T(0.5), T(-2), static_cast<T>(pixels_.rows)));
    return multiply_add(Model::row_weight(edge_, slope_, z, row + 1), pixels_[row + 1],
                        Model::row_weight(edge_, slope_, z, row) * pixels_[row]);
  }

 private:
  const T edge_, slope_;
  const Pixels& pixels_;
};

}  // namespace cuda
JAXCT_NAMESPACE_END
