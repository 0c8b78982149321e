#include "cpu/plane_runs.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace jaxct::cpu {
namespace {

struct Found {
  std::vector<int32_t> order;
  std::vector<PlaneRun> runs;
};

// `sorted` has rows of one slope next to each other, the lowest first.
Found chain(const double* rows, const std::vector<int32_t>& sorted, double spacing, double tolerance) {
  const auto height = [&](size_t i) { return rows[2 * sorted[i]]; };
  const auto slope = [&](size_t i) { return rows[2 * sorted[i] + 1]; };
  Found found;
  std::vector<bool> used(sorted.size(), false);
  for (size_t start = 0; start < sorted.size(); ++start) {
    if (used[start]) continue;
    PlaneRun run = {static_cast<int32_t>(found.order.size()), 0};
    double wanted = height(start);
    for (size_t i = start; i < sorted.size() && std::abs(slope(i) - slope(start)) < tolerance; ++i) {
      if (used[i] || std::abs(height(i) - wanted) >= tolerance) continue;
      used[i] = true;
      found.order.push_back(sorted[i]);
      ++run.count;
      wanted = height(i) + spacing;
    }
    found.runs.push_back(run);
  }
  return found;
}

}  // namespace

PlaneRuns find_plane_runs(const double* rows, int64_t count, double tolerance, int32_t* order, PlaneRun* runs) {
  constexpr int32_t kMaxSpacing = 8;
  std::vector<int32_t> sorted(static_cast<size_t>(count));
  std::iota(sorted.begin(), sorted.end(), 0);
  // Slopes that differ by rounding are one: whole multiples of twice the tolerance.
  const auto group = [&](int32_t row) { return std::round(rows[2 * row + 1] / (2.0 * tolerance)); };
  std::stable_sort(sorted.begin(), sorted.end(), [&](int32_t a, int32_t b) {
    return group(a) != group(b) ? group(a) < group(b) : rows[2 * a] < rows[2 * b];
  });
  Found best;
  int32_t best_spacing = 0;
  for (int32_t spacing = 1; spacing <= kMaxSpacing; ++spacing) {
    Found found = chain(rows, sorted, spacing, tolerance);
    if (best_spacing != 0 && found.runs.size() >= best.runs.size()) continue;
    best = std::move(found);
    best_spacing = spacing;
  }
  std::copy(best.order.begin(), best.order.end(), order);
  std::copy(best.runs.begin(), best.runs.end(), runs);
  return {static_cast<int32_t>(best.runs.size()), best_spacing};
}

}  // namespace jaxct::cpu
