#pragma once
// Volumes, and batches of images with one geometry. Rows are linear in z, so volumes are held as lines of slices, one
// for every column, and projections as lines of rows, one for every view and detector column: the inner loops run along
// lines.
//
// Forward: a column's line is spread over detector rows and added to each detector column it touches. Back: those
// detector columns are combined first, then collected along z. Where rows do not depend on the column (2-D; parallel
// rays in the plane), rows and slices are exchanged once per view instead ("shared rows") and the inner loops are
// streams; a batch of 2-D images takes the place of z.
#include "cpu/axial_loops.h"
#include "cpu/lines.h"

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

template <typename Model, typename T>
class LineLoops : AxialLoops<Model, T> {
  using Base = AxialLoops<Model, T>;
  using Base::kBlock, Base::kTaps, Base::kTile, Base::num_blocks, Base::p, Base::packed, Base::views_of;

 public:
  LineLoops(const Problem<T>& problem, const AxialLayout& axial) : Base(problem), layout(axial) {}

  bool forward(const Executor& executor) const {
    const Lines<T> volume(p.scan.ny * p.scan.nx, layout.lanes);
    if (!volume) return false;
    load_lines(executor, p.in, p.scan.ny * p.scan.nx, layout.lanes, layout.lane_stride, volume);
    return Base::project_blocks(executor,
                                [&](int64_t block, IndexRange band) { return forward_block(block, band, volume); });
  }

  // The projections are copied a few blocks of views at a time: into a cache that the processors share, and not into
  // memory that the process has yet to be given.
  bool back(const Executor& executor) const {
    const int64_t bytes = num_blocks() * kBlock * width() * line_length<T>(entries()) * static_cast<int64_t>(sizeof(T));
    const int64_t together = tiles(num_blocks(), min_of(tiles(bytes, kCopy), num_blocks()));
    const Lines<T> lines(together * kBlock * width(), entries());
    const Scratch<ViewBlock<Model, T>> blocks(num_blocks());
    if (!lines || !blocks) return false;
    Base::pack(blocks.get());
    for (int64_t first = 0; first < num_blocks(); first += together)
      if (!back_blocks(executor, blocks.get(), first, min_of(num_blocks(), first + together), lines)) return false;
    return true;
  }

 private:
  static constexpr int64_t kCopy = int64_t{4} << 20;  // bytes

  // Entries of a detector column's line while columns are being summed: slices if rows are shared, rows otherwise.
  int64_t entries() const { return layout.shared_rows ? layout.lanes : layout.rows; }
  // Lines of a view, with those that taps beyond its edge fall on.
  int64_t width() const { return p.scan.cols + kTaps; }
  // Rows have to be exchanged for slices.
  bool exchanges() const { return layout.shared_rows && !layout.planar; }

  int64_t data_row(const View<T>& view, int64_t row) const {
    return !layout.planar && rows_run_down(view) ? layout.rows - 1 - row : row;
  }

  bool forward_block(int64_t block, IndexRange band, const Lines<T>& volume) const {
    const int n = views_of(block);
    const int64_t across = band.end - band.begin + kTaps;
    const Lines<T> sums(n * across, entries());
    const Scratch<Footprints<T>> footprints(kTile * kTile);
    if (!sums || !footprints) return false;
    const ViewBlock<Model, T> views = packed(block);
    for (int64_t t = 0; t < num_tiles(p.scan, kTile); ++t) {
      const Rectangle r = tile_of(p.scan, kTile, t);
      if (!Base::falls_on(r, band, block)) continue;
      Base::template with_footprints<false>(views, r, band, footprints.get(), [&] {
        for (int v = 0; v < n; ++v)
          for (int64_t i = 0; i < r.size(); ++i) {
            const Footprints<T>& f = footprints.get()[i];
            if (f.count[v] == 0) continue;
            const T* slices = volume[(r.y_begin + i / r.width()) * p.scan.nx + r.x_begin + i % r.width()];
            forward_line(f, v, slices, sums[v * across + f.first[v] - band.begin], sums.length());
          }
      });
    }
    for (int v = 0; v < n; ++v)
      if (!store_view(block * kBlock + v, band, sums[v * across], sums.length())) return false;
    return true;
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
    const int64_t cols = band.end - band.begin;
    const Lines<T> rows(exchanges() ? cols : 0, layout.rows);
    Scratch<T> buffer(p.scan.cols);
    const Obliquities<T> obliquities(p.scan, view);
    if (!rows || !buffer || !obliquities) return false;
    if (exchanges()) {
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

  // Adds blocks first to last - 1; block 0 begins the volume.
  bool back_blocks(const Executor& executor, const ViewBlock<Model, T>* blocks, int64_t first, int64_t last,
                   const Lines<T>& lines) const {
    std::atomic<bool> ok{true};
    parallel_for(executor, min_of(p.scan.views, last * kBlock) - first * kBlock, [&](int64_t v) {
      if (!load_view(first * kBlock + v, lines[v * width()], lines.length())) ok = false;
    });
    parallel_for(executor, num_tiles(p.scan, kTile), [&](int64_t t) {
      if (!back_tile(tile_of(p.scan, kTile, t), blocks, first, last, lines)) ok = false;
    });
    return ok;
  }

  // One line for each detector column: rows upwards and weighted, or slices where rows are shared.
  bool load_view(int64_t v, T* lines, int64_t length) const {
    const View<T>& view = p.views[v];
    const Lines<T> rows(exchanges() ? p.scan.cols : 0, layout.rows);
    Scratch<T> buffer(p.scan.cols);
    const Obliquities<T> obliquities(p.scan, view);
    if (!rows || !buffer || !obliquities) return false;
    T* values = buffer.get();
    T* to = exchanges() ? rows[0] : lines;
    const int64_t to_length = exchanges() ? rows.length() : length;
    for (int64_t row = 0; row < layout.rows; ++row) {
      const int64_t r = data_row(view, row);
      std::memcpy(values, p.in + r * layout.row_stride + v * layout.view_stride,
                  sizeof(T) * static_cast<size_t>(p.scan.cols));
      if (Model::kObliquity) obliquities.scale(layout.planar ? 0 : r, values);
      for (int64_t c = 0; c < p.scan.cols; ++c) to[c * to_length + row] = values[c];
    }
    if (!exchanges()) return true;
    const auto num_rows = static_cast<int32_t>(layout.rows);
    const auto column = make_upward_column<Model>(p.scan, view, view.beam, T(0), T(0));
    for (int64_t c = 0; c < p.scan.cols; ++c) {
      T* line = lines + c * length;
      std::memset(line, 0, sizeof(T) * static_cast<size_t>(length - kGap));
      collect<Model>(column.edge, column.slope, rows[c], {0, num_rows}, num_rows, static_cast<int32_t>(layout.lanes),
                     line);
    }
    return true;
  }

  bool back_tile(const Rectangle& r, const ViewBlock<Model, T>* blocks, int64_t first, int64_t last,
                 const Lines<T>& lines) const {
    const Lines<T> sums(r.size(), layout.lanes), rows(1, layout.rows);
    const Scratch<Footprints<T>> footprints(r.size());
    if (!sums || !rows || !footprints) return false;
    const IndexRange all = {0, static_cast<int32_t>(p.scan.cols)};
    for (int64_t b = first; b < last; ++b)
      Base::template with_footprints<false>(blocks[b], r, all, footprints.get(), [&] {
        for (int v = 0; v < views_of(b); ++v)
          for (int64_t i = 0; i < r.size(); ++i)
            if (const Footprints<T>& f = footprints.get()[i]; f.count[v] > 0)
              back_line(f, v, lines[((b - first) * kBlock + v) * width() + f.first[v]], lines.length(), rows[0],
                        sums[i]);
      });
    store_tile(sums, p.scan, r, layout.lanes, layout.lane_stride, first > 0, p.out);
    return true;
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

  const AxialLayout layout;
};

}  // namespace loops
JAXCT_NAMESPACE_END
