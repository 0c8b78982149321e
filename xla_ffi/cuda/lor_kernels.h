#pragma once
// Lines of response: a thread owns a tube. Neighbouring threads have neighbouring bins of one view and plane, whose
// values are neighbours and whose lines run side by side. Walks are made anew by each kernel, nothing of them is
// stored.
#include "core/soundness.h"
#include "cuda/fixed_point.h"
#include "cuda/lor_call.h"
#include "cuda/storage.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// As many blocks of 128 threads as registers allow.
template <typename Number>
constexpr int kBlocksOfTubes = sizeof(Number) == 4   ? 6
                               : sizeof(Number) == 8 ? 3
                                                     : 2;

// An array that is only read.
template <typename T>
struct ReadOnly {
  const T* numbers;
  JAXCT_HD T operator[](int64_t i) const { return load<T>(numbers + i); }
};

using jaxct::detail::is_finite;

template <typename D>
JAXCT_HD bool is_sound(const LorScan& scan, const LorGrid<D>& g) {
  bool sound = true;
  for (int i = 0; i < 3; ++i) {
    const auto size = static_cast<double>(g.box.voxel_size[i]);
    sound = sound && size > 0.0 && is_finite(size) && is_finite(static_cast<double>(g.box.center[i]));
  }
  if (scan.tof_bins == 0) return sound;
  const auto sigma = static_cast<double>(g.sigma), width = static_cast<double>(g.bin_width);
  return sound && sigma > 0.0 && is_finite(sigma) && width > 0.0 && is_finite(width) &&
         is_finite(static_cast<double>(g.offset));
}

// One item of a call: its problem, and what all tubes of it share.
template <typename Model, typename T, typename Number>
struct LorItem {
  using Loops = TubeLoops<Model, T, Number>;

  LorProblem<T, Number> problem;
  const PreparedLorsOf<T, Number>* prepared;

  JAXCT_HD const LorScan& scan() const { return problem.scan; }

  // All that a tube is made from is finite.
  JAXCT_HD bool is_sound(const Tube& tube) const {
    bool sound = prepared->sound;
    const int64_t view = tube.view;
    const auto look = [&](int64_t i) {
      sound = sound && is_finite(static_cast<double>(value_of(problem.number(view, i, -1))));
    };
    for (int64_t w = 0; w < Model::walks(scan()); ++w)
      for (int line = 0; line < Model::kLines; ++line) {
        const RayPlaces places = places_of(scan(), tube.plane, tube.bin, Model::line(scan(), w, line));
        for (int i = 0; i < 6; ++i) look(places.at[i]);
      }
    if (scan().kind == Lines::kEvents) look(scan().numbers() - 1);
    return sound;
  }
};

// For every few directions of a gradient, otherwise once.
template <typename T, typename Number>
struct PrepareLors {
  static constexpr int kThreads = 32, kBlocksPerMultiprocessor = 1;

  LorProblem<T, Number> problem;
  int count;
  PreparedLorsOf<T, Number>* prepared;

  JAXCT_HD int64_t blocks() const { return 1; }
  JAXCT_HD void operator()(int64_t, int thread) const {
    if (thread >= count) return;
    LorProblem<T, Number> p = problem;
    if constexpr (std::is_same_v<Number, LorGradientNumber<T>>) p.first = thread * kDirectionsAtOnce;
    PreparedLorsOf<T, Number> made;
    static_cast<LorSetup<Number, typename LorProblem<T, Number>::Wide>&>(made) = make_lor_setup<Number>(p);
    made.sound = is_sound(p.scan, made.grid);
    prepared[thread] = made;
  }
};

template <typename Model, typename T, typename Number>
struct ForwardTubes {
  static constexpr int kThreads = 128, kBlocksPerMultiprocessor = kBlocksOfTubes<Number>;

  LorItem<Model, T, Number> item;
  const T* volume;
  T* out;

  JAXCT_HD int64_t blocks() const { return tiles(item.scan().tubes(), kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t i = block * kThreads + thread, values = item.scan().values();
    if (i >= item.scan().tubes()) return;
    const Tube tube = tube_of(item.scan(), i);
    T* const row = out + i * values;
    const bool sound = item.is_sound(tube);
    const typename LorItem<Model, T, Number>::Loops loops(item.problem, *item.prepared);
    const T before = sound ? T(0) : not_a_number<T>();
    if (values == 1) {  // in a register
      T sum = before;
      if (sound) loops.forward_tube(tube, ReadOnly<T>{volume}, &sum);
      *row = sum;
      return;
    }
    for (int64_t v = 0; v < values; ++v) row[v] = before;
    if (sound) loops.forward_tube(tube, ReadOnly<T>{volume}, row);
  }
};

// Tubes that give nothing back are passed over.
template <typename T>
JAXCT_HD bool is_all_zero(const T* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (load<T>(values + i) != T(0)) return false;
  return true;
}

// What a voxel can get from all of a thread's tubes, in magnitude and times kBoundFactor. Of derivatives the largest
// contribution of a walk has to be looked for: a walk goes through a voxel once.
template <typename Model, typename T, typename Number>
struct BoundTubes {
  static constexpr int kThreads = 128, kBlocksPerMultiprocessor = kBlocksOfTubes<Number>;

  LorItem<Model, T, Number> item;
  const T* in;
  int64_t threads;
  double* bounds;

  JAXCT_HD int64_t blocks() const { return tiles(threads, kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t at = block * kThreads + thread;
    if (at >= threads) return;
    double bound = 0.0;
    for (int64_t i = at; i < item.scan().tubes(); i += threads) bound += bound_of(i);
    bounds[at] = bound;
  }

 private:
  JAXCT_HD double bound_of(int64_t i) const {
    const int64_t values = item.scan().values();
    const T* const of_tube = in + i * values;
    const Tube tube = tube_of(item.scan(), i);
    if (is_all_zero(of_tube, values) || !item.is_sound(tube)) return 0.0;
    const typename LorItem<Model, T, Number>::Loops loops(item.problem, *item.prepared);
    double bound = 0.0, most = 0.0;
    if constexpr (std::is_same_v<Number, T>)
      for (int64_t v = 0; v < values; ++v) most = larger(most, static_cast<double>(load<T>(of_tube + v)));
    for (int64_t w = 0; w < Model::walks(item.scan()); ++w) {
      const auto walk = loops.make_walk(tube, w);
      if constexpr (std::is_same_v<Number, T>) {
        bound += limited(most * kBoundFactor * loops.largest_weight(walk));
      } else {
        most = 0.0;
        loops.back_walk(tube, walk, ReadOnly<T>{of_tube},
                        [&](int64_t, T x) { most = larger(most, static_cast<double>(x)); });
        bound += most * kBoundFactor;
      }
    }
    return bound;
  }

  // What is not finite is no part of the sums.
  JAXCT_HD static double larger(double most, double x) {
    const double magnitude = std::abs(x);
    return magnitude > most && is_finite(magnitude) ? magnitude : most;
  }
  // NaN is the step of a line that goes nowhere.
  JAXCT_HD static double limited(double bound) { return bound < 1e300 ? bound : bound > 0.0 ? 1e300 : 0.0; }
};

template <typename Model, typename T, typename Number>
struct BackTubes {
  static constexpr int kThreads = 128, kBlocksPerMultiprocessor = kBlocksOfTubes<Number>;

  LorItem<Model, T, Number> item;
  const T* in;
  FixedSums sums;
  const FixedScale<T>* scale;
  uint32_t* unsound;

  JAXCT_HD int64_t blocks() const { return tiles(item.scan().tubes(), kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t i = block * kThreads + thread, values = item.scan().values();
    if (i >= item.scan().tubes()) return;
    const Tube tube = tube_of(item.scan(), i);
    if (!item.is_sound(tube)) {  // several may write the same
      *unsound = 1;
      return;
    }
    const T* const of_tube = in + i * values;
    if (is_all_zero(of_tube, values)) return;
    const typename LorItem<Model, T, Number>::Loops loops(item.problem, *item.prepared);
    const FixedScale<T> to_fixed = *scale;
    for (int64_t w = 0; w < Model::walks(item.scan()); ++w)
      loops.back_walk(tube, loops.make_walk(tube, w), ReadOnly<T>{of_tube},
                      [&](int64_t at, T x) { sums.add(at, x, to_fixed); });
  }
};

// Gradient by the geometry: a thread has a walk of a tube and a few of the directions that it depends on, and writes
// down what <projections, A volume> gains along each. Others add these up in a fixed order.
template <typename Model, typename T>
struct GradientOfTubes {
  static constexpr int kThreads = 128, kBlocksPerMultiprocessor = 2;
  static constexpr int kGroups = kDirections<Model::kLines> / kDirectionsAtOnce;
  using Number = LorGradientNumber<T>;

  LorItem<Model, T, Number> item;
  int64_t first, held;  // views
  const T* volume;
  const T* projections;
  T* parts;  // [direction][walk][tube]

  JAXCT_HD int64_t tubes() const { return held * item.scan().planes * item.scan().bins; }
  JAXCT_HD int64_t blocks() const { return tiles(tubes() * Model::walks(item.scan()) * kGroups, kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    Digits digits = {block * kThreads + thread};
    const int64_t i = digits.take(tubes()), w = digits.take(Model::walks(item.scan()));
    if (digits.rest >= kGroups) return;
    const auto group = static_cast<int>(digits.rest);
    const int64_t all = first * item.scan().planes * item.scan().bins + i;
    const T* const values = projections + all * item.scan().values();
    const Tube tube = tube_of(item.scan(), all);

    Tangents<T, kDirectionsAtOnce> sum(0);
    if (!item.is_sound(tube)) {
      sum = Tangents<T, kDirectionsAtOnce>(not_a_number<T>());
    } else if (!is_all_zero(values, item.scan().values())) {
      LorProblem<T, Number> problem = item.problem;
      problem.first = group * kDirectionsAtOnce;
      const typename LorItem<Model, T, Number>::Loops loops(problem, item.prepared[group]);
      sum = loops.contract_walk(tube, w, ReadOnly<T>{volume}, ReadOnly<T>{values}).tangent;
    }
    const int64_t walks = Model::walks(item.scan()) * tubes();
    for (int d = 0; d < kDirectionsAtOnce; ++d)
      parts[(group * kDirectionsAtOnce + d) * walks + w * tubes() + i] = sum.v[d];
  }
};

// The gradient by vectors: a thread has one number of a view, and adds up what the walks give that depend on it.
template <typename Model, typename T>
struct CollectTubes {
  static constexpr int kThreads = 128, kBlocksPerMultiprocessor = 1;

  LorScan scan;
  int64_t first, held;
  const T* parts;
  T* by_vectors;

  JAXCT_HD int64_t blocks() const { return tiles(held * scan.numbers(), kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    Digits digits = {block * kThreads + thread};
    const int64_t i = digits.take(scan.numbers()), view = digits.rest;
    if (view >= held) return;
    double sum = 0.0;
    if (scan.kind != Lines::kSinogram)
      sum = of_list(view, i);
    else if (const int64_t of_lines = scan.bins * scan.tangential_rays * 4; i < of_lines)
      sum = of_line(view, i);
    else
      sum = of_height(view, i - of_lines);
    by_vectors[(first + view) * scan.numbers() + i] = static_cast<T>(sum);
  }

 private:
  JAXCT_HD double part(int64_t tube, int64_t walk, int64_t direction) const {
    const int64_t tubes = held * scan.planes * scan.bins;
    return static_cast<double>(load<T>(parts + (direction * Model::walks(scan) + walk) * tubes + tube));
  }

  // By number n (of six) of the ends of one of a tube's rays.
  JAXCT_HD double of_ray(int64_t tube, int64_t ray, int64_t n) const {
    if constexpr (Model::kLines == 1) {
      return part(tube, ray, n);
    } else {
      double sum = 0.0;
      for (int line = 0; line < Model::kLines; ++line)
        if (Model::line(scan, 0, line) == ray) sum += part(tube, 0, line * 6 + n);
      return sum;
    }
  }

  JAXCT_HD double of_list(int64_t view, int64_t i) const {
    if (i < scan.rays() * 6) return of_ray(view, i / 6, i % 6);
    double sum = 0.0;
    for (int64_t w = 0; w < Model::walks(scan); ++w) sum += part(view, w, kEventDirection<Model::kLines>);
    return sum;
  }

  // The places in a view's numbers are those of places_of.
  JAXCT_HD double of_line(int64_t view, int64_t i) const {
    const int64_t end = i % 4 / 2, axis = 1 + i % 2, tangential = i / 4 % scan.tangential_rays;
    const int64_t bin = i / 4 / scan.tangential_rays;
    double sum = 0.0;
    for (int64_t plane = 0; plane < scan.planes; ++plane)
      for (int64_t axial = 0; axial < scan.axial_rays; ++axial)
        sum += of_ray((view * scan.planes + plane) * scan.bins + bin, axial * scan.tangential_rays + tangential,
                      3 * end + axis);
    return sum;
  }
  JAXCT_HD double of_height(int64_t view, int64_t i) const {
    const int64_t end = i % 2, axial = i / 2 % scan.axial_rays, plane = i / 2 / scan.axial_rays;
    double sum = 0.0;
    for (int64_t bin = 0; bin < scan.bins; ++bin)
      for (int64_t tangential = 0; tangential < scan.tangential_rays; ++tangential)
        sum +=
            of_ray((view * scan.planes + plane) * scan.bins + bin, axial * scan.tangential_rays + tangential, 3 * end);
    return sum;
  }
};

// The gradient by the grid, from the sums by direction of one block of views after the other.
template <typename Model, typename T>
struct CollectGrid {
  static constexpr int kThreads = 32, kBlocksPerMultiprocessor = 1;

  bool is_first;
  const double* by_walk;
  double* sums;
  T* by_grid;

  JAXCT_HD int64_t blocks() const { return 1; }

  JAXCT_HD void operator()(int64_t, int n) const {
    if (n >= kLorGridNumbers) return;
    constexpr int kAll = kDirections<Model::kLines>;
    double sum = is_first ? 0.0 : sums[n];
    if (n >= 3 && n < 6)
      for (int end = 0; end < 2 * Model::kLines; ++end) sum -= by_walk[3 * end + n - 3];
    else
      sum += by_walk[n < 3 ? kAll - 6 + n : kAll - 9 + n];
    sums[n] = sum;
    by_grid[n] = static_cast<T>(sum);
  }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
