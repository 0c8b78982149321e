// Several numbers at once behave as each of them alone; lines are spread and collected by the same weights.
#include "check.h"
#include "core/models.h"
#include "cpu/lines.h"
#include "random.h"

namespace {

using check::Random;
using namespace jaxct;

template <typename T>
Lanes<T> random_lanes(Random& random, double lo, double hi) {
  Lanes<T> x;
  for (int lane = 0; lane < kLanes<T>; ++lane) x.v[lane] = static_cast<T>(random.uniform(lo, hi));
  return x;
}

template <typename T>
void check_scalars(double angle_tolerance) {
  Random random(1);
  const Lanes<T> bad(std::numeric_limits<T>::quiet_NaN()), lo(T(-2)), hi(T(3));
  for (int i = 0; i < 500; ++i) {
    const Lanes<T> x = random_lanes<T>(random, -9.0, 9.0), y = random_lanes<T>(random, 0.01, 3.0);
    const LaneIndices<T> floors = floor_index(x);
    const Lanes<T> angles = angle_of(x, y), clamped = clamp(x, lo, hi), sizes = abs_of(x);
    for (int lane = 0; lane < kLanes<T>; ++lane) {
      CHECK(floors[lane] == floor_index(x[lane]));
      CHECK(clamped[lane] == clamp(x[lane], lo[lane], hi[lane]));
      CHECK(sizes[lane] == std::abs(x[lane]));
      CHECK_NEAR(angles[lane], std::atan2(x[lane], y[lane]), angle_tolerance);
    }
  }
  CHECK(clamp(bad, lo, hi)[0] == T(-2));
  CHECK(any_of(lo < hi) && !any_of(hi < lo));
}

template <typename T>
void check_tables() {
  T table[kWindow<T>], sums[kWindow<T> + 1] = {};
  for (int i = 0; i < kWindow<T>; ++i) table[i] = static_cast<T>(10 + i);
  const LaneIndices<T> every_other = lane_numbers<T>() * 2;
  const Lanes<T> here(T(1)), next(T(100)), found = look_up(table, every_other);
  add_pairs(here, next, every_other, sums);
  Lanes<T> first, second;
  load_pairs(table, every_other, first, second);
  Lanes<T> rows[4];
  for (int k = 0; k < 4; ++k) rows[k] = Lanes<T>(T(k)) + Lanes<T>(lane_numbers<T>() * 10);
  T transposed[4 * kLanes<T>];
  store_transposed(rows, transposed);
  const T* quads[kLanes<T>];
  for (int lane = 0; lane < kLanes<T>; ++lane) quads[lane] = transposed + 4 * lane;
  Lanes<T> back[4];
  load_transposed(quads, back);
  Lanes<T> square[kLanes<T>];
  for (int i = 0; i < kLanes<T>; ++i) square[i] = Lanes<T>(lane_numbers<T>() + 100 * i);
  const Lanes<T> totals = sum_lanes(square);
  for (int lane = 0; lane < kLanes<T>; ++lane) {
    CHECK(found[lane] == table[2 * lane]);
    CHECK(first[lane] == table[2 * lane] && second[lane] == table[2 * lane + 1]);
    CHECK(totals[lane] == sum_lanes(square[lane]));
    CHECK(sums[2 * lane] == T(1) && sums[2 * lane + 1] == T(100));
    for (int k = 0; k < 4; ++k) {
      CHECK(transposed[4 * lane + k] == static_cast<T>(10 * lane + k));
      CHECK(back[k][lane] == rows[k][lane]);
    }
  }
}

// <spread(x), y> = <x, collect(y)>, and no value is lost between.
template <typename Model, typename T>
void check_lines(T slope, T edge, double tolerance) {
  constexpr int32_t kSlices = 21, kRows = 37;
  Random random(7);
  const loops::Lines<T> slices(2, kSlices), rows(2, kRows);
  for (int32_t z = 0; z < kSlices; ++z) slices[0][z] = static_cast<T>(random.uniform(-1.0, 1.0));
  for (int32_t r = 0; r < kRows; ++r) rows[0][r] = static_cast<T>(random.uniform(-1.0, 1.0));
  loops::spread<Model>(edge, slope, slices[0], kSlices, {0, kRows},
                       [&](int32_t row, Lanes<T> value) { store(value, rows[1] + row); });
  loops::collect<Model>(edge, slope, rows[0], {0, kRows}, kRows, kSlices, slices[1]);
  double forward = 0.0, back = 0.0;
  for (int32_t r = 0; r < kRows; ++r) {
    double wanted = 0.0;
    for (int32_t z = 0; z < kSlices; ++z)
      wanted += static_cast<double>(Model::row_weight(edge, slope, z, r)) * static_cast<double>(slices[0][z]);
    CHECK_NEAR(rows[1][r], wanted, tolerance);
    forward += static_cast<double>(rows[1][r]) * static_cast<double>(rows[0][r]);
  }
  for (int32_t z = 0; z < kSlices; ++z) back += static_cast<double>(slices[0][z]) * static_cast<double>(slices[1][z]);
  CHECK_NEAR(forward, back, 30.0 * tolerance);
}

template <typename Model, typename T>
void check_slopes(double tolerance) {
  for (const double slope : {0.05, 0.3, 0.5, 0.999, 1.0, 1.001, 1.7, 1.999, 2.0, 2.001, 3.3, 9.0})
    for (const double edge : {-30.0, -2.5, 0.0, 0.25, 11.0, 36.9, 50.0})
      check_lines<Model, T>(static_cast<T>(slope), static_cast<T>(edge), tolerance);
}

}  // namespace

TEST(lanes_are_several_numbers) {
  check_scalars<float>(5e-7);
  check_scalars<double>(1e-15);
}

TEST(lanes_look_up_and_add) {
  check_tables<float>();
  check_tables<double>();
}

TEST(lines_are_spread_and_collected_by_the_same_weights) {
  check_slopes<SeparableFootprint, float>(1e-4);
  check_slopes<SeparableFootprint, double>(1e-12);
  check_slopes<VoxelDriven, float>(1e-4);
  check_slopes<VoxelDriven, double>(1e-12);
}
