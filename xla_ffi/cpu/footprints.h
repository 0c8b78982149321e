#pragma once
// The detector columns and weights of a voxel column, in as many views at a time as a register holds.
#include "core/separable.h"
#include "cpu/lanes.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

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
  template <Beam kBeam, bool kImages>
  bool compute_all(const Rectangle& r, IndexRange band, int32_t group, Footprints<T>* out) const {
    const Scan scan = *scan_;
    const View<Number> view = view_;
    const Number zero(T(0)), half(T(0.5));
    const auto middle = Model::make_column(scan, view, kBeam, zero, zero);
    bool more = false;
    for (int64_t y = r.y_begin; y < r.y_end; ++y) {
      const Number row(relative<T>(y, scan.ny));
      auto left = Model::make_edge(view, kBeam, row, Number(relative<T>(r.x_begin, scan.nx) - T(0.5)));
      for (int64_t i = r.x_begin; i < r.x_end; ++i) {
        const Number x(relative<T>(i, scan.nx));
        if constexpr (kBeam == Beam::kParallel) {
          // All columns are alike, but for where they are.
          auto column = middle;
          column.edge = column.edge + (view.along.slope[1] * row + view.along.slope[2] * x);
          const Number shift = view.across.slope[1] * row + view.across.slope[2] * x;
          more |= finish<kImages>(scan, column, shift, band, group, *out++);
        } else {
          const auto right = Model::make_edge(view, kBeam, row, x + half);
          const auto column = Model::make_column(scan, view, kBeam, row, x, left, right);
          more |= finish<kImages>(scan, column, zero, band, group, *out++);
          left = right;
        }
      }
    }
    return more;
  }

  // The column's detector columns are moved by `shift`.
  template <bool kImages, typename Column>
  JAXCT_HD static bool finish(const Scan& scan, const Column& column, Number shift, IndexRange band, int32_t group,
                              Footprints<T>& out) {
    constexpr int kTaps = Footprints<T>::kTaps;
    using Integer = Index<Number>;
    const Number low(band.begin), high(band.end);
    Integer first = floor_index(clamp(column.column.begin() + shift, low, high));
    if (group > 0) first = min_of(first + group * kTaps, Integer(band.end));
    Number weights[kTaps];
    const bool more = column.column.weights(Number(first) - shift, weights);
    for (Number& weight : weights) weight = column.scale * weight;
    store(first, out.first);
    store_transposed(weights, out.weights[0]);
    if (!kImages) {
      const auto upward = upwards(scan, column);
      const Integer end = ceil_index(clamp(column.column.end() + shift, low, high));
      store(clamp(end - first, Integer(0), Integer(kTaps)), out.count);
      store(upward.edge, out.edge);
      store(upward.slope, out.slope);
    }
    // Beyond the band there is nothing to come.
    return more && any_of(first + kTaps < Integer(band.end));
  }

  const Scan* scan_;
  View<Number> view_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
