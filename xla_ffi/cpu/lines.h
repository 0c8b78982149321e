#pragma once
// What is done to lines: the slices of a voxel column, the rows of a detector column, or one pixel of each image of a
// batch. A line in memory is as long as line_length says, zero beyond its end, with at least as many zeros in front.
#include "cpu/lanes.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// Zeros between lines: what the lookups of a window reach beyond an end, and whole registers.
template <typename T>
constexpr int kGap = kLanes<T> > 8 ? kLanes<T> : 8;

template <typename T>
int64_t line_length(int64_t entries) {
  return tiles(entries, kLanes<T>) * kLanes<T> + kGap<T>;
}

// Zeroed lines. Reading a window that begins within one is allowed.
template <typename T>
class Lines {
 public:
  Lines(int64_t count, int64_t entries)
      : length_(line_length<T>(entries)), memory_(count * length_ + kGap<T> + 2 * kWindow<T>) {}

  explicit operator bool() const { return static_cast<bool>(memory_); }
  T* operator[](int64_t line) const { return memory_.get() + kGap<T> + line * length_; }
  int64_t length() const { return length_; }

 private:
  int64_t length_;
  Scratch<T> memory_;
};

// Weights of a column's pixels, the same for all of a line.
template <typename T, int n>
struct Taps {
  Lanes<T> weight[n];

  JAXCT_HD explicit Taps(const T* weights) {
    for (int k = 0; k < n; ++k) weight[k] = Lanes<T>(weights[k]);
  }

  // to[k] += weight[k] * value, for n lines of this length
  JAXCT_HD void scatter(Lanes<T> value, T* to, int64_t length) const {
    for (int k = 0; k < n; ++k) store(load_lanes(to + k * length) + weight[k] * value, to + k * length);
  }

  // sum_k weight[k] * from[k]
  JAXCT_HD Lanes<T> gather(const T* from, int64_t length) const {
    Lanes<T> sum = weight[0] * load_lanes(from);
    for (int k = 1; k < n; ++k) sum = sum + weight[k] * load_lanes(from + k * length);
    return sum;
  }
};

// f(Taps) for a count that is known at run time: loops over a line then have no inner one.
template <typename T, typename F>
JAXCT_HD void with_taps(const T* weights, int32_t count, F&& f) {
  switch (count) {
    case 1:
      return f(Taps<T, 1>(weights));
    case 2:
      return f(Taps<T, 2>(weights));
    case 3:
      return f(Taps<T, 3>(weights));
    case 4:
      return f(Taps<T, 4>(weights));
    default:
      return;
  }
}

template <typename Row, typename T>
IndexRange touched_rows(T edge, T slope, int64_t slices, int64_t rows) {
  const T begin = edge + Row::support_begin(slope);
  const T end = begin + slope * static_cast<T>(slices - 1) + Row::support_width(slope);
  return index_range(begin - T(1e-3), end + T(1e-3), static_cast<int32_t>(rows));
}

// emit(r, values) for rows r, r + 1, ... of a column from range.begin on, up to and perhaps beyond range.end, where
// values[r] = sum_z weight(z, r) slices[z].
template <typename Model, typename T, typename Emit>
JAXCT_HD void spread(T edge, T slope, const T* slices, int32_t num_slices, IndexRange range, Emit&& emit) {
  using Row = typename Model::template Row<T>;
  using Number = Lanes<T>;
  using Integer = Index<Number>;
  const T inverse = T(1) / slope;
  const T slack = T(1e-3);
  const T back = Row::support_begin(slope) + Row::support_width(slope);
  const T top = static_cast<T>(num_slices);
  const int32_t taps =
      floor_index(clamp((Row::support_width(slope) + T(1)) * inverse + T(2) * slack, T(0), top + T(1))) + 1;
  const bool windowed = inverse <= T(2);
  for (int32_t r = range.begin; r < range.end; r += kLanes<T>) {
    const Integer row = lane_numbers<T>() + r;
    const Number lowest = (Number(row) - Number(back + edge)) * Number(inverse) - Number(slack);
    const Integer z = floor_index(clamp(lowest, Number(T(-2)), Number(top))) + 1;
    const int32_t base = z[0];
    Number value(T(0));
    for (int32_t tap = 0; tap < taps; ++tap) {
      const Number weight = Model::row_weight(Number(edge), Number(slope), z + tap, row);
      const Number slice = windowed ? look_up(slices + base + tap, z - Integer(base))
                                    : gather(slices, min_of(z + tap, Integer(num_slices)));
      value = value + weight * slice;
    }
    emit(r, value);
  }
}

// slices[z] += sum_r weight(z, r) rows[r]. `rows` holds the rows of the range, and zeros or rows of no weight around.
template <typename Model, typename T>
JAXCT_HD void collect(T edge, T slope, const T* rows, IndexRange range, int32_t num_slices, T* slices) {
  using Row = typename Model::template Row<T>;
  using Number = Lanes<T>;
  using Integer = Index<Number>;
  const T begin = edge + Row::support_begin(slope);
  const T inverse = T(1) / slope;
  const T slack = T(1e-2);
  const IndexRange z_range =
      index_range((static_cast<T>(range.begin) - begin - Row::support_width(slope)) * inverse - slack,
                  (static_cast<T>(range.end) - begin) * inverse + T(1) + slack, num_slices);
  const T lowest = static_cast<T>(range.begin - 1), highest = static_cast<T>(range.end);
  const int32_t taps = Row::taps(min_of(slope, highest - lowest));
  const bool windowed = slope <= T(2);
  for (int32_t first = z_range.begin - z_range.begin % kLanes<T>; first < z_range.end; first += kLanes<T>) {
    const Integer z = lane_numbers<T>() + first;
    const Integer row = floor_index(clamp(Number(begin) + Number(slope) * Number(z), Number(lowest), Number(highest)));
    const int32_t base = row[0];
    Number value = load_lanes(slices + first);
    for (int32_t tap = 0; tap < taps; ++tap) {
      const Number weight = Model::row_weight(Number(edge), Number(slope), z, row + tap);
      const Number at = windowed ? look_up(rows + base + tap, row - Integer(base))
                                 : gather(rows, min_of(row + tap, Integer(range.end)));
      value = value + weight * at;
    }
    store(value, slices + first);
  }
}

}  // namespace loops
JAXCT_NAMESPACE_END
