#pragma once
// Separable models where every view's detector rows are stacked along z. Then all voxels of a (y, x) column share their
// detector columns and weights, and their rows are linear in z. Volumes are held as lines of slices, one for every
// column, and projections as lines of rows, one for every view and detector column, so that the inner loops run along
// lines.
//
// Forward: a column's line is spread over detector rows and added to each detector column it touches. Back: those
// detector columns are combined first, then collected along z. Where rows do not depend on the column (2-D; parallel
// rays in the plane), rows and slices are exchanged once per view instead ("shared rows") and the inner loops are
// streams; a batch of 2-D images with one geometry then takes the place of z. A single image has no line: there the
// inner loop is over the views.
//
// Columns are taken a tile at a time, and in it a block of views at a time: what a tile touches in one view stays in
// the first cache.
#include <atomic>

#include "cpu/footprints.h"
#include "cpu/lines.h"
#include "cpu/ray_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// Where the parts of a problem lie, for volumes and for batches of images alike.
struct AxialLayout {
  int64_t lanes;        // slices, or images of a batch
  int64_t lane_stride;  // between lanes of the volume
  int64_t rows;         // detector rows, or images of a batch
  int64_t row_stride;   // between rows of the projections
  int64_t view_stride;
  bool shared_rows, planar;
};

template <typename T>
bool rows_are_shared(const View<T>& view) {
  return view.planar || (view.beam == Beam::kParallel && view.along.slope[1] == T(0) && view.along.slope[2] == T(0));
}

inline AxialLayout volume_layout(const Scan& scan, bool shared_rows) {
  return {scan.nz, scan.ny * scan.nx, scan.rows, scan.cols, scan.pixels(), shared_rows, false};
}

inline AxialLayout image_layout(const Scan& scan, int64_t images) {
  return {images, scan.ny * scan.nx, images, scan.views * scan.cols, scan.cols, true, true};
}

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

// Four consecutive pixels.
template <typename T>
struct Quad {
  typedef T Vector __attribute__((vector_size(4 * sizeof(T))));
  Vector v;

  JAXCT_HD static Quad load(const T* p) {
    Quad q;
    std::memcpy(&q.v, p, sizeof q.v);
    return q;
  }
  JAXCT_HD void store(T* p) const { std::memcpy(p, &v, sizeof v); }

  JAXCT_HD Quad operator+(Quad other) const { return {v + other.v}; }
  JAXCT_HD Quad operator*(Quad other) const { return {v * other.v}; }
  JAXCT_HD Quad operator*(T scalar) const { return {v * scalar}; }
};

template <typename Model, typename T>
struct AxialLoops {
  static constexpr int kBlock = kLanes<T>;  // views
  static constexpr int64_t kTile = kMaxTile;
  static constexpr int kTaps = Footprints<T>::kTaps;

  const Problem<T>& p;
  const AxialLayout layout;

  // Entries of a detector column's line while columns are being summed: slices if rows are shared, rows otherwise.
  int64_t entries() const { return layout.shared_rows ? layout.lanes : layout.rows; }
  bool is_image() const { return layout.planar && layout.lanes == 1; }

  int64_t data_row(const View<T>& view, int64_t row) const {
    return !layout.planar && rows_run_down(view) ? layout.rows - 1 - row : row;
  }

  int64_t num_blocks() const { return tiles(p.scan.views, kBlock); }
  int views_of(int64_t block) const { return static_cast<int>(min_of(p.scan.views - block * kBlock, int64_t{kBlock})); }

  // f(view) for the views of a block; of a whole one without a loop.
  template <typename F>
  JAXCT_HD static void for_views(int n, F&& f) {
    if (n == kBlock) {
#pragma GCC unroll 16
      for (int v = 0; v < kBlock; ++v) f(v);
    } else {
      for (int v = 0; v < n; ++v) f(v);
    }
  }

  // use() once or more often, with other pixels of the columns' footprints each time.
  template <typename Use>
  void with_footprints(const ViewBlock<Model, T>& views, const Rectangle& r, IndexRange band, Footprints<T>* footprints,
                       Use&& use) const {
    bool more = true;
    for (int32_t group = 0; more; ++group) {
      more = is_image() ? views.template compute<true>(r, band, group, footprints)
                        : views.template compute<false>(r, band, group, footprints);
      use();
    }
  }

  // --- forward ---------------------------------------------------------------------------------------------------

  bool forward(const Executor& executor) const {
    const Lines<T> volume(is_image() ? 0 : p.scan.ny * p.scan.nx, layout.lanes);
    if (!volume) return false;
    if (!is_image()) load_lines(executor, p.in, p.scan.ny * p.scan.nx, layout.lanes, layout.lane_stride, volume);
    // Bands of columns make enough tasks for some processors where there are few views.
    const int64_t bands = min_of(p.scan.cols, tiles(32, num_blocks()));
    std::atomic<bool> ok{true};
    parallel_for(executor, num_blocks() * bands, [&](int64_t task) {
      if (!forward_block(task / bands, band_of(p.scan, task % bands, bands), volume)) ok = false;
    });
    return ok;
  }

  bool forward_block(int64_t block, IndexRange band, const Lines<T>& volume) const {
    const int n = views_of(block);
    const View<T>* views = p.views + block * kBlock;
    const int64_t width = band.end - band.begin + kTaps;
    const Lines<T> lines(is_image() ? 0 : n * width, entries());
    Scratch<T> image(is_image() ? n * width : 0);
    Scratch<Footprints<T>> footprints(kTile * kTile);
    const ViewBlock<Model, T> packed(p.scan, views, n);
    if (!lines || !image || !footprints) return false;
    for (int64_t t = 0; t < num_tiles(p.scan, kTile); ++t) {
      const Rectangle r = tile_of(p.scan, kTile, t);
      if (!falls_on(r, band, views, n)) continue;
      with_footprints(packed, r, band, footprints.get(), [&] {
        if (is_image())
          forward_image(r, footprints.get(), n, width, image.get() - band.begin);
        else
          forward_lines(r, footprints.get(), n, band, width, volume, lines);
      });
    }
    for (int v = 0; v < n; ++v)
      if (!store_view(block * kBlock + v, band, is_image() ? image.get() + v * width : lines[v * width],
                      is_image() ? 1 : lines.length()))
        return false;
    return true;
  }

  // False for a tile whose columns have no footprint in the band.
  bool falls_on(const Rectangle& r, IndexRange band, const View<T>* views, int n) const {
    if (band.end - band.begin == p.scan.cols) return true;
    VoxelBox box = box_of(r);
    box.end[0] = static_cast<int32_t>(p.scan.nz);
    for (int v = 0; v < n; ++v)
      if (!intersect(shadow_of(p.scan, views[v], box).cols, band).empty()) return true;
    return false;
  }

  // sums: pixel 0 of the first view, whether it is in the band or not.
  void forward_image(const Rectangle& r, const Footprints<T>* footprints, int n, int64_t width, T* sums) const {
    for (int64_t y = r.y_begin; y < r.y_end; ++y)
      for (int64_t x = r.x_begin; x < r.x_end; ++x) {
        const Footprints<T>& f = *footprints++;
        const T value = p.in[y * p.scan.nx + x];
        for_views(n, [&](int v) {
          T* to = sums + v * width + f.first[v];
          (Quad<T>::load(to) + Quad<T>::load(f.weights[v]) * value).store(to);
        });
      }
  }

  void forward_lines(const Rectangle& r, const Footprints<T>* footprints, int n, IndexRange band, int64_t width,
                     const Lines<T>& volume, const Lines<T>& sums) const {
    const int64_t across = r.width();
    for (int v = 0; v < n; ++v)
      for (int64_t i = 0; i < r.size(); ++i) {
        const Footprints<T>& f = footprints[i];
        if (f.count[v] == 0) continue;
        const T* slices = volume[(r.y_begin + i / across) * p.scan.nx + r.x_begin + i % across];
        forward_line(f, v, slices, sums[v * width + f.first[v] - band.begin], sums.length());
      }
  }

  void forward_line(const Footprints<T>& f, int v, const T* slices, T* to, int64_t length) const {
    const bool shared = layout.shared_rows;
    const int64_t lanes = layout.lanes;
    const T edge = f.edge[v], slope = f.slope[v];
    const IndexRange range = {f.row_begin[v], f.row_end[v]};
    with_taps(f.weights[v], f.count[v], [=](auto taps) {
      if (shared) return scatter_line(taps, slices, 0, lanes, to, length);
      spread<Model>(edge, slope, slices, static_cast<int32_t>(lanes), range,
                    [=](int32_t row, Lanes<T> value) { taps.scatter(value, to + row, length); });
    });
  }

  // From one line for each detector column of a band.
  bool store_view(int64_t v, IndexRange band, const T* sums, int64_t length) const {
    const View<T>& view = p.views[v];
    const bool exchange = layout.shared_rows && !layout.planar;
    const int64_t cols = band.end - band.begin;
    const Lines<T> rows(exchange ? cols : 0, layout.rows);
    Scratch<T> buffer(p.scan.cols);
    const Obliquities<T> obliquities(p.scan, view);
    if (!rows || !buffer || !obliquities) return false;
    if (exchange) {
      const auto column = make_upward_column<Model>(p.scan, view, view.beam, T(0), T(0));
      for (int64_t c = 0; c < cols; ++c)
        spread<Model>(column.edge, column.slope, sums + c * length, static_cast<int32_t>(layout.lanes),
                      {0, static_cast<int32_t>(layout.rows)},
                      [&](int32_t row, Lanes<T> value) { store(value, rows[c] + row); });
      sums = rows[0];
      length = rows.length();
    }
    T* values = buffer.get() + band.begin;
    for (int64_t row = 0; row < layout.rows; ++row) {
      const int64_t r = data_row(view, row);
      for (int64_t c = 0; c < cols; ++c) values[c] = sums[c * length + row];
      if (Model::kObliquity) obliquities.scale(layout.planar ? 0 : r, buffer.get());
      std::memcpy(p.out + r * layout.row_stride + v * layout.view_stride + band.begin, values,
                  sizeof(T) * static_cast<size_t>(cols));
    }
    return true;
  }

  // --- back ------------------------------------------------------------------------------------------------------

  bool back(const Executor& executor) const {
    const int64_t width = p.scan.cols + kTaps;
    const Lines<T> lines(is_image() ? 0 : p.scan.views * width, entries());
    Scratch<T> image(is_image() ? p.scan.views * width : 0);
    Scratch<ViewBlock<Model, T>> blocks(num_blocks());
    if (!lines || !image || !blocks) return false;
    std::atomic<bool> ok{true};
    parallel_for(executor, p.scan.views, [&](int64_t v) {
      if (!load_view(v, is_image() ? image.get() + v * width : lines[v * width], is_image() ? 1 : lines.length()))
        ok = false;
    });
    for (int64_t b = 0; b < num_blocks(); ++b)
      blocks.get()[b] = ViewBlock<Model, T>(p.scan, p.views + b * kBlock, views_of(b));
    parallel_for(executor, num_tiles(p.scan, kTile), [&](int64_t t) {
      if (!back_tile(tile_of(p.scan, kTile, t), blocks.get(), image.get(), lines, width)) ok = false;
    });
    return ok;
  }

  // One line for each detector column: rows upwards and weighted, or slices where rows are shared.
  bool load_view(int64_t v, T* lines, int64_t length) const {
    const View<T>& view = p.views[v];
    const bool exchange = layout.shared_rows && !layout.planar;
    const Lines<T> rows(exchange ? p.scan.cols : 0, layout.rows);
    Scratch<T> buffer(p.scan.cols);
    const Obliquities<T> obliquities(p.scan, view);
    if (!rows || !buffer || !obliquities) return false;
    T* values = buffer.get();
    T* to = exchange ? rows[0] : lines;
    const int64_t to_length = exchange ? rows.length() : length;
    for (int64_t row = 0; row < layout.rows; ++row) {
      const int64_t r = data_row(view, row);
      std::memcpy(values, p.in + r * layout.row_stride + v * layout.view_stride,
                  sizeof(T) * static_cast<size_t>(p.scan.cols));
      if (Model::kObliquity) obliquities.scale(layout.planar ? 0 : r, values);
      for (int64_t c = 0; c < p.scan.cols; ++c) to[c * to_length + row] = values[c];
    }
    if (!exchange) return true;
    const auto num_rows = static_cast<int32_t>(layout.rows);
    const auto column = make_upward_column<Model>(p.scan, view, view.beam, T(0), T(0));
    for (int64_t c = 0; c < p.scan.cols; ++c)
      collect<Model>(column.edge, column.slope, rows[c], {0, num_rows}, num_rows, static_cast<int32_t>(layout.lanes),
                     lines + c * length);
    return true;
  }

  bool back_tile(const Rectangle& r, const ViewBlock<Model, T>* blocks, const T* projections, const Lines<T>& lines,
                 int64_t width) const {
    const Lines<T> sums(is_image() ? 0 : r.size(), layout.lanes), rows(1, layout.rows);
    Scratch<T> image(is_image() ? 4 * r.size() : 0);
    Scratch<Footprints<T>> footprints(r.size());
    if (!sums || !rows || !footprints || !image) return false;
    const IndexRange all = {0, static_cast<int32_t>(p.scan.cols)};
    for (int64_t b = 0; b < num_blocks(); ++b)
      with_footprints(blocks[b], r, all, footprints.get(), [&] {
        if (is_image())
          back_image(r, footprints.get(), views_of(b), projections + b * kBlock * width, width, image.get());
        else
          for (int v = 0; v < views_of(b); ++v)
            for (int64_t i = 0; i < r.size(); ++i)
              if (const Footprints<T>& f = footprints.get()[i]; f.count[v] > 0)
                back_line(f, v, lines[(b * kBlock + v) * width + f.first[v]], lines.length(), rows[0], sums[i]);
      });
    if (is_image())
      store_image(r, image.get());
    else
      store_tile(sums, p.scan, r, layout.lanes, layout.lane_stride, p.out);
    return true;
  }

  void store_image(const Rectangle& r, const T* sums) const {
    for (int64_t y = r.y_begin; y < r.y_end; ++y)
      for (int64_t x = r.x_begin; x < r.x_end; ++x, sums += kTaps)
        p.out[y * p.scan.nx + x] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }

  // sums: four a column, to be added.
  static void back_image(const Rectangle& r, const Footprints<T>* footprints, int n, const T* projections,
                         int64_t width, T* sums) {
    for (int64_t i = 0; i < r.size(); ++i) {
      const Footprints<T>& f = footprints[i];
      Quad<T> even = {}, odd = {};
      for_views(n, [&](int v) {
        Quad<T>& sum = v % 2 == 0 ? even : odd;
        sum = sum + Quad<T>::load(f.weights[v]) * Quad<T>::load(projections + v * width + f.first[v]);
      });
      (Quad<T>::load(sums + 4 * i) + (even + odd)).store(sums + 4 * i);
    }
  }

  // from: the line of the first detector column that f touches in view v.
  void back_line(const Footprints<T>& f, int v, const T* from, int64_t length, T* rows, T* slices) const {
    const bool shared = layout.shared_rows;
    const int64_t lanes = layout.lanes;
    const T edge = f.edge[v], slope = f.slope[v];
    const IndexRange range = {f.row_begin[v], f.row_end[v]};
    with_taps(f.weights[v], f.count[v], [=](auto taps) {
      if (shared) return add_line(taps, from, length, 0, lanes, slices);
      gather_line(taps, from, length, range.begin, range.end, rows);
    });
    if (shared || range.empty()) return;
    clear_around(range, rows);
    collect<Model>(edge, slope, rows, range, static_cast<int32_t>(layout.rows), static_cast<int32_t>(lanes), slices);
  }
};

}  // namespace loops
JAXCT_NAMESPACE_END
