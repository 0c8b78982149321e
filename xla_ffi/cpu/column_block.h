#pragma once
// The detector columns and weights of a run of voxel columns along x. They are computed together, eight or so at a time
// in vector registers, because in 2-D there is more work in the weights than in their use.
#include "core/separable.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename Model, typename T>
class ColumnBlock {
 public:
  static constexpr int32_t kWidth = 32;

  explicit ColumnBlock(const Scan& scan) : scan_(scan), weights_((scan.cols + kTaps) * kWidth) {}

  explicit operator bool() const { return static_cast<bool>(weights_); }

  // Voxel columns (y, x_begin ... x_begin + n), n <= kWidth, and only the detector columns of a band.
  void compute(const View<T>& view, int64_t y, int64_t x_begin, int32_t n, IndexRange band) {
    // Parallel and flat cone beams share their formulas.
    if (view.beam == Beam::kCurvedCone)
      compute_run(view, Beam::kCurvedCone, y, x_begin, n, band);
    else
      compute_run(view, Beam::kCone, y, x_begin, n, band);
  }

  int32_t first(int32_t i) const { return first_[i]; }
  int32_t count(int32_t i) const { return count_[i]; }
  T edge(int32_t i) const { return edge_[i]; }
  T slope(int32_t i) const { return slope_[i]; }
  T weight(int32_t i, int32_t tap) const { return weights_.get()[tap * kWidth + i]; }

 private:
  static constexpr int32_t kTaps = 4;

  JAXCT_HD void compute_run(const View<T>& view, Beam beam, int64_t y, int64_t x_begin, int32_t n, IndexRange band) {
    const T row = relative<T>(y, scan_.ny), x = relative<T>(x_begin, scan_.nx);
    const Scan scan = scan_;
    const auto cols = static_cast<int32_t>(scan.cols);
    // Stores to local arrays cannot touch what the loop reads, so the compiler may keep that in registers.
    int32_t first[kWidth], count[kWidth];
    T edge[kWidth], slope[kWidth];
#pragma omp simd
    for (int32_t i = 0; i < n; ++i) {
      const auto column = make_upward_column<Model>(scan, view, beam, row, x + static_cast<T>(i));
      const IndexRange range = column.column.range(cols);
      const int32_t begin = max_of(range.begin, band.begin);
      first[i] = begin;
      count[i] = max_of(0, min_of(range.end, band.end) - begin);
      edge[i] = column.edge;
      slope[i] = column.slope;
    }
    std::memcpy(first_, first, sizeof first);
    std::memcpy(count_, count, sizeof count);
    std::memcpy(edge_, edge, sizeof edge);
    std::memcpy(slope_, slope, sizeof slope);
    int32_t most = 0;
    for (int32_t i = 0; i < n; ++i) most = max_of(most, count_[i]);
    for (int32_t tap = 0; tap < most; tap += kTaps) compute_weights(view, beam, row, x, n, tap);
  }

  JAXCT_HD void compute_weights(const View<T>& view, Beam beam, T row, T x, int32_t n, int32_t tap) {
    const Scan scan = scan_;
    int32_t first[kWidth];
    T weights[kTaps * kWidth];
    std::memcpy(first, first_, sizeof first);
#pragma omp simd
    for (int32_t i = 0; i < n; ++i) {
      const auto column = make_upward_column<Model>(scan, view, beam, row, x + static_cast<T>(i));
      const int32_t c = first[i] + tap;
      weights[i] = column.scale * column.column.weight(c);
      weights[kWidth + i] = column.scale * column.column.weight(c + 1);
      weights[2 * kWidth + i] = column.scale * column.column.weight(c + 2);
      weights[3 * kWidth + i] = column.scale * column.column.weight(c + 3);
    }
    std::memcpy(weights_.get() + tap * kWidth, weights, sizeof weights);
  }

  const Scan& scan_;
  int32_t first_[kWidth], count_[kWidth];
  T edge_[kWidth], slope_[kWidth];
  Scratch<T> weights_;  // [tap][column]
};

}  // namespace loops
JAXCT_NAMESPACE_END
