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
  T weights[kTaps][kLanes<T>];
};

// A run of views that are treated together, packed.
template <typename Model, typename T>
class ViewBlock {
 public:
  using Number = Lanes<T>;

  ViewBlock(const Scan& scan, const View<T>* views, int n) : scan_(&scan), view_(PackViews<T>(views, n)()) {}

  // The footprints of the columns of a rectangle, row by row, as far as they lie in `band`: pixels 4 * group to
  // 4 * group + 3 of each. `first` is at most band.end, so that all four can be addressed in an array of as many more
  // columns. True if some footprint has more pixels than that.
  bool compute(const Rectangle& r, IndexRange band, int32_t group, Footprints<T>* out) const {
    switch (view_.beam) {
      case Beam::kParallel:
        return compute_all<Beam::kParallel>(r, band, group, out);
      case Beam::kCone:
        return compute_all<Beam::kCone>(r, band, group, out);
      case Beam::kCurvedCone:
        break;
    }
    return compute_all<Beam::kCurvedCone>(r, band, group, out);
  }

 private:
  template <Beam kBeam>
  bool compute_all(const Rectangle& r, IndexRange band, int32_t group, Footprints<T>* out) const {
    const Scan scan = *scan_;
    const View<Number> view = view_;
    bool more = false;
    for (int64_t y = r.y_begin; y < r.y_end; ++y)
      for (int64_t x = r.x_begin; x < r.x_end; ++x)
        more |= compute_one(scan, view, kBeam, relative<T>(y, scan.ny), relative<T>(x, scan.nx), band, group, *out++);
    return more;
  }

  JAXCT_HD static bool compute_one(const Scan& scan, const View<Number>& view, Beam beam, T y, T x, IndexRange band,
                                   int32_t group, Footprints<T>& out) {
    constexpr int kTaps = Footprints<T>::kTaps;
    using Integer = Index<Number>;
    const auto column = make_upward_column<Model>(scan, view, beam, Number(y), Number(x));
    const auto range = column.column.range(static_cast<int32_t>(scan.cols));
    const Integer begin = max_of(range.begin, Integer(band.begin)), end = min_of(range.end, Integer(band.end));
    const Integer first = min_of(begin + group * kTaps, Integer(band.end));
    const Integer count = max_of(end - first, Integer(0));
    Number weights[kTaps];
    column.column.template weights<kTaps>(first, weights);
    store(first, out.first);
    store(min_of(count, Integer(kTaps)), out.count);
    store(column.edge, out.edge);
    store(column.slope, out.slope);
    for (int k = 0; k < kTaps; ++k) store(column.scale * weights[k], out.weights[k]);
    return any_of(Integer(kTaps) < count);
  }

  const Scan* scan_;
  View<Number> view_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
