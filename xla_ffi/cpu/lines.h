#pragma once
// What is done to lines: the slices of a voxel column, the rows of a detector column, or one pixel of each image of a
// batch. A line in memory is as long as line_length says, zero beyond its end, with at least as many zeros in front.
#include "cpu/lanes.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// Zeros between lines: what the lookups of a window reach beyond an end, and at least a register.
constexpr int kGap = 8;

template <typename T>
int64_t line_length(int64_t entries) {
  return tiles(entries, kLanes<T>) * kLanes<T> + kGap;
}

// Zeroed lines. Reading a window that begins within one is allowed.
template <typename T>
class Lines {
 public:
  Lines(int64_t count, int64_t entries)
      : length_(line_length<T>(entries)), memory_(count * length_ + kGap + 2 * kWindow<T>) {}

  explicit operator bool() const { return static_cast<bool>(memory_); }
  T* operator[](int64_t line) const { return memory_.get() + kGap + line * length_; }
  int64_t length() const { return length_; }

 private:
  int64_t length_;
  Scratch<T> memory_;
};

// A line for each of `count` numbers of a lane.
template <typename T>
void load_lines(const Executor& executor, const T* in, int64_t count, int64_t lanes, int64_t lane_stride,
                const Lines<T>& lines) {
  constexpr int64_t kRun = 512;
  parallel_for(executor, tiles(count, kRun), [&](int64_t run) {
    for (int64_t lane = 0; lane < lanes; ++lane)
      for (int64_t i = run * kRun; i < min_of(count, (run + 1) * kRun); ++i)
        lines[i][lane] = in[lane * lane_stride + i];
  });
}

// From a line for each column of a tile, row by row.
template <typename T>
void store_tile(const Lines<T>& lines, const Scan& scan, const Rectangle& r, int64_t lanes, int64_t lane_stride,
                bool add, T* out) {
  for (int64_t lane = 0; lane < lanes; ++lane)
    for (int64_t y = r.y_begin; y < r.y_end; ++y)
      for (int64_t x = r.x_begin; x < r.x_end; ++x) {
        const T value = lines[(y - r.y_begin) * r.width() + x - r.x_begin][lane];
        T& to = out[lane * lane_stride + y * scan.nx + x];
        to = add ? to + value : value;
      }
}

// Weights of a column's pixels, the same for all of a line. Passed by value, like all that the loops below read: what
// is in memory would be read again after every store.
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

// Entries begin to end of lines, and beyond to fill a register: to[k] += weight[k] * from.
template <typename T, int n>
JAXCT_HD void scatter_line(Taps<T, n> taps, const T* from, int64_t begin, int64_t end, T* to, int64_t length) {
  for (int64_t i = begin; i < end; i += kLanes<T>) taps.scatter(load_lanes(from + i), to + i, length);
}

// to = sum_k weight[k] * from[k]
template <typename T, int n>
JAXCT_HD void gather_line(Taps<T, n> taps, const T* from, int64_t length, int64_t begin, int64_t end, T* to) {
  for (int64_t i = begin; i < end; i += kLanes<T>) store(taps.gather(from + i, length), to + i);
}

// to += sum_k weight[k] * from[k]
template <typename T, int n>
JAXCT_HD void add_line(Taps<T, n> taps, const T* from, int64_t length, int64_t begin, int64_t end, T* to) {
  for (int64_t i = begin; i < end; i += kLanes<T>) store(load_lanes(to + i) + taps.gather(from + i, length), to + i);
}

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

// emit(i, values) for i from range.begin in steps of a register up to and perhaps beyond range.end, where
// values[i] = sum_j weight(i, j) from[j], entry i of a line having its support begin at begin + slope * i in the other.
// For slopes up to 2. `from`, a line or several at once, is zero in the three places before lowest + 3 and in those
// from highest on.
template <typename Row, int kTaps, typename T, typename Line, typename Emit>
JAXCT_HD void resample(T begin, T slope, Line from, int32_t lowest, int32_t highest, IndexRange range, Emit&& emit) {
  using Number = Lanes<T>;
  using Integer = Index<Number>;
  using Shape = typename Row::template Of<Number>;
  const Number low(lowest), high(highest), step(slope), start(begin);
  for (int32_t i = range.begin; i < range.end; i += kLanes<T>) {
    const Number at(lane_numbers<T>() + i);
    const Number lower = start + step * at, upper = start + step * (at + Number(T(1)));
    const Integer first = floor_index(clamp(lower, low, high));
    const int32_t base = first[0];
    const Integer index = first - Integer(base);
    Number weights[kTaps];
    Shape::split(lower, upper, Number(first), weights);
    auto value = look_up(from + base, index) * weights[0];
    for (int tap = 1; tap < kTaps; ++tap) value = value + look_up(from + base + tap, index) * weights[tap];
    emit(i, value);
  }
}

// emit(r, values) for rows r, r + 1, ... of a column from range.begin on, up to and perhaps beyond range.end, where
// values[r] = sum_z weight(z, r) slices[z].
template <typename Model, typename T, typename Line, typename Emit>
JAXCT_HD void spread(T edge, T slope, Line slices, int32_t num_slices, IndexRange range, Emit&& emit) {
  using Row = typename Model::template Row<T>;
  using Number = Lanes<T>;
  using Integer = Index<Number>;
  const T inverse = T(1) / slope;
  if constexpr (Row::kSymmetric) {
    // A pixel covers slices as a voxel covers rows.
    const auto scaled = [&](int32_t row, auto value) { emit(row, value * Number(slope)); };
    if (inverse <= T(1)) return resample<Row, 2>(-edge * inverse, inverse, slices, -3, num_slices, range, scaled);
    if (inverse <= T(2)) return resample<Row, 3>(-edge * inverse, inverse, slices, -3, num_slices, range, scaled);
  }
  const T slack = T(1e-3);
  const T back = Row::support_begin(slope) + Row::support_width(slope);
  const T top = static_cast<T>(num_slices);
  const int32_t taps =
      floor_index(clamp((Row::support_width(slope) + T(1)) * inverse + T(2) * slack, T(0), top + T(1))) + 1;
  for (int32_t r = range.begin; r < range.end; r += kLanes<T>) {
    const Integer row = lane_numbers<T>() + r;
    const Number lowest = (Number(row) - Number(back + edge)) * Number(inverse) - Number(slack);
    const Integer z = floor_index(clamp(lowest, Number(T(-2)), Number(top))) + 1;
    const auto part = [&](int32_t tap) {
      return gather(slices, min_of(z + tap, Integer(num_slices))) *
             Model::row_weight(Number(edge), Number(slope), z + tap, row);
    };
    auto value = part(0);
    for (int32_t tap = 1; tap < taps; ++tap) value = value + part(tap);
    emit(r, value);
  }
}

// slices[z] += sum_r weight(z, r) rows[r]. `rows` holds the rows of the range, with three zeros before and after;
// slices have no other rows, except beyond the detector's num_rows.
template <typename Model, typename T>
JAXCT_HD void collect(T edge, T slope, const T* rows, IndexRange range, int32_t num_rows, int32_t num_slices,
                      T* slices) {
  using Row = typename Model::template Row<T>;
  using Number = Lanes<T>;
  using Integer = Index<Number>;
  const T begin = edge + Row::support_begin(slope);
  IndexRange z_range = {0, num_slices};
  if (range.begin == 0 || range.end == num_rows) {
    // Slices beyond the detector.
    const T inverse = T(1) / slope, slack = T(1e-2);
    z_range = index_range((static_cast<T>(range.begin) - begin - Row::support_width(slope)) * inverse - slack,
                          (static_cast<T>(range.end) - begin) * inverse + T(1) + slack, num_slices);
    z_range.begin -= z_range.begin % kLanes<T>;
  }
  const auto add = [&](int32_t z, Number value) { store(load_lanes(slices + z) + value, slices + z); };
  const int32_t lowest = range.begin - 3, highest = range.end;
  if (slope <= (Row::kSymmetric ? T(1) : T(2)))
    return resample<Row, 2>(begin, slope, rows, lowest, highest, z_range, add);
  if constexpr (Row::kSymmetric)
    if (slope <= T(2)) return resample<Row, 3>(begin, slope, rows, lowest, highest, z_range, add);
  const int32_t taps = Row::taps(min_of(slope, static_cast<T>(highest - lowest)));
  for (int32_t first = z_range.begin; first < z_range.end; first += kLanes<T>) {
    const Integer z = lane_numbers<T>() + first;
    const Integer row = floor_index(clamp(Number(begin) + Number(slope) * Number(z), Number(lowest), Number(highest)));
    Number value(T(0));
    for (int32_t tap = 0; tap < taps; ++tap)
      value = value + Model::row_weight(Number(edge), Number(slope), z, row + tap) *
                          gather(rows, min_of(row + tap, Integer(highest)));
    add(first, value);
  }
}

// What `collect` wants about the rows of a range.
template <typename T>
JAXCT_HD void clear_around(IndexRange range, T* rows) {
  for (int k = 0; k < 3; ++k) rows[range.begin - 3 + k] = rows[range.end + k] = T(0);
}

}  // namespace loops
JAXCT_NAMESPACE_END
