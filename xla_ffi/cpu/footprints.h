#pragma once
// The detector columns and weights of a voxel column, in as many views at a time as a register holds.
#include "core/separable.h"
#include "cpu/packed_views.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// Columns of a tile along either axis, at most.
constexpr int kMaxTile = 8;

// Of one (y, x) column in kLanes views.
template <typename T>
struct Footprints {
  static constexpr int kTaps = 4;

  int32_t first[kLanes<T>], count[kLanes<T>];        // detector columns, `count` of them at most kTaps
  T edge[kLanes<T>], slope[kLanes<T>];               // the rows of slice z begin at edge + slope * z
  int32_t row_begin[kLanes<T>], row_end[kLanes<T>];  // rows that some slice has
  T weights[kLanes<T>][kTaps];
};

// A run of views that are treated together, packed.
template <typename Model, typename T>
class ViewBlock {
 public:
  using Number = Lanes<T>;

  ViewBlock(const Scan& scan, const View<T>* views, int n) : scan_(&scan), view_(pack_views(views, n)) {}

  // The footprints of the columns of a rectangle, row by row, as far as they lie in `band`: pixels 4 * group to
  // 4 * group + 3 of each. `first` is at most band.end, so that all four can be addressed in an array of as many more
  // columns; of a footprint without a pixel in the band it is band.end. True if some footprint has more pixels than
  // that. For images all but `first` and `weights` is left out.
  template <bool kImages>
  bool compute(const Rectangle& r, IndexRange band, int32_t group, Footprints<T>* out) const {
    switch (view_.beam) {
      case Beam::kParallel:
        return compute_all<Beam::kParallel, kImages>(r, band, group, out);
      case Beam::kCone:
        return compute_all<Beam::kCone, kImages>(r, band, group, out);
      case Beam::kCurvedCone:
        break;
    }
    return compute_all<Beam::kCurvedCone, kImages>(r, band, group, out);
  }

 private:
  static constexpr int kTaps = Footprints<T>::kTaps;
  using Integer = Index<Number>;
  using Column = decltype(Model::make_column(Scan{}, View<Number>{}, Beam::kCone, Number(), Number()));

  // A row of a rectangle. Of a parallel beam all columns are the middle one, moved.
  struct Run {
    Column middle, columns[kMaxTile];
    Number shifts[kMaxTile], edges[kMaxTile];  // what is to be added to detector columns; edges of rows
    Integer firsts[kMaxTile];
  };

  template <Beam kBeam>
  JAXCT_HD static const Column& column_in(const Run& run, int i) {
    return kBeam == Beam::kParallel ? run.middle : run.columns[i];
  }

  template <Beam kBeam>
  JAXCT_HD static Number shift_in(const Run& run, int i) {
    return kBeam == Beam::kParallel ? run.shifts[i] : Number(T(0));
  }

  // A row in three passes: one footprint after the other would be a chain of operations too long for a processor to
  // find the next one's beginning.
  template <Beam kBeam, bool kImages>
  bool compute_all(const Rectangle& r, IndexRange band, int32_t group, Footprints<T>* out) const {
    const Scan scan = *scan_;
    const View<Number> view = view_;
    const auto n = static_cast<int>(r.x_end - r.x_begin);
    const T x = relative<T>(r.x_begin, scan.nx);
    const Number zero(T(0)), low(band.begin), high(band.end);
    const Integer end_of_band(band.end);
    Run run;
    run.middle = Model::make_column(scan, view, kBeam, zero, zero);
    bool more = false;
    for (int64_t y = r.y_begin; y < r.y_end; ++y) {
      place_columns<kBeam>(scan, view, Number(relative<T>(y, scan.ny)), x, n, run);
      for (int i = 0; i < n; ++i) {
        const Column& column = column_in<kBeam>(run, i);
        const Number shift = shift_in<kBeam>(run, i);
        const Number begin = column.column.begin() + shift, end = column.column.end() + shift;
        const auto seen = (column.scale > zero) & (end > low);
        Integer first = floor_index(clamp(begin, low, high));
        if (group > 0) first = min_of(first + group * kTaps, end_of_band);
        run.firsts[i] = select(seen, first, end_of_band);
        more |= any_of((min_of(end, high) > Number(run.firsts[i]) + Number(kTaps)) & seen);
      }
      for (int i = 0; i < n; ++i) finish<kBeam, kImages>(scan, run, i, low, high, *out++);
    }
    return more;
  }

  template <Beam kBeam>
  JAXCT_HD static void place_columns(const Scan& scan, const View<Number>& view, Number y, T x_first, int n, Run& run) {
    const Number half(T(0.5));
    if constexpr (kBeam == Beam::kParallel) {
      for (int i = 0; i < n; ++i) {
        const Number x(x_first + static_cast<T>(i));
        run.shifts[i] = view.across.slope[1] * y + view.across.slope[2] * x;
        run.edges[i] = run.middle.edge + (view.along.slope[1] * y + view.along.slope[2] * x);
      }
    } else {
      auto left = Model::make_edge(view, kBeam, y, Number(x_first) - half);
      for (int i = 0; i < n; ++i) {
        const Number x(x_first + static_cast<T>(i));
        const auto right = Model::make_edge(view, kBeam, y, x + half);
        run.columns[i] = Model::make_column(scan, view, kBeam, y, x, left, right);
        run.edges[i] = run.columns[i].edge;
        left = right;
      }
    }
  }

  template <Beam kBeam, bool kImages>
  JAXCT_HD static void finish(const Scan& scan, const Run& run, int i, Number low, Number high, Footprints<T>& out) {
    Column column = column_in<kBeam>(run, i);
    const Integer first = run.firsts[i];
    const Number shift = shift_in<kBeam>(run, i);
    Number weights[kTaps];
    column.column.weights(Number(first) - shift, weights);
    for (Number& weight : weights) weight = column.scale * weight;
    store(first, out.first);
    store_transposed(weights, out.weights[0]);
    if (kImages) return;
    const Integer end = ceil_index(clamp(column.column.end() + shift, low, high));
    store(clamp(end - first, Integer(0), Integer(kTaps)), out.count);
    column.edge = run.edges[i];
    column = upwards(scan, column);
    store(column.edge, out.edge);
    store(column.slope, out.slope);
    using Row = typename Model::template Row<Number>;
    const Number none(T(0)), rows(scan.rows), slack(T(1e-3)),
        row_begin = column.edge + Row::support_begin(column.slope);
    const Number row_end = row_begin + column.slope * Number(scan.nz - 1) + Row::support_width(column.slope);
    store(floor_index(clamp(row_begin - slack, none, rows)), out.row_begin);
    store(ceil_index(clamp(row_end + slack, none, rows)), out.row_end);
  }

  const Scan* scan_;
  View<Number> view_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
