#pragma once
// The detector columns and weights of a voxel column, in as many views at a time as a register holds.
#include "core/separable.h"
#include "cpu/lanes.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// Columns of a tile along either axis, at most.
constexpr int kMaxTile = 8;

// Of one (y, x) column in kLanes views.
template <typename T>
struct Footprints {
  static constexpr int kTaps = 4;

  int32_t first[kLanes<T>], count[kLanes<T>];  // detector columns, `count` of them at most kTaps
  T edge[kLanes<T>], slope[kLanes<T>];         // the rows of slice z begin at edge + slope * z
  T weights[kLanes<T>][kTaps];
};

// A run of views that are treated together, packed.
template <typename Model, typename T>
class ViewBlock {
 public:
  using Number = Lanes<T>;

  ViewBlock(const Scan& scan, const View<T>* views, int n) : scan_(&scan), view_(PackViews<T>(views, n)()) {}

  // The footprints of the columns of a rectangle, row by row, as far as they lie in `band`: pixels 4 * group to
  // 4 * group + 3 of each. `first` is at most band.end, so that all four can be addressed in an array of as many more
  // columns. True if some footprint has more pixels than that. For images all but `first` and `weights` is left out.
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

  // A row of the rectangle in three passes: one footprint after the other would be a chain of operations too long for
  // a processor to find the next one's beginning.
  template <Beam kBeam, bool kImages>
  bool compute_all(const Rectangle& r, IndexRange band, int32_t group, Footprints<T>* out) const {
    const Scan scan = *scan_;
    const View<Number> view = view_;
    const Number zero(T(0)), half(T(0.5)), low(band.begin), high(band.end);
    const auto n = static_cast<int>(r.x_end - r.x_begin);
    const Column middle = Model::make_column(scan, view, kBeam, zero, zero);
    const T x_first = relative<T>(r.x_begin, scan.nx);
    Column columns[kMaxTile];
    Number shifts[kMaxTile];
    Integer firsts[kMaxTile];
    bool more = false;
    for (int64_t y = r.y_begin; y < r.y_end; ++y) {
      const Number row(relative<T>(y, scan.ny));
      if constexpr (kBeam == Beam::kParallel) {
        // All columns are alike, but for where they are.
        for (int i = 0; i < n; ++i) {
          const Number x(x_first + static_cast<T>(i));
          shifts[i] = view.across.slope[1] * row + view.across.slope[2] * x;
          if (!kImages) columns[i].edge = middle.edge + (view.along.slope[1] * row + view.along.slope[2] * x);
        }
      } else {
        auto left = Model::make_edge(view, kBeam, row, Number(x_first) - half);
        for (int i = 0; i < n; ++i) {
          const Number x(x_first + static_cast<T>(i));
          const auto right = Model::make_edge(view, kBeam, row, x + half);
          columns[i] = Model::make_column(scan, view, kBeam, row, x, left, right);
          left = right;
        }
      }
      const auto column = [&](int i) -> const Column& { return kBeam == Beam::kParallel ? middle : columns[i]; };
      const auto shift = [&](int i) { return kBeam == Beam::kParallel ? shifts[i] : zero; };
      for (int i = 0; i < n; ++i) {
        firsts[i] = floor_index(clamp(column(i).column.begin() + shift(i), low, high));
        if (group > 0) firsts[i] = min_of(firsts[i] + group * kTaps, Integer(band.end));
      }
      for (int i = 0; i < n; ++i, ++out) {
        Number weights[kTaps];
        more |= column(i).column.weights(Number(firsts[i]) - shift(i), weights);
        for (Number& weight : weights) weight = column(i).scale * weight;
        store(firsts[i], out->first);
        store_transposed(weights, out->weights[0]);
        if (kImages) continue;
        const Integer end = ceil_index(clamp(column(i).column.end() + shift(i), low, high));
        store(clamp(end - firsts[i], Integer(0), Integer(kTaps)), out->count);
        Column upward = column(i);
        upward.edge = columns[i].edge;
        upward = upwards(scan, upward);
        store(upward.edge, out->edge);
        store(upward.slope, out->slope);
      }
    }
    return more && group * kTaps < band.end - band.begin;
  }

  const Scan* scan_;
  View<Number> view_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
