#pragma once
// What a CUDA call needs beside its operands. The handler gets it as one more result buffer: XLA then plans the memory
// like any other, and a call that has been recorded in a CUDA graph finds the same memory at every replay, which
// nothing allocated by the handler itself would guarantee. The size is asked for when the call is lowered, on any
// machine, so it is plain arithmetic on shapes.
#include <cstdint>

#include "batch.h"
#include "core/view.h"
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
  DataType type;
  bool fast;  // data held in half precision
  bool planar;
  int64_t views, rows, cols, nz, ny, nx;
  int64_t data_items, geometries, results;
  int64_t lanes;  // images of a batch that share their weights, 1 for none
  // Enough projections for a launch to fill a GPU, and no more: the block is a copy.
  int64_t block_bytes = int64_t{256} << 20;
};

inline WorkspaceRequest make_request(Model model, Direction direction, DataType type, bool fast, const Scan& scan,
                                     const BatchPlan& plan, int64_t block_bytes = WorkspaceRequest{}.block_bytes) {
  return {model,
          direction,
          type,
          fast,
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
  int64_t block_views = 0;   // back: views per block
  int64_t bytes = 0;
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

inline Workspace plan_workspace(const WorkspaceRequest& r) {
  constexpr int64_t kLeastViews = 16;
  Workspace w;
  auto reserve = [&w](int64_t bytes) {
    const int64_t at = w.bytes;
    w.bytes += (bytes + 255) / 256 * 256;
    return at;
  };
  const bool wide = r.type == DataType::kFloat64;
  const int64_t compute_size = wide ? 8 : 4, store_size = is_stored_as_half(r) ? 2 : compute_size;
  const bool converts = is_rounded(r) || r.type == DataType::kBfloat16;
  const int64_t voxels = r.nz * r.ny * r.nx, pixels = r.rows * r.cols;
  const bool forward = r.direction == Direction::kForward;
  w.views = reserve(r.geometries * r.views *
                    static_cast<int64_t>(wide ? sizeof(DeviceView<double>) : sizeof(DeviceView<float>)));
  if (!r.planar && !is_line_model(r.model)) w.tilted = reserve((1 + r.geometries) * 4);
  if (is_rounded(r)) w.magnitudes = reserve(r.data_items * 4);
  const int64_t run = wide ? kRun<double> : kRun<float>, runs = (r.lanes + run - 1) / run;
  const bool packs = r.lanes > 1;
  if (forward && packs) {
    w.packed = reserve(r.data_items / r.lanes * runs * run * voxels * store_size);
  } else if (forward) {
    if (converts) w.plain = reserve(r.data_items * voxels * store_size);
    w.turned = reserve(r.data_items * voxels * store_size);
  } else {
    w.block_views = r.views;
    if (converts || packs || is_weighted(r)) {
      const int64_t images = packs ? r.results / r.lanes * runs * run : r.results;
      const int64_t view_bytes = images * pixels * store_size;
      const int64_t affordable = view_bytes > 0 ? r.block_bytes / view_bytes : r.views;
      w.block_views = r.views < kLeastViews || affordable >= r.views ? r.views
                      : affordable > kLeastViews                     ? affordable
                                                                     : kLeastViews;
      w.projections = reserve(w.block_views * view_bytes);
    }
  }
  if (is_16_bit(r.type)) w.sums = reserve(r.results * (forward ? r.views * pixels : voxels) * compute_size);
  return w;
}

}  // namespace jaxct
