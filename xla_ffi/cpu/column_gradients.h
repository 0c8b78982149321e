#pragma once
// Gradients of the separable footprint with respect to the geometry, in 3-D, where every view's detector rows are
// stacked along z: column by column, a column's voxels together, along lines (lines.h), and as many columns at a time
// as a register holds.
//
// A column's part of <projections, A volume> is sum_c weight(c) * P_c, where P_c is what its voxels meet of detector
// column c. Detectors that tilt move voxels by as much as they are away from the middle slice: hence the moments along
// z. As in line_loops.h, slices are spread over rows column by column; where rows do not depend on the column, the
// projections' rows are exchanged for slices once per view.
#include <optional>

#include "core/footprint_pullback.h"
#include "core/separable_footprint.h"
#include "cpu/gradient_problem.h"
#include "cpu/line_loops.h"

JAXCT_NAMESPACE_BEGIN

template <typename Mask, typename T>
JAXCT_HD Moments<T> select(LaneMask<Mask> mask, Moments<T> yes, Moments<T> no) {
  return {select(mask, yes.sum, no.sum), select(mask, yes.along_z, no.along_z)};
}

// A column's slices as a line of moments; z is the first one's distance from the middle.
template <typename T>
struct MomentLine {
  const T* slices;
  T z;

  JAXCT_HD friend MomentLine operator+(MomentLine line, int32_t n) {
    return {line.slices + n, line.z + static_cast<T>(n)};
  }

  JAXCT_HD Moments<Lanes<T>> operator()(Lanes<T> value, LaneIndices<T> i) const {
    return {value, value * (Lanes<T>(i) + Lanes<T>(z))};
  }
};

template <typename T>
JAXCT_HD Moments<Lanes<T>> look_up(MomentLine<T> from, LaneIndices<T> i) {
  return from(look_up(from.slices, i), i);
}
template <typename T>
JAXCT_HD Moments<Lanes<T>> gather(MomentLine<T> from, LaneIndices<T> i) {
  return from(gather(from.slices, i), i);
}

namespace loops {

template <typename T>
class ColumnGradient {
 public:
  using Model = SeparableFootprint;
  using Number = Lanes<T>;

  // Of a register of columns: slices spread over rows, plainly and times their height, and the projections that they
  // meet.
  struct Workspace {
    const Lines<T> spread, met;

    explicit Workspace(const Scan& scan) : spread(2 * kLanes<T>, scan.rows), met(kLanes<T>, scan.rows) {}
    explicit operator bool() const { return spread && met; }
  };

  ColumnGradient(const Scan& scan, const View<T>& view, const T* y, const Workspace& work)
      : scan_(scan),
        view_(view),
        y_(y),
        packed_(pack_views(&view, 1)),
        down_(rows_run_down(view)),
        shared_(rows_are_shared(view)),
        parallel_(view.beam == Beam::kParallel),
        rows_(scan.cols + kTaps, scan.rows),
        shadow_(parallel_ ? 0 : scan.cols + kTaps, scan.rows),
        work_(work),
        slices_(shared_ ? scan.cols + kTaps : 0, scan.nz),
        edges_(shared_ ? scan.cols + kTaps : 0, scan.nz + 1) {
    if (!*this) return;
    for (int64_t r = 0; r < scan.rows; ++r)
      for (int64_t c = 0; c < scan.cols; ++c)
        rows_[c][r] = y[data_row(r) * scan.cols + c] * obliquity(view, data_row(r), c);
    if (shared_) exchange();
  }

  explicit operator bool() const { return rows_ && shadow_ && slices_ && edges_; }

  // As many of the volume's columns from (row, begin) on as a register holds.
  void add_columns(int64_t row, int64_t begin, const Lines<T>& volume, View<Number>& to) const {
    const Vec3<Number> q = {{Number(T(0)), Number(relative<T>(row, scan_.ny)),
                             Number(lane_numbers<T>()) + Number(relative<T>(begin, scan_.nx))}};
    const auto in_volume = Number(T(scan_.nx - begin)) > Number(lane_numbers<T>());
    const Column column = upwards(scan_, Model::make_column(scan_, packed_, view_.beam, q[1], q[2]));
    const Number zero(T(0)), cols(scan_.cols), last(scan_.rows);
    const Number low = clamp(column.edge, zero, last),
                 high = clamp(column.edge + column.slope * Number(scan_.nz), zero, last);
    const auto seen = in_volume & (column.scale > zero) & (column.column.end() > zero) &
                      (cols > column.column.begin()) & (high > low);
    if (!any_of(seen)) return;
    const Number scale = select(seen, column.scale, zero);
    const Index<Number> beyond(static_cast<int32_t>(scan_.cols));
    Index<Number> first = select(seen, floor_index(clamp(column.column.begin(), zero, cols)), beyond);
    const Index<Number> end = select(seen, ceil_index(clamp(column.column.end(), zero, cols)), beyond);
    const Index<Number> none(0), row_begin = select(seen, floor_index(low), none);
    const Index<Number> row_end = select(seen, ceil_index(high), none);

    const int64_t lines = row * scan_.nx + begin;
    Moments<Number> sum = {zero, zero}, by_shape[4] = {};
    EdgeMoments<Number> edges = {zero, zero, zero};
    Meeting meeting = {};
    for (int i = 0; !shared_ && i < kLanes<T>; ++i)
      if (row_begin[i] < row_end[i])
        spread_column(i, column.edge[i], column.slope[i], {row_begin[i], row_end[i]}, volume[lines + i]);
    do {
      Number weights[kTaps];
      column.column.weights(Number(first), weights);
      for (Number& weight : weights) weight = weight * scale;
      for (int i = 0; i < kLanes<T>; ++i) {
        T of_column[kTaps];
        for (int k = 0; k < kTaps; ++k) of_column[k] = weights[k][i];
        meet(i, first[i], min_of(end[i] - first[i], kTaps), of_column, {row_begin[i], row_end[i]}, volume[lines + i],
             meeting);
      }
      Moments<Number> here[kTaps];
      for (int k = 0; k < kTaps; ++k) {
        here[k] = {sum_lanes(meeting.sum[k]), sum_lanes(meeting.along_z[k])};
        sum = sum + here[k] * weights[k];
      }
      collect_shape(column.column, Number(first), here, by_shape);
      first = min_of(first + kTaps, end);
    } while (any_of(first < end));
    if (shared_)
      edges = {sum_lanes(meeting.zeroth), sum_lanes(meeting.first), zero};
    else
      edges = move_edges(column, row_begin, row_end, volume, lines);
    for (Moments<Number>& by : by_shape) by = by * scale;
    pull_column<Model>(packed_, q, column, sum, by_shape, edges, to);
  }

  // After all rows of a part: its sums.
  void finish(View<double>& sums) const {
    if (parallel_) return gradient_of_parallel_obliquity(view_, sums);
    gradient_of_obliquity(scan_, view_, y_, sums,
                          [&](int64_t row, int64_t col) { return shadow_[col][data_row(row)]; });
  }

 private:
  static constexpr int kTaps = Footprints<T>::kTaps;
  using Column = AxialColumn<Trapezoid<Number>, Number>;

  // What up to kTaps detector columns are to each of a register of columns, yet to be summed over the lanes.
  struct Meeting {
    Number sum[kTaps][kLanes<T>], along_z[kTaps][kLanes<T>];
    Number zeroth[kLanes<T>], first[kLanes<T>];  // edges, where rows are shared
  };

  int64_t data_row(int64_t row) const { return down_ ? scan_.rows - 1 - row : row; }

  // Rows to slices, and to what lies in the row where two slices meet.
  void exchange() const {
    const auto num_rows = static_cast<int32_t>(scan_.rows), nz = static_cast<int32_t>(scan_.nz);
    const auto column = make_upward_column<Model>(scan_, view_, view_.beam, T(0), T(0));
    for (int64_t c = 0; c < scan_.cols; ++c) {
      collect<Model>(column.edge, column.slope, rows_[c], {0, num_rows}, num_rows, nz, slices_[c]);
      at_edges(column.edge, column.slope, rows_[c], {0, num_rows},
               [&](int32_t e, Number, Number value) { store(value, edges_[c] + e); });
    }
  }

  void spread_column(int i, T edge, T slope, IndexRange rows, const T* slices) const {
    T *const flat = work_.spread[2 * i], *const raised = work_.spread[2 * i + 1], *const met = work_.met[i];
    const MomentLine<T> column = {slices, relative<T>(int64_t{0}, scan_.nz)};
    spread<Model>(edge, slope, column, static_cast<int32_t>(scan_.nz), rows, [=](int32_t r, Moments<Number> value) {
      store(value.sum, flat + r);
      store(value.along_z, raised + r);
      store(Number(T(0)), met + r);
    });
  }

  void meet(int i, int32_t first, int32_t count, const T* weights, IndexRange rows, const T* slices,
            Meeting& to) const {
    for (int k = 0; k < kTaps; ++k) to.sum[k][i] = to.along_z[k][i] = Number(T(0));
    with_taps(weights, count, [&](auto taps) {
      if (shared_) return meet_slices(taps, i, first, slices, to);
      if (parallel_) return meet_rows<false>(taps, i, first, rows, to);
      meet_rows<true>(taps, i, first, rows, to);
    });
  }

  // Adds, too, to the column's shadow and to what it meets in all detector columns.
  template <bool kShadow, int n>
  void meet_rows(Taps<T, n> taps, int i, int32_t first, IndexRange rows, Meeting& to) const {
    const T *const flat = work_.spread[2 * i], *const raised = work_.spread[2 * i + 1], *const y = rows_[first];
    T *const met = work_.met[i], *const shadow = kShadow ? shadow_[first] : nullptr;
    const int64_t length = rows_.length();
    Moments<Number> sums[n] = {};
    for (int32_t r = rows.begin; r < rows.end; r += kLanes<T>) {
      const Moments<Number> x = {load_lanes(flat + r), load_lanes(raised + r)};
      Number all = load_lanes(met + r);
      for (int k = 0; k < n; ++k) {
        const Number value = load_lanes(y + k * length + r);
        sums[k] = sums[k] + x * value;
        all = all + taps.weight[k] * value;
      }
      store(all, met + r);
      if constexpr (kShadow) taps.scatter(x.sum, shadow + r, length);
    }
    store_sums(sums, i, to);
  }

  template <int n>
  void meet_slices(Taps<T, n> taps, int i, int32_t first, const T* column, Meeting& to) const {
    const T *const y = slices_[first], *const at_edge = edges_[first];
    const int64_t length = slices_.length(), edge_length = edges_.length();
    Moments<Number> sums[n] = {}, edges = {};
    Number at = Number(lane_numbers<T>()) + Number(relative<T>(int64_t{0}, scan_.nz));
    for (int32_t z = 0; z <= scan_.nz; z += kLanes<T>, at = at + Number(T(kLanes<T>))) {
      const Number x = load_lanes(column + z);
      for (int k = 0; k < n; ++k) {
        const Number product = x * load_lanes(y + k * length + z);
        sums[k] = sums[k] + Moments<Number>{product, product * at};
      }
      const Number gain = (load_lanes(column + z - 1) - x) * taps.gather(at_edge + z, edge_length);
      edges = edges + Moments<Number>{gain, gain * at};
    }
    store_sums(sums, i, to);
    // Edges lie half a slice below the slices' middles.
    to.zeroth[i] = to.zeroth[i] + edges.sum;
    to.first[i] = to.first[i] + (edges.along_z - Number(T(0.5)) * edges.sum);
  }

  template <int n>
  static void store_sums(const Moments<Number> (&sums)[n], int i, Meeting& to) {
    for (int k = 0; k < n; ++k) {
      to.sum[k][i] = sums[k].sum;
      to.along_z[k][i] = sums[k].along_z;
    }
  }

  // Adds what the pixels from `first` on gain from changes of the shadow's break points, pixels being worth `here`.
  static void collect_shape(const Trapezoid<Number>& shape, Number first, const Moments<Number> (&here)[kTaps],
                            Moments<Number> (&to)[4]) {
    Number lower[4], upper[4];
    shape.below_by(first, lower);
    for (int k = 0; k < kTaps; ++k) {
      shape.below_by(first + Number(T(k + 1)), upper);
      for (int i = 0; i < 4; ++i) {
        to[i] = to[i] + here[k] * (upper[i] - lower[i]);
        lower[i] = upper[i];
      }
    }
  }

  // f(e, edges e, e + 1 ... from the middle slice, what the rows they lie in hold) for the edges of slices.
  template <typename F>
  void at_edges(T edge, T slope, const T* rows, IndexRange range, F&& f) const {
    const Number low(range.begin - 1), high(range.end), middle(T(0.5) * static_cast<T>(scan_.nz));
    const bool near = slope * static_cast<T>(kLanes<T>) < static_cast<T>(kWindow<T> - 2);
    for (int32_t e = 0; e <= scan_.nz; e += kLanes<T>) {
      const Number number(lane_numbers<T>() + e);
      const Index<Number> row = floor_index(clamp(Number(edge) + Number(slope) * number, low, high));
      const int32_t base = row[0];
      f(e, number - middle, near ? look_up(rows + base, row - base) : gather(rows, row));
    }
  }

  // Where two voxels meet, a row goes from the one to the other.
  EdgeMoments<Number> move_edges(const Column& column, Index<Number> row_begin, Index<Number> row_end,
                                 const Lines<T>& volume, int64_t lines) const {
    Number moments[3][kLanes<T>] = {};
    for (int i = 0; i < kLanes<T>; ++i) {
      const IndexRange rows = {row_begin[i], row_end[i]};
      if (rows.empty()) continue;
      const T* slices = volume[lines + i];
      clear_around(rows, work_.met[i]);
      Number zeroth(T(0)), first(T(0)), second(T(0));
      at_edges(column.edge[i], column.slope[i], work_.met[i], rows, [&](int32_t e, Number s, Number value) {
        const Number gain = (load_lanes(slices + e - 1) - load_lanes(slices + e)) * value;
        zeroth = zeroth + gain;
        first = first + gain * s;
        second = second + gain * s * s;
      });
      moments[0][i] = zeroth;
      moments[1][i] = first;
      moments[2][i] = second;
    }
    return {sum_lanes(moments[0]), sum_lanes(moments[1]), sum_lanes(moments[2])};
  }

  const Scan& scan_;
  const View<T>& view_;
  const T* y_;
  const View<Number> packed_;
  const bool down_, shared_, parallel_;
  // Of the view's detector columns: projections weighted with the obliquity, and what is projected there.
  const Lines<T> rows_, shadow_;
  const Workspace& work_;
  // Where rows are shared, of the detector columns: projections as slices, and at the edges between slices.
  const Lines<T> slices_, edges_;
};

// Views that go through a tile of columns together, so that its slices are in a near cache for all but the first.
constexpr int kGradientViews = 2;

// A range of the volume's rows of columns, on a block of views.

template <typename T>
bool gradient_of_columns(const GradientProblem<T>& p, const Lines<T>& volume, int64_t block, IndexRange rows,
                         View<double>* sums) {
  const int64_t first = block * kGradientViews;
  const auto n = static_cast<int>(min_of(p.scan.views - first, int64_t{kGradientViews}));
  const typename ColumnGradient<T>::Workspace work(p.scan);
  std::optional<ColumnGradient<T>> views[kGradientViews];
  bool ok = static_cast<bool>(work);
  for (int v = 0; ok && v < n; ++v)
    ok = static_cast<bool>(
        views[v].emplace(p.scan, p.views[first + v], p.projections + (first + v) * p.scan.pixels(), work));
  if (!ok) return false;
  for (int64_t begin = rows.begin; begin < rows.end; begin += kMaxTile) {
    const int64_t end = min_of(begin + kMaxTile, int64_t{rows.end});
    View<Lanes<T>> parts[kGradientViews] = {};
    for (int64_t x = 0; x < p.scan.nx; x += kLanes<T>)
      for (int v = 0; v < n; ++v)
        for (int64_t y = begin; y < end; ++y) views[v]->add_columns(y, x, volume, parts[v]);
    for (int v = 0; v < n; ++v) add_lanes(sums[v], parts[v]);
  }
  for (int v = 0; v < n; ++v) views[v]->finish(sums[v]);
  return true;
}

}  // namespace loops
JAXCT_NAMESPACE_END
