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

#include "core/separable.h"
#include "cpu/problem.h"

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

// Rows that run towards -z are counted from the other end: slopes are positive from here on.
template <typename Model, typename T>
auto make_upward_column(const Scan& scan, const View<T>& view, T y, T x) {
  auto column = Model::make_column(scan, view, y, x);
  if (column.slope < T(0)) {
    column.edge = static_cast<T>(scan.rows) - column.edge;
    column.slope = -column.slope;
  }
  return column;
}

template <typename T>
bool rows_run_down(const View<T>& view) {
  return view.along.slope[0] < T(0);
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
template <typename RowOf, typename T>
inline void spread_rows(RowOf row_at, T edge, T slope, const T* slices, int32_t num_slices, IndexRange range, T* rows) {
  using Row = decltype(row_at(edge, slope, 0));
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
      rows[r] += row_at(edge, slope, z).weight(r) * slices[at];
    }
  }
}

// slices[z] += sum_r weight(z, r) rows[r], with rows given for `range` and zero at range.begin - 1 and range.end.
template <typename RowOf, typename T>
inline void collect_slices(RowOf row_at, T edge, T slope, const T* rows, IndexRange range, int32_t num_slices,
                           T* slices) {
  using Row = decltype(row_at(edge, slope, 0));
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
      slices[z] += row_at(edge, slope, z).weight(r) * rows[at];
    }
  }
}

template <typename T>
inline void add_scaled(T weight, const T* from, int64_t begin, int64_t end, T* to) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) to[i] += weight * from[i];
}

template <typename T>
T relative(int64_t index, double middle) {
  return static_cast<T>(static_cast<double>(index) - middle);
}

template <typename Model, typename T>
struct AxialLoops {
  const Problem<T>& p;
  const AxialLayout layout;

  static auto row_at() {
    return [](T edge, T slope, int32_t z) { return Model::row_at(edge, slope, z); };
  }

  // Entries per detector column while the columns are being summed: slices if rows are shared, rows otherwise.
  int64_t entries() const { return layout.shared_rows ? layout.lanes : layout.rows; }

  // The obliquity of pixel (row, column), rows counted upwards.
  T pixel_factor(const View<T>& view, int64_t row, int64_t col) const {
    if (!Model::kObliquity) return T(1);
    return obliquity(view, layout.planar ? 0 : row, col);
  }

  int64_t data_row(const View<T>& view, int64_t row) const {
    return !layout.planar && rows_run_down(view) ? layout.rows - 1 - row : row;
  }

  // For a (y, x) column: detector columns, their weights, and where the slices fall.
  template <typename F>
  void visit_column(const View<T>& view, int64_t y, int64_t x, IndexRange band, T* weights, F&& f) const {
    const auto column =
        make_upward_column<Model>(p.scan, view, relative<T>(y, p.scan.middle(1)), relative<T>(x, p.scan.middle(2)));
    if (!(column.scale > T(0))) return;
    IndexRange cols = column.column.range(static_cast<int32_t>(p.scan.cols));
    cols = {max_of(cols.begin, band.begin), min_of(cols.end, band.end)};
    if (cols.empty()) return;
    for (int32_t c = cols.begin; c < cols.end; ++c) weights[c] = column.scale * column.column.weight(c);
    f(cols, column.edge, column.slope);
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
    Scratch<T> sums((band.end - band.begin) * n), rows(layout.rows), weights(p.scan.cols);
    if (!sums || !rows || !weights) return false;
    for (int64_t y = 0; y < p.scan.ny; ++y)
      for (int64_t x = 0; x < p.scan.nx; ++x)
        visit_column(view, y, x, band, weights.get(), [&](IndexRange cols, T edge, T slope) {
          const T* slices = volume + (y * p.scan.nx + x) * stride + 1;
          const T* source = slices;
          IndexRange range = {0, static_cast<int32_t>(layout.lanes)};
          if (!layout.shared_rows) {
            range = touched_rows<typename Model::template Row<T>>(edge, slope, layout.lanes, layout.rows);
            spread_rows(row_at(), edge, slope, slices, static_cast<int32_t>(layout.lanes), range, rows.get());
            source = rows.get();
          }
          for (int32_t c = cols.begin; c < cols.end; ++c)
            add_scaled(weights.get()[c], source, range.begin, range.end, sums.get() + (c - band.begin) * n + 1);
        });
    for (int32_t c = band.begin; c < band.end; ++c)
      store_detector_column(v, c, sums.get() + (c - band.begin) * n + 1, rows.get());
    return true;
  }

  void store_detector_column(int64_t v, int32_t c, const T* sums, T* rows) const {
    const View<T>& view = p.views[v];
    const T* values = sums;
    if (layout.shared_rows && !layout.planar) {
      const auto column = make_upward_column<Model>(p.scan, view, T(0), T(0));
      spread_rows(row_at(), column.edge, column.slope, sums, static_cast<int32_t>(layout.lanes),
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
    const int64_t edge = 8, tiles_y = tiles(p.scan.ny, edge), tiles_x = tiles(p.scan.nx, edge);
    parallel_for(executor, tiles_y * tiles_x, [&](int64_t task) {
      const int64_t y = task / tiles_x * edge, x = task % tiles_x * edge;
      if (!back_tile(y, min_of(p.scan.ny, y + edge), x, min_of(p.scan.nx, x + edge), projections.get())) ok = false;
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
    const auto column = make_upward_column<Model>(p.scan, view, T(0), T(0));
    for (int64_t c = 0; c < p.scan.cols; ++c) {
      T* to = projection + c * n + 1;
      T* values = exchange ? rows : to;
      for (int64_t row = 0; row < layout.rows; ++row) {
        const int64_t r = data_row(view, row);
        values[row] = p.in[r * layout.row_stride + v * layout.view_stride + c] * pixel_factor(view, r, c);
      }
      if (exchange)
        collect_slices(row_at(), column.edge, column.slope, rows, {0, static_cast<int32_t>(layout.rows)},
                       static_cast<int32_t>(layout.lanes), to);
    }
    return true;
  }

  bool back_tile(int64_t y_begin, int64_t y_end, int64_t x_begin, int64_t x_end, const T* projections) const {
    const int64_t n = padded(entries()), width = x_end - x_begin;
    Scratch<T> tile((y_end - y_begin) * width * layout.lanes), buffer(padded(layout.rows)), weights(p.scan.cols);
    if (!tile || !buffer || !weights) return false;
    const IndexRange all = {0, static_cast<int32_t>(p.scan.cols)};
    for (int64_t v = 0; v < p.scan.views; ++v)
      for (int64_t y = y_begin; y < y_end; ++y)
        for (int64_t x = x_begin; x < x_end; ++x)
          visit_column(p.views[v], y, x, all, weights.get(), [&](IndexRange cols, T edge, T slope) {
            const T* from = projections + v * p.scan.cols * n + 1;
            T* slices = tile.get() + ((y - y_begin) * width + x - x_begin) * layout.lanes;
            back_column(from, cols, weights.get(), edge, slope, buffer.get() + 1, slices);
          });
    for (int64_t lane = 0; lane < layout.lanes; ++lane)
      for (int64_t y = y_begin; y < y_end; ++y)
        for (int64_t x = x_begin; x < x_end; ++x)
          p.out[lane * layout.lane_stride + y * p.scan.nx + x] =
              tile.get()[((y - y_begin) * width + x - x_begin) * layout.lanes + lane];
    return true;
  }

  void back_column(const T* projection, IndexRange cols, const T* weights, T edge, T slope, T* rows, T* slices) const {
    const int64_t n = padded(entries());
    if (layout.shared_rows) {
      for (int32_t c = cols.begin; c < cols.end; ++c)
        add_scaled(weights[c], projection + c * n, 0, layout.lanes, slices);
      return;
    }
    const IndexRange range = touched_rows<typename Model::template Row<T>>(edge, slope, layout.lanes, layout.rows);
    if (range.empty()) return;
    for (int32_t r = range.begin - 1; r <= range.end; ++r) rows[r] = T(0);
    for (int32_t c = cols.begin; c < cols.end; ++c)
      add_scaled(weights[c], projection + c * n, range.begin, range.end, rows);
    collect_slices(row_at(), edge, slope, rows, range, static_cast<int32_t>(layout.lanes), slices);
  }
};

}  // namespace loops
JAXCT_NAMESPACE_END
