#pragma once
// What a CUDA call needs beside its operands. The handler gets it as one more result buffer: XLA then plans the memory
// like any other, and a call that has been recorded in a CUDA graph finds the same memory at every replay, which
// nothing allocated by the handler itself would guarantee. The size is asked for when the call is lowered, on any
// machine, so it is plain arithmetic on shapes.
#include <cstdint>

#include "batch.h"
#include "core/pullback.h"
#include "operators.h"

namespace jaxct {

enum class DataType { kFloat32, kFloat64, kFloat16, kBfloat16 };

constexpr bool is_16_bit(DataType type) { return type == DataType::kFloat16 || type == DataType::kBfloat16; }

// A prepared view on the device. Aligned for loads of 16 bytes.
template <typename T>
struct alignas(16) DeviceView : View<T> {
  bool sound;  // false: whatever depends on this view is NaN

  // Not for the kernels that take detector rows to be stacked along z.
  JAXCT_HD bool is_tilted() const { return sound && !this->axial; }
};

struct WorkspaceRequest {
  Model model;
  Direction direction;
  Derivative derivative;
  DataType type;
  bool fast;  // data held in half precision
  bool planar;
  int64_t views, rows, cols, nz, ny, nx;
  int64_t data_items, geometries, results;
  int64_t lanes;  // images of a batch that share their weights, 1 for none
  // Enough projections for a launch to fill a GPU, and no more: the block is a copy.
  int64_t block_bytes = int64_t{256} << 20;
};

inline WorkspaceRequest make_request(Model model, Direction direction, Derivative derivative, DataType type, bool fast,
                                     const Scan& scan, const BatchPlan& plan,
                                     int64_t block_bytes = WorkspaceRequest{}.block_bytes) {
  return {model,
          direction,
          derivative,
          type,
          fast && derivative == Derivative::kNone,
          scan.planar,
          scan.views,
          scan.rows,
          scan.cols,
          scan.nz,
          scan.ny,
          scan.nx,
          plan.data_items,
          plan.geometries.count,
          plan.results,
          plan.batch.lanes,
          block_bytes};
}

// Slices or images for which a thread computes the weights once. A batch of images is padded to whole runs, and packed
// with the images of a run next to each other.
template <typename T>
constexpr int kRun = sizeof(T) == 8 ? 8 : 16;

// Of a gradient by the geometry: pixels or voxel columns of a view whose derivatives a thread adds up, and numbers of
// which a thread then makes one.
constexpr int64_t kPartElements = 8, kSumRun = 128;

// Offsets in bytes, and -1 for what is not needed.
struct Workspace {
  int64_t views = -1;        // a DeviceView per geometry and view
  int64_t tilted = -1;       // separable models in 3-D: whether any view of a geometry is tilted
  int64_t magnitudes = -1;   // fast: the largest magnitude of each data item
  int64_t packed = -1;       // forward, batches of images: [item][run][y][x][image]
  int64_t plain = -1;        // forward: the volume in another type
  int64_t turned = -1;       // forward: the volume as [z][x][y], for rays that run along x
  int64_t projections = -1;  // back: a block of views, weighted and in the type of the loops; or packed
  int64_t sums = -1;         // results of 16-bit calls, before rounding
  int64_t block_views = 0;   // back and gradient: views per block
  // Gradient, of a block of views:
  int64_t shadow = -1;   // footprint models: the volume's projection without obliquity
  int64_t parts = -1;    // derivatives by the views, [item][view][number][part]
  int64_t by_view = -1;  // their sums, in double precision
  int64_t by_grid = -1;  // of all views: [item][number][view], in double precision
  int64_t between = -1;  // sums on their way to a single one
  int64_t pixel_parts = 0, column_parts = 0;
  int64_t bytes = 0;

  int64_t reserve(int64_t size) {
    const int64_t at = bytes;
    bytes += tiles(size, 256) * 256;
    return at;
  }
};

// "fast" rounds float32 data to half precision, after scaling. Other types it leaves as they are.
constexpr bool is_rounded(const WorkspaceRequest& r) { return r.fast && r.type == DataType::kFloat32; }

// Projections that the model weights are copied, and float16 ones are not rounded a second time in that.
constexpr bool is_weighted(const WorkspaceRequest& r) {
  return r.direction == Direction::kBack && is_footprint_model(r.model);
}

// The loops read half precision, or else the type that they compute in.
constexpr bool is_stored_as_half(const WorkspaceRequest& r) {
  return is_rounded(r) || (r.type == DataType::kFloat16 && !is_weighted(r));
}

namespace planning {

template <typename T>
constexpr int64_t size_of_view(Derivative derivative) {
  return derivative == Derivative::kTangent ? sizeof(DeviceView<Dual<T>>) : sizeof(DeviceView<T>);
}

// As many views as fit, between `least` and all.
inline int64_t block_of_views(int64_t block_bytes, int64_t views, int64_t view_bytes, int64_t least) {
  return view_bytes > 0 ? min_of(max_of(block_bytes / view_bytes, least), views) : views;
}

// Projections there and back, or their derivatives along a tangent.
inline void plan_loops(const WorkspaceRequest& r, int64_t compute_size, Workspace& w) {
  constexpr int64_t kLeastViews = 16;
  const bool wide = r.type == DataType::kFloat64, tangent = r.derivative == Derivative::kTangent;
  const int64_t store_size = is_stored_as_half(r) ? 2 : compute_size;
  const bool converts = is_rounded(r) || r.type == DataType::kBfloat16;
  const int64_t voxels = r.nz * r.ny * r.nx, pixels = r.rows * r.cols;
  const bool forward = r.direction == Direction::kForward;
  if (is_rounded(r)) w.magnitudes = w.reserve(r.data_items * 4);
  const int64_t run = wide ? kRun<double> : kRun<float>, runs = tiles(r.lanes, run);
  const bool packs = r.lanes > 1;
  if (forward && packs) {
    w.packed = w.reserve(r.data_items / r.lanes * runs * run * voxels * store_size);
  } else if (forward) {
    if (converts) w.plain = w.reserve(r.data_items * voxels * store_size);
    if (!tangent || is_line_model(r.model)) w.turned = w.reserve(r.data_items * voxels * store_size);
  } else {
    w.block_views = r.views;
    if (converts || packs || is_weighted(r)) {
      const int64_t images = packs ? r.results / r.lanes * runs * run : r.results;
      const int64_t view_bytes = images * pixels * store_size * (tangent ? 2 : 1);
      w.block_views = block_of_views(r.block_bytes, r.views, view_bytes, kLeastViews);
      w.projections = w.reserve(w.block_views * view_bytes);
    }
  }
  if (is_16_bit(r.type)) w.sums = w.reserve(r.results * (forward ? r.views * pixels : voxels) * compute_size);
}

inline void plan_gradient(const WorkspaceRequest& r, int64_t size, Workspace& w) {
  const bool footprint = is_footprint_model(r.model);
  const int64_t pixels = r.rows * r.cols;
  w.turned = w.reserve(r.data_items * r.nz * r.ny * r.nx * size);
  w.pixel_parts = tiles(pixels, kPartElements);
  w.column_parts = footprint ? tiles(r.ny * r.nx, kPartElements) : 0;
  const int64_t parts = w.pixel_parts + w.column_parts;
  const int64_t part_bytes = r.results * kViewNumbers * parts * size;
  const int64_t pixel_bytes = footprint ? r.results * pixels * size : 0;
  w.block_views = block_of_views(r.block_bytes, r.views, part_bytes + 2 * pixel_bytes, 1);
  w.parts = w.reserve(w.block_views * part_bytes);
  if (footprint) {
    w.projections = w.reserve(w.block_views * pixel_bytes);
    w.shadow = w.reserve(w.block_views * pixel_bytes);
  }
  constexpr int64_t kDouble = 8;
  w.by_view = w.reserve(r.results * w.block_views * kViewNumbers * kDouble);
  w.by_grid = w.reserve(r.results * kGridNumbers * r.views * kDouble);
  const int64_t of_views = w.block_views * kViewNumbers * tiles(parts, kSumRun);
  const int64_t of_grid = kGridNumbers * tiles(r.views, kSumRun);
  w.between = w.reserve(r.results * max_of(of_views, of_grid) * kDouble);
}

}  // namespace planning

inline Workspace plan_workspace(const WorkspaceRequest& r) {
  Workspace w;
  const bool wide = r.type == DataType::kFloat64;
  w.views =
      w.reserve(r.geometries * r.views *
                (wide ? planning::size_of_view<double>(r.derivative) : planning::size_of_view<float>(r.derivative)));
  if (!r.planar && !is_line_model(r.model) && r.derivative != Derivative::kTangent)
    w.tilted = w.reserve((1 + r.geometries) * 4);
  if (r.derivative == Derivative::kGradient)
    planning::plan_gradient(r, wide ? 8 : 4, w);
  else
    planning::plan_loops(r, wide ? 8 : 4, w);
  return w;
}

}  // namespace jaxct
