#pragma once
// Lines of response one by one, whatever the model and the number. Forward: a task owns a run of tubes. Back: it owns a
// run of them and a volume of its own, and these volumes are added in order: how many there are does not depend on the
// threads, so that a voxel's sum is the same whoever computes it.
#include <atomic>

#include "cpu/lor_problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// The values of a tube that a slab's share in them: visit(index, factor).
template <typename Number, typename Visit>
void for_values(const LorScan& scan, const TofKernel<Number>& tof, Number event, Number position, Visit&& visit) {
  if (scan.tof_bins == 0)
    visit(0, Number(1));
  else if (scan.kind == Lines::kEvents)
    visit(0, probability(tof, position, event));
  else
    for_bins(tof, position, visit);
}

// What all tubes of a problem share, and each tube's walks.
template <typename Model, typename T, typename Number>
class TubeLoops {
 public:
  using Problem = LorProblem<T, Number>;

  explicit TubeLoops(const Problem& p)
      : p_(p),
        scan_(p.scan),
        grid_(unpack_grid_of(p)),
        tof_(make_tof(Number(grid_.sigma), Number(grid_.bin_width), Number(grid_.offset), scan_.num_sigmas,
                      scan_.tof_bins)),
        box_(whole_grid(scan_)),
        strides_(strides_of(scan_)),
        share_(T(1) / static_cast<T>(Model::walks(scan_))) {}

  // slab(walk, k, position, event) for every slab of every walk of a tube.
  template <typename Slab>
  void for_slabs(const Tube& tube, int64_t walk_number, Slab&& slab) const {
    const auto walk = make_walk_of<Model, Number>(p_, grid_, tube, walk_number);
    const Number event = event_of(tube.view);
    const IndexRange slabs = Model::slabs(walk, box_);
    for (int32_t k = slabs.begin; k < slabs.end; ++k) slab(walk, k, tof_position(Model::line_of(walk), k), event);
  }

  template <typename Walk>
  Number integrate(const Walk& walk, int32_t k, const T* volume) const {
    Number sum(0);
    Model::visit_slab(scan_, walk, box_, strides_, k, [&](int64_t at, Number weight) { sum += weight * volume[at]; });
    return sum;
  }

  // What comes back to a slab from a tube's values.
  Number collect(Number event, Number position, const T* values) const {
    Number sum(0);
    for_values(scan_, tof_, event, position, [&](int64_t i, Number factor) { sum += factor * values[i]; });
    return sum;
  }

  void forward_tube(const Tube& tube, const T* volume, T* values) const {
    for (int64_t w = 0; w < Model::walks(scan_); ++w)
      for_slabs(tube, w, [&](const auto& walk, int32_t k, Number position, Number event) {
        const Number sum = integrate(walk, k, volume) * share_;
        for_values(scan_, tof_, event, position,
                   [&](int64_t i, Number factor) { values[i] += answer_of(factor * sum); });
      });
  }

  void back_tube(const Tube& tube, const T* values, T* volume) const {
    for (int64_t w = 0; w < Model::walks(scan_); ++w)
      for_slabs(tube, w, [&](const auto& walk, int32_t k, Number position, Number event) {
        const Number factor = collect(event, position, values) * share_;
        Model::visit_slab(scan_, walk, box_, strides_, k,
                          [&](int64_t at, Number weight) { volume[at] += answer_of(weight * factor); });
      });
  }

  // What <values, tube> is, with its derivatives.
  Number contract_walk(const Tube& tube, int64_t w, const T* volume, const T* values) const {
    Number total(0);
    for_slabs(tube, w, [&](const auto& walk, int32_t k, Number position, Number event) {
      total += integrate(walk, k, volume) * collect(event, position, values);
    });
    return total * share_;
  }

  const LorScan& scan() const { return scan_; }

 private:
  // The middle of an event's bin, mm along its line.
  Number event_of(int64_t view) const {
    if (scan_.kind != Lines::kEvents) return Number(0);
    return Number(p_.number(view, scan_.numbers() - 1, kEventDirection<Model::kLines>) + grid_.offset);
  }

  const Problem& p_;
  const LorScan& scan_;
  const LorGrid<typename Problem::Wide> grid_;
  const TofKernel<Number> tof_;
  const VoxelBox box_;
  const Strides strides_;
  const T share_;
};

template <typename T>
bool all_zero(const T* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (values[i] != T(0)) return false;
  return true;
}

template <typename Model, typename T, typename Number>
Status forward_tubes(const LorProblem<T, Number>& p, const T* in, T* out, const Executor& executor) {
  constexpr int64_t kTubes = 512;
  const TubeLoops<Model, T, Number> loops(p);
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
Status back_tubes(const LorProblem<T, Number>& p, const T* in, T* out, const Executor& executor) {
  constexpr int64_t kLeast = 4096;
  const TubeLoops<Model, T, Number> loops(p);
  const int64_t values = p.scan.values();
  return sum_volumes(p.scan.voxels(), p.scan.tubes(), kLeast, out, executor,
                     [&](int64_t begin, int64_t end, T* volume) {
                       for (int64_t i = begin; i < end; ++i)
                         if (!all_zero(in + i * values, values))
                           loops.back_tube(tube_of(p.scan, i), in + i * values, volume);
                     });
}

// The gradient by the numbers of each view (into `by_vectors`) and of the grid.
template <typename Model, typename T>
Status gradient_of_tubes(const LorScan& scan, const T* vectors, const T* grid, const T* volume, const T* projections,
                         T* by_vectors, T* by_grid, const Executor& executor) {
  constexpr int kLines = Model::kLines, N = kDirections<kLines>;
  using Number = Dual<T, Tangents<T, N>>;
  const LorProblem<T, Number> p = {scan, vectors, grid};
  const TubeLoops<Model, T, Number> loops(p);
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
