#pragma once
// Lines of response one by one, whatever the model and the number. Forward: a task owns a run of tubes. Back: it owns a
// run of them and a volume of its own, and these volumes are added in order: how many there are does not depend on the
// threads, so that a voxel's sum is the same whoever computes it.
#include <atomic>

#include "cpu/lor_problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename T>
bool all_zero(const T* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (values[i] != T(0)) return false;
  return true;
}

template <typename Model, typename T, typename Number>
Status forward_tubes(const LorProblem<T, Number>& p, const T* in, T* out, const Executor& executor) {
  constexpr int64_t kTubes = 512;
  const auto setup = make_lor_setup<Number>(p);
  const TubeLoops<Model, T, Number> loops(p, setup);
  const int64_t tubes = p.scan.tubes(), values = p.scan.values();
  std::memset(out, 0, sizeof(T) * static_cast<size_t>(p.scan.projections()));
  parallel_for(executor, tiles(tubes, kTubes), [&](int64_t task) {
    for (int64_t i = task * kTubes; i < min_of(tubes, (task + 1) * kTubes); ++i)
      loops.forward_tube(tube_of(p.scan, i), in, out + i * values);
  });
  return Status::kOk;
}

// Adds what `back(range of items, volume)` makes of all items, in so many volumes as there is memory and work for.
template <typename T, typename Back>
Status sum_volumes(int64_t voxels, int64_t items, int64_t least, T* out, const Executor& executor, Back&& back) {
  constexpr int64_t kBytes = int64_t{1} << 30, kParts = 16, kVoxels = 16384;
  const int64_t fit = kBytes / (voxels * static_cast<int64_t>(sizeof(T)));
  const int64_t parts = max_of(int64_t{1}, min_of(kParts, min_of(fit, items / least)));
  const Scratch<T> volumes((parts - 1) * voxels);
  if (!volumes) return Status::kOutOfMemory;
  std::memset(out, 0, sizeof(T) * static_cast<size_t>(voxels));
  parallel_for(executor, parts, [&](int64_t part) {
    back(items * part / parts, items * (part + 1) / parts, part == 0 ? out : volumes.get() + (part - 1) * voxels);
  });
  if (parts == 1) return Status::kOk;
  parallel_for(executor, tiles(voxels, kVoxels), [&](int64_t task) {
    const int64_t begin = task * kVoxels, end = min_of(voxels, begin + kVoxels);
    for (int64_t part = 0; part < parts - 1; ++part) {
      const T* from = volumes.get() + part * voxels;
      for (int64_t i = begin; i < end; ++i) out[i] += from[i];
    }
  });
  return Status::kOk;
}

template <typename Model, typename T, typename Number>
void back_tube(const TubeLoops<Model, T, Number>& loops, int64_t i, const T* values, T* volume) {
  if (all_zero(values, loops.scan().values())) return;
  const Tube tube = tube_of(loops.scan(), i);
  for (int64_t w = 0; w < Model::walks(loops.scan()); ++w)
    loops.back_walk(tube, loops.make_walk(tube, w), values, [&](int64_t at, T x) { volume[at] += x; });
}

template <typename Model, typename T, typename Number>
Status back_tubes(const LorProblem<T, Number>& p, const T* in, T* out, const Executor& executor) {
  constexpr int64_t kLeast = 4096;
  const auto setup = make_lor_setup<Number>(p);
  const TubeLoops<Model, T, Number> loops(p, setup);
  const int64_t values = p.scan.values();
  return sum_volumes(p.scan.voxels(), p.scan.tubes(), kLeast, out, executor,
                     [&](int64_t begin, int64_t end, T* volume) {
                       for (int64_t i = begin; i < end; ++i) back_tube(loops, i, in + i * values, volume);
                     });
}

// The gradient by the numbers of each view (into `by_vectors`) and of the grid.
template <typename Model, typename T>
Status gradient_of_tubes(const LorScan& scan, const T* vectors, const T* grid, const T* volume, const T* projections,
                         T* by_vectors, T* by_grid, const Executor& executor) {
  constexpr int kLines = Model::kLines, N = kDirections<kLines>;
  using Number = Dual<T, Tangents<T, N>>;
  const LorProblem<T, Number> p = {scan, vectors, grid};
  const auto setup = make_lor_setup<Number>(p);
  const TubeLoops<Model, T, Number> loops(p, setup);
  const int64_t tubes_of_view = scan.planes * scan.bins, values = scan.values(), numbers = scan.numbers();
  const int64_t views_of_task = max_of(int64_t{1}, 256 / tubes_of_view), tasks = tiles(scan.views, views_of_task);
  const Scratch<double> sums(tasks * kLorGridNumbers), rows(tasks * numbers);
  if (!sums || !rows) return Status::kOutOfMemory;
  parallel_for(executor, tasks, [&](int64_t task) {
    double* const to_grid = sums.get() + task * kLorGridNumbers;
    double* const row = rows.get() + task * numbers;
    for (int64_t v = task * views_of_task; v < min_of(scan.views, (task + 1) * views_of_task); ++v) {
      std::memset(row, 0, sizeof(double) * static_cast<size_t>(numbers));
      for (int64_t i = v * tubes_of_view; i < (v + 1) * tubes_of_view; ++i) {
        if (all_zero(projections + i * values, values)) continue;
        const Tube tube = tube_of(scan, i);
        for (int64_t w = 0; w < Model::walks(scan); ++w) {
          const auto by = loops.contract_walk(tube, w, volume, projections + i * values).tangent;
          for (int line = 0; line < kLines; ++line) {
            const RayPlaces places = places_of(scan, tube.plane, tube.bin, Model::line(scan, w, line));
            for (int n = 0; n < 6; ++n) {
              const auto part = static_cast<double>(by.v[line * 6 + n]);
              row[places.at[n]] += part;
              to_grid[3 + n % 3] -= part;
            }
          }
          if (scan.kind == Lines::kEvents) row[numbers - 1] += static_cast<double>(by.v[kEventDirection<kLines>]);
          for (int n = 0; n < 3; ++n) {
            to_grid[n] += static_cast<double>(by.v[N - 6 + n]);
            to_grid[6 + n] += static_cast<double>(by.v[N - 3 + n]);
          }
        }
      }
      for (int64_t n = 0; n < numbers; ++n) by_vectors[v * numbers + n] = static_cast<T>(row[n]);
    }
  });
  double total[kLorGridNumbers] = {};
  for (int64_t task = 0; task < tasks; ++task)
    for (int n = 0; n < kLorGridNumbers; ++n) total[n] += sums.get()[task * kLorGridNumbers + n];
  for (int n = 0; n < kLorGridNumbers; ++n) by_grid[n] = static_cast<T>(total[n]);
  return Status::kOk;
}

}  // namespace loops
JAXCT_NAMESPACE_END
