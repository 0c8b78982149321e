#pragma once
// A copy of the volume with z innermost and a border of zeros: where a line leaves the grid, what it reads is zero and
// what it writes is left there, so that nothing has to be asked on the way.
#include "cpu/lor_problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename T>
struct PaddedShape {
  // A stencil of two cells that is clamped to lie in the border has no part in the grid.
  static constexpr int32_t kBorder = 2;

  int32_t size[3];    // of the grid
  int32_t stride[3];  // of the copy
  int64_t voxels;     // of the copy

  explicit PaddedShape(const LorScan& scan) {
    for (int i = 0; i < 3; ++i) size[i] = static_cast<int32_t>(scan.size(i));
    const int64_t z = padded(0), x = padded(2);
    stride[0] = 1;
    stride[2] = static_cast<int32_t>(z);
    stride[1] = static_cast<int32_t>(z * x);
    voxels = z * x * padded(1);
  }

  int64_t padded(int axis) const { return int64_t{size[axis]} + 2 * kBorder; }

  // Whether its places fit into 32 bits.
  static bool fits(const LorScan& scan) {
    const auto length = [](int64_t n) { return static_cast<double>(n + 2 * kBorder); };
    return length(scan.nz) * length(scan.ny) * length(scan.nx) < 2147483648.0;
  }

  // Where cell (0, 0, 0) lies.
  int64_t origin() const { return int64_t{kBorder} * (int64_t{stride[0]} + stride[1] + stride[2]); }
  int64_t column(int64_t y, int64_t x) const { return origin() + y * stride[1] + x * stride[2]; }

  // From volume[z, y, x].
  void load(const T* volume, const Executor& executor, T* copy) const {
    parallel_for(executor, size[1], [&](int64_t y) {
      const int64_t nx = size[2], slice = size[1] * nx;
      for (int64_t x = 0; x < nx; ++x) {
        const T* from = volume + y * nx + x;
        T* to = copy + column(y, x);
        for (int64_t z = 0; z < size[0]; ++z) to[z] = from[z * slice];
      }
    });
  }

  // The sum of several copies, `voxels` apart, to volume[z, y, x].
  void store_sum(const T* copies, int64_t count, const Executor& executor, T* volume) const {
    parallel_for(executor, size[1], [&](int64_t y) {
      const int64_t nx = size[2], slice = size[1] * nx;
      for (int64_t x = 0; x < nx; ++x) {
        const T* from = copies + column(y, x);
        T* to = volume + y * nx + x;
        for (int64_t z = 0; z < size[0]; ++z) {
          T sum = from[z];
          for (int64_t i = 1; i < count; ++i) sum += from[z + i * voxels];
          to[z * slice] = sum;
        }
      }
    });
  }
};

// How many volumes a back projection of so many lines is spread over: as many as there is memory for and as pay. It
// does not depend on the threads, so that a voxel's sum is the same whoever computes it.
inline int64_t num_parts(int64_t voxels, int64_t value_bytes, int64_t lines) {
  constexpr int64_t kBytes = int64_t{1} << 30, kParts = 16, kCellsOfLine = 16;
  const int64_t fit = kBytes / (voxels * value_bytes);
  return max_of(int64_t{1}, min_of(kParts, min_of(fit, lines * kCellsOfLine / voxels)));
}

}  // namespace loops
JAXCT_NAMESPACE_END
