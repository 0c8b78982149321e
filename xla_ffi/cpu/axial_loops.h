#pragma once
// Separable models where every view's detector rows are stacked along z. Then all voxels of a (y, x) column share their
// detector columns and weights. What the loops over lines and those over a single image have in common: columns are
// taken a tile at a time, and in it a block of views at a time, so that what a tile touches in one view stays in the
// first cache.
#include <atomic>

#include "cpu/footprints.h"
#include "cpu/ray_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// The obliquity of a view's pixels, row by row.
template <typename T>
class Obliquities {
 public:
  Obliquities(const Scan& scan, const View<T>& view) : view_(view), cols_(scan.cols), directions_(scan.cols) {
    // Rays at the height of the source.
    const T row = view.row_middle - view.row_shift;
    for (int64_t c = 0; directions_ && c < cols_; ++c)
      directions_.get()[c] = make_ray_at(view, row, static_cast<T>(c)).direction;
  }

  explicit operator bool() const { return static_cast<bool>(directions_); }

  void scale(int64_t row, T* values) const {
    const Vec3<T> rise = height_of(view_, static_cast<T>(row)) * view_.direction[2];
    const Vec3<T>* directions = directions_.get();
    for (int64_t c = 0; c < cols_; ++c) values[c] *= obliquity(view_, directions[c] + rise);
  }

 private:
  const View<T>& view_;
  int64_t cols_;
  Scratch<Vec3<T>> directions_;
};

template <typename Model, typename T>
class AxialLoops {
 protected:
  static constexpr int kBlock = kLanes<T>;  // views
  static constexpr int64_t kTile = kMaxTile;
  static constexpr int kTaps = Footprints<T>::kTaps;

  explicit AxialLoops(const Problem<T>& problem) : p(problem) {}

  int64_t num_blocks() const { return tiles(p.scan.views, kBlock); }
  int views_of(int64_t block) const { return static_cast<int>(min_of(p.scan.views - block * kBlock, int64_t{kBlock})); }

  ViewBlock<Model, T> packed(int64_t block) const {
    return ViewBlock<Model, T>(p.scan, p.views + block * kBlock, views_of(block));
  }

  void pack(ViewBlock<Model, T>* blocks) const {
    for (int64_t b = 0; b < num_blocks(); ++b) blocks[b] = packed(b);
  }

  // project(block, columns of the detector) -> bool, for all views and columns. False if any was.
  template <typename Project>
  bool project_blocks(const Executor& executor, Project&& project) const {
    // Bands of columns make enough tasks for some processors where there are few views.
    const int64_t bands = min_of(p.scan.cols, tiles(32, num_blocks()));
    std::atomic<bool> ok{true};
    parallel_for(executor, num_blocks() * bands, [&](int64_t task) {
      if (!project(task / bands, band_of(p.scan, task % bands, bands))) ok = false;
    });
    return ok;
  }

  // use() once or more often, with other pixels of the columns' footprints each time.
  template <bool kImages, typename Use>
  static void with_footprints(const ViewBlock<Model, T>& views, const Rectangle& r, IndexRange band,
                              Footprints<T>* footprints, Use&& use) {
    bool more = true;
    for (int32_t group = 0; more; ++group) {
      more = views.template compute<kImages>(r, band, group, footprints);
      use();
    }
  }

  // False for a tile whose columns have no footprint in the band.
  bool falls_on(const Rectangle& r, IndexRange band, int64_t block) const {
    if (band.end - band.begin == p.scan.cols) return true;
    VoxelBox box = box_of(r);
    box.end[0] = static_cast<int32_t>(p.scan.nz);
    for (int v = 0; v < views_of(block); ++v)
      if (!intersect(shadow_of(p.scan, p.views[block * kBlock + v], box).cols, band).empty()) return true;
    return false;
  }

  const Problem<T>& p;
};

}  // namespace loops
JAXCT_NAMESPACE_END
