#pragma once
// A copy of the volume column by column, for all planes of a sinogram at once.
#include "cpu/lanes.h"
#include "cpu/lor_problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// How a column is stored: entry e is number e / phases of phase e % phases, so that planes which are `phases` voxels
// apart are neighbours. Cell 0 is entry `first`: 1 leaves a place for the cell below the grid. Every phase has a border
// on either side.
template <typename T>
struct ColumnLayout {
  static constexpr int32_t kBorder = kLanes<T>;

  int32_t cells, first, phases, length;  // of the grid; of one phase

  ColumnLayout(int64_t nz, int32_t first_entry, int64_t spacing)
      : cells(static_cast<int32_t>(nz)),
        first(first_entry),
        phases(static_cast<int32_t>(spacing)),
        length(static_cast<int32_t>(tiles(entries(), kLanes<T>) * kLanes<T>) + 2 * kBorder) {}

  int64_t size() const { return int64_t{phases} * length; }
  // Of one phase: those from 0 to `cells`.
  int32_t entries() const { return cells / phases + 1; }
  int32_t place_of_entry(int32_t entry) const { return entry % phases * length + kBorder + entry / phases; }
  int32_t place(int32_t cell) const { return place_of_entry(cell + first); }
};

// All columns, with a margin of empty ones.
template <typename T>
class ColumnVolume {
 public:
  // A stencil of two columns that is clamped to lie in the margin has no part in the grid.
  static constexpr int32_t kMargin = 2;

  ColumnVolume(const LorScan& scan, const ColumnLayout<T>& layout) : scan_(scan), layout_(layout) {}

  int64_t size() const { return (scan_.ny + 2 * kMargin) * (scan_.nx + 2 * kMargin) * layout_.size(); }
  int64_t column(int64_t y, int64_t x) const {
    return ((y + kMargin) * (scan_.nx + 2 * kMargin) + x + kMargin) * layout_.size();
  }

  // From volume[z, y, x].
  void load(const T* volume, const Executor& executor, T* copy) const {
    parallel_for(executor, scan_.ny, [&](int64_t y) {
      for (int32_t z = 0; z < layout_.cells; ++z) {
        const T* from = volume + (z * scan_.ny + y) * scan_.nx;
        T* to = copy + column(y, 0) + layout_.place(z);
        for (int64_t x = 0; x < scan_.nx; ++x) to[x * layout_.size()] = from[x];
      }
    });
  }

  // The sum of several copies, one after the other, to volume[z, y, x].
  void store_sum(const T* copies, int64_t count, const Executor& executor, T* volume) const {
    parallel_for(executor, scan_.ny, [&](int64_t y) {
      for (int32_t z = 0; z < layout_.cells; ++z) {
        T* to = volume + (z * scan_.ny + y) * scan_.nx;
        const T* from = copies + column(y, 0) + layout_.place(z);
        for (int64_t x = 0; x < scan_.nx; ++x) {
          T sum = from[x * layout_.size()];
          for (int64_t i = 1; i < count; ++i) sum += from[x * layout_.size() + i * size()];
          to[x] = sum;
        }
      }
    });
  }

 private:
  const LorScan& scan_;
  const ColumnLayout<T>& layout_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
