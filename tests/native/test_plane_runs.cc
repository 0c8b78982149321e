// The planes of sinograms that are the same but for whole voxels.
#include <utility>
#include <vector>

#include "check.h"
#include "cpu/plane_runs.h"

namespace {

using namespace jaxct::cpu;

struct Planes {
  std::vector<double> numbers;  // height and slope of each

  void add(double height, double slope) { numbers.insert(numbers.end(), {height, slope}); }
  int64_t count() const { return static_cast<int64_t>(numbers.size() / 2); }
};

struct Found {
  int32_t spacing;
  std::vector<int32_t> order;
  std::vector<PlaneRun> runs;
};

// With what holds for any planes: each is in one run, and where the run says it is.
Found find(const Planes& planes) {
  constexpr double kTolerance = 1e-6;
  const auto size = static_cast<size_t>(planes.count());
  Found found = {0, std::vector<int32_t>(size), std::vector<PlaneRun>(size)};
  const PlaneRuns result =
      find_plane_runs(planes.numbers.data(), planes.count(), kTolerance, found.order.data(), found.runs.data());
  found.spacing = result.spacing;
  found.runs.resize(static_cast<size_t>(result.count));
  std::vector<int> times(size, 0);
  int32_t next = 0;
  for (const PlaneRun& run : found.runs) {
    CHECK(run.first == next && run.count > 0);
    next += run.count;
    for (int32_t i = run.first; i < run.first + run.count; ++i) {
      const auto row = static_cast<size_t>(found.order[static_cast<size_t>(i)]);
      ++times[row];
      if (i == run.first) continue;
      const auto before = static_cast<size_t>(found.order[static_cast<size_t>(i - 1)]);
      CHECK_NEAR(planes.numbers[2 * row] - planes.numbers[2 * before], found.spacing, 2 * kTolerance);
      CHECK_NEAR(planes.numbers[2 * row + 1], planes.numbers[2 * before + 1], 2 * kTolerance);
    }
  }
  CHECK(next == planes.count());
  for (const int n : times) CHECK(n == 1);
  return found;
}

}  // namespace

TEST(planes_of_all_pairs_of_rings_make_a_run_for_each_ring_difference) {
  // Rings two voxels apart.
  Planes planes;
  constexpr int kRings = 6;
  for (int a = 0; a < kRings; ++a)
    for (int b = 0; b < kRings; ++b) planes.add(a + b, 0.01 * (b - a));
  const Found found = find(planes);
  CHECK(found.spacing == 2);
  CHECK(found.runs.size() == 2 * kRings - 1);
}

TEST(planes_that_are_a_voxel_apart_are_one_run_whatever_their_order) {
  Planes planes;
  for (int height = 10; height >= 0; --height) planes.add(height + 0.25, 0.0);
  const Found found = find(planes);
  CHECK(found.spacing == 1);
  CHECK(found.runs.size() == 1);
  CHECK(found.order.front() == 10 && found.order.back() == 0);
}

TEST(planes_with_nothing_in_common_are_runs_of_one) {
  Planes planes;
  for (int i = 0; i < 7; ++i) planes.add(i * 1.37, 0.003 * i * i);
  CHECK(find(planes).runs.size() == 7);
  CHECK(find({}).runs.empty());
}

TEST(planes_whose_numbers_differ_by_rounding_are_alike_and_a_gap_ends_a_run) {
  Planes planes;
  for (const int height : {0, 1, 2, 4, 5}) planes.add(height + 1e-8 * (height % 2), 0.02 - 1e-9 * height);
  const Found found = find(planes);
  CHECK(found.spacing == 1);
  CHECK(found.runs.size() == 2);
  CHECK(found.runs[0].count == 3 && found.runs[1].count == 2);
}
