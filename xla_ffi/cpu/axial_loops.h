#pragma once
// Separable models where every view's detector rows are stacked along z. Then all voxels of a (y, x) column share their
// detector columns and weights, and their rows are linear in z. Volumes are held as [y][x][z] and projections as
// [view][column][row], so that the inner loops run over contiguous z or rows.
//
// Forward: the column is spread over detector rows once, then added to each detector column it touches. Back: those
// detector columns are combined first, then looked up along z. Where rows do not depend on the column (2-D; parallel
// rays in the plane), rows and z are exchanged once per view instead ("shared rows") and the inner loops are streams; a
// batch of 2-D images with one geometry then takes the place of z.
#include <atomic>

#include "cpu/column_block.h"

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

// What a column needs in memory: its rows or slices with a zero at either end, where lookups beyond it are sent.
inline int64_t padded(int64_t n) { return n + 2; }

template <typename Row, typename T>
IndexRange touched_rows(T edge, T slope, int64_t slices, int64_t rows) {
  const T begin = edge + Row::support_begin(slope);
  const T end = begin + slope * static_cast<T>(slices - 1) + Row::support_width(slope);
  const IndexRange range = index_range(begin - T(1e-3), end + T(1e-3), static_cast<int32_t>(rows));
  return range;
}

// rows[r] = sum_z weight(z, r) slices[z], for r in range. `slices` is padded.
template <typename Model, typename T>
inline void spread_rows(T edge, T slope, const T* slices, int32_t num_slices, IndexRange range, T* rows) {
  using Row = typename Model::template Row<T>;
  const T inverse = T(1) / slope;
  const T slack = T(1e-3);
  const T back = Row::support_begin(slope) + Row::support_width(slope);
  const T top = static_cast<T>(num_slices);
  const int32_t taps =
      floor_index(clamp((Row::support_width(slope) + T(1)) * inverse + T(2) * slack, T(0), top + T(1))) + 1;
#pragma omp simd
  for (int32_t r = range.begin; r < range.end; ++r) rows[r] = T(0);
  for (int32_t tap = 0; tap < taps; ++tap) {
#pragma omp simd
    for (int32_t r = range.begin; r < range.end; ++r) {
      const T lowest = clamp((static_cast<T>(r) - back - edge) * inverse - slack, T(-2), top);
      const int32_t z = floor_index(lowest) + 1 + tap;
      const int32_t at = min_of(max_of(z, -1), num_slices);
      rows[r] += Model::row_weight(edge, slope, z, r) * slices[at];
    }
  }
}

// slices[z] += sum_r weight(z, r) rows[r], with rows given for `range` and zero at range.begin - 1 and range.end.
template <typename Model, typename T>
inline void collect_slices(T edge, T slope, const T* rows, IndexRange range, int32_t num_slices, T* slices) {
  using Row = typename Model::template Row<T>;
  const T begin = edge + Row::support_begin(slope);
  const T inverse = T(1) / slope;
  const T slack = T(1e-2);
  const IndexRange z_range =
      index_range((static_cast<T>(range.begin) - begin - Row::support_width(slope)) * inverse - slack,
                  (static_cast<T>(range.end) - begin) * inverse + T(1) + slack, num_slices);
  const T lowest = static_cast<T>(range.begin - 1), highest = static_cast<T>(range.end);
  const int32_t taps = Row::taps(min_of(slope, highest - lowest));
  for (int32_t tap = 0; tap < taps; ++tap) {
#pragma omp simd
    for (int32_t z = z_range.begin; z < z_range.end; ++z) {
      const int32_t r = floor_index(clamp(begin + slope * static_cast<T>(z), lowest, highest)) + tap;
      const int32_t at = min_of(max_of(r, range.begin - 1), range.end);
      slices[z] += Model::row_weight(edge, slope, z, r) * rows[at];
    }
  }
}

template <typename T>
inline void add_scaled(T weight, const T* from, int64_t begin, int64_t end, T* to) {
  if (end - begin == 1) {
    to[begin] += weight * from[begin];
    return;
  }
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) to[i] += weight * from[i];
}

struct Rectangle {
  int64_t y_begin, y_end, x_begin, x_end;
};

template <typename Model, typename T>
struct AxialLoops {
  using Row = typename Model::template Row<T>;

  const Problem<T>& p;
  const AxialLayout layout;

  // Entries per detector column while the columns are being summed: slices if rows are shared, rows otherwise.
  int64_t entries() const { return layout.shared_rows ? layout.lanes : layout.rows; }

  // What the weights of pixel (row, column) of the data are multiplied by.
  T pixel_factor(const View<T>& view, int64_t row, int64_t col) const {
    if (!Model::kObliquity) return T(1);
    return obliquity(view, layout.planar ? 0 : row, col);
  }

  int64_t data_row(const View<T>& view, int64_t row) const {
    return !layout.planar && rows_run_down(view) ? layout.rows - 1 - row : row;
  }

  // f(y, x, block, i) for every voxel column of the rectangle that falls on the band.
  template <typename F>
  void visit_columns(const View<T>& view, const Rectangle& r, IndexRange band, ColumnBlock<Model, T>& block,
                     F&& f) const {
    for (int64_t y = r.y_begin; y < r.y_end; ++y)
      for (int64_t x = r.x_begin; x < r.x_end; x += block.kWidth) {
        const auto n = static_cast<int32_t>(min_of(r.x_end - x, int64_t{block.kWidth}));
        block.compute(view, y, x, n, band);
        for (int32_t i = 0; i < n; ++i)
          if (block.count(i) > 0) f(y, x + i, i);
      }
  }

  // --- forward ---------------------------------------------------------------------------------------------------

  bool forward(const Executor& executor) const {
    const int64_t stride = padded(layout.lanes), columns = p.scan.ny * p.scan.nx;
    Scratch<T> volume(columns * stride);
    if (!volume) return false;
    parallel_for(executor, p.scan.ny, [&](int64_t y) {
      for (int64_t lane = 0; lane < layout.lanes; ++lane)
        for (int64_t x = 0; x < p.scan.nx; ++x)
          volume.get()[(y * p.scan.nx + x) * stride + 1 + lane] = p.in[lane * layout.lane_stride + y * p.scan.nx + x];
    });
    const int64_t bands = p.scan.views < 8 ? min_of(p.scan.cols, int64_t{8}) : 1;
    std::atomic<bool> ok{true};
    parallel_for(executor, p.scan.views * bands, [&](int64_t task) {
      const int64_t band = task % bands;
      const IndexRange cols = {static_cast<int32_t>(p.scan.cols * band / bands),
                               static_cast<int32_t>(p.scan.cols * (band + 1) / bands)};
      if (!forward_view(task / bands, cols, volume.get())) ok = false;
    });
    return ok;
  }

  bool forward_view(int64_t v, IndexRange band, const T* volume) const {
    const View<T>& view = p.views[v];
    const int64_t stride = padded(layout.lanes), n = padded(entries());
    Scratch<T> sums((band.end - band.begin) * n), rows(layout.rows);
    ColumnBlock<Model, T> block(p.scan);
    if (!sums || !rows || !block) return false;
    const auto lanes = static_cast<int32_t>(layout.lanes);
    visit_columns(view, {0, p.scan.ny, 0, p.scan.nx}, band, block, [&](int64_t y, int64_t x, int32_t i) {
      const T* source = volume + (y * p.scan.nx + x) * stride + 1;
      IndexRange range = {0, lanes};
      if (!layout.shared_rows) {
        const T edge = block.edge(i), slope = block.slope(i);
        range = touched_rows<Row>(edge, slope, layout.lanes, layout.rows);
        spread_rows<Model>(edge, slope, source, lanes, range, rows.get());
        source = rows.get();
      }
      T* to = sums.get() + (block.first(i) - band.begin) * n + 1;
      for (int32_t tap = 0; tap < block.count(i); ++tap)
        add_scaled(block.weight(i, tap), source, range.begin, range.end, to + tap * n);
    });
    for (int32_t c = band.begin; c < band.end; ++c)
      store_detector_column(v, c, sums.get() + (c - band.begin) * n + 1, rows.get());
    return true;
  }

  void store_detector_column(int64_t v, int32_t c, const T* sums, T* rows) const {
    const View<T>& view = p.views[v];
    const T* values = sums;
    if (layout.shared_rows && !layout.planar) {
      const auto column = make_upward_column<Model>(p.scan, view, view.beam, T(0), T(0));
      spread_rows<Model>(column.edge, column.slope, sums, static_cast<int32_t>(layout.lanes),
                         {0, static_cast<int32_t>(layout.rows)}, rows);
      values = rows;
    }
    for (int64_t row = 0; row < layout.rows; ++row) {
      const int64_t r = data_row(view, row);
      p.out[r * layout.row_stride + v * layout.view_stride + c] = values[row] * pixel_factor(view, r, c);
    }
  }

  // --- back ------------------------------------------------------------------------------------------------------

  bool back(const Executor& executor) const {
    const int64_t n = padded(entries());
    Scratch<T> projections(p.scan.views * p.scan.cols * n);
    if (!projections) return false;
    std::atomic<bool> ok{true};
    parallel_for(executor, p.scan.views, [&](int64_t v) {
      if (!load_view(v, projections.get() + v * p.scan.cols * n)) ok = false;
    });
    const int64_t height = 8, width = layout.lanes > 8 ? 8 : 32;
    const int64_t tiles_y = tiles(p.scan.ny, height), tiles_x = tiles(p.scan.nx, width);
    parallel_for(executor, tiles_y * tiles_x, [&](int64_t task) {
      const int64_t y = task / tiles_x * height, x = task % tiles_x * width;
      const Rectangle tile = {y, min_of(p.scan.ny, y + height), x, min_of(p.scan.nx, x + width)};
      if (!back_tile(tile, projections.get())) ok = false;
    });
    return ok;
  }

  // One view as [column][row], rows upwards and weighted; as [column][slice] where rows are shared.
  bool load_view(int64_t v, T* projection) const {
    const View<T>& view = p.views[v];
    const int64_t n = padded(entries());
    Scratch<T> buffer(padded(layout.rows));
    if (!buffer) return false;
    T* rows = buffer.get() + 1;
    const bool exchange = layout.shared_rows && !layout.planar;
    const auto column = make_upward_column<Model>(p.scan, view, view.beam, T(0), T(0));
    for (int64_t c = 0; c < p.scan.cols; ++c) {
      T* to = projection + c * n + 1;
      T* values = exchange ? rows : to;
      for (int64_t row = 0; row < layout.rows; ++row) {
        const int64_t r = data_row(view, row);
        values[row] = p.in[r * layout.row_stride + v * layout.view_stride + c] * pixel_factor(view, r, c);
      }
      if (exchange)
        collect_slices<Model>(column.edge, column.slope, rows, {0, static_cast<int32_t>(layout.rows)},
                              static_cast<int32_t>(layout.lanes), to);
    }
    return true;
  }

  bool back_tile(const Rectangle& r, const T* projections) const {
    const int64_t n = padded(entries()), width = r.x_end - r.x_begin;
    Scratch<T> tile((r.y_end - r.y_begin) * width * layout.lanes), rows(padded(layout.rows));
    ColumnBlock<Model, T> block(p.scan);
    if (!tile || !rows || !block) return false;
    const IndexRange all = {0, static_cast<int32_t>(p.scan.cols)};
    for (int64_t v = 0; v < p.scan.views; ++v)
      visit_columns(p.views[v], r, all, block, [&](int64_t y, int64_t x, int32_t i) {
        const T* from = projections + (v * p.scan.cols + block.first(i)) * n + 1;
        T* slices = tile.get() + ((y - r.y_begin) * width + x - r.x_begin) * layout.lanes;
        back_column(from, block, i, rows.get() + 1, slices);
      });
    for (int64_t lane = 0; lane < layout.lanes; ++lane)
      for (int64_t y = r.y_begin; y < r.y_end; ++y)
        for (int64_t x = r.x_begin; x < r.x_end; ++x)
          p.out[lane * layout.lane_stride + y * p.scan.nx + x] =
              tile.get()[((y - r.y_begin) * width + x - r.x_begin) * layout.lanes + lane];
    return true;
  }

  // projection: the first detector column of block column i.
  void back_column(const T* projection, const ColumnBlock<Model, T>& block, int32_t i, T* rows, T* slices) const {
    const int64_t n = padded(entries());
    if (layout.shared_rows) {
      for (int32_t tap = 0; tap < block.count(i); ++tap)
        add_scaled(block.weight(i, tap), projection + tap * n, 0, layout.lanes, slices);
      return;
    }
    const IndexRange range = touched_rows<Row>(block.edge(i), block.slope(i), layout.lanes, layout.rows);
    if (range.empty()) return;
    for (int32_t r = range.begin - 1; r <= range.end; ++r) rows[r] = T(0);
    for (int32_t tap = 0; tap < block.count(i); ++tap)
      add_scaled(block.weight(i, tap), projection + tap * n, range.begin, range.end, rows);
    collect_slices<Model>(block.edge(i), block.slope(i), rows, range, static_cast<int32_t>(layout.lanes), slices);
  }
};

}  // namespace loops
JAXCT_NAMESPACE_END
