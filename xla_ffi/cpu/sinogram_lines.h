#pragma once
// Joseph's lines of a sinogram: all planes of a transaxial line at once. In each slab that line meets two columns of
// the volume; interpolated between, they are one column in which every plane has its height. And planes that are the
// same but for whole voxels lie in it one after the other.
#include <atomic>

#include "cpu/lanes.h"
#include "cpu/padded_volume.h"
#include "cpu/plane_runs.h"
#include "cpu/tof_lanes.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// How a column is stored: cell -1 is entry 0, and entry e is number e / phases of phase e % phases, so that planes
// which are `phases` voxels apart are neighbours. Every phase has zeros before and after.
template <typename T>
struct ColumnLayout {
  static constexpr int32_t kBorder = kLanes<T>;

  int32_t cells, phases, length;  // of the grid; of one phase

  ColumnLayout(int64_t nz, int64_t spacing)
      : cells(static_cast<int32_t>(nz)),
        phases(static_cast<int32_t>(spacing)),
        length(static_cast<int32_t>(tiles(entries(), kLanes<T>) * kLanes<T>) + 2 * kBorder) {}

  int64_t size() const { return int64_t{phases} * length; }
  int32_t entries() const { return cells / phases + 1; }  // of one phase
  int32_t place(int32_t cell) const { return (cell + 1) % phases * length + kBorder + (cell + 1) / phases; }
};

template <typename T>
class SinogramLines {
 public:
  using PlaneRun = jaxct::cpu::PlaneRun;
  using Number = Lanes<T>;
  using Ints = LaneIndices<T>;

  explicit SinogramLines(const LorProblem<T, T>& p)
      : p_(p),
        scan_(p.scan),
        grid_(unpack_grid_of(p)),
        tof_(make_tof(static_cast<T>(grid_.sigma), static_cast<T>(grid_.bin_width), static_cast<T>(grid_.offset),
                      scan_.num_sigmas, scan_.tof_bins)),
        lanes_tof_(broadcast(tof_)),
        heights_(2 * rows()),
        planes_(rows()),
        runs_(rows()),
        layout_(scan_.nz, find_runs()) {}

  explicit operator bool() const { return heights_ && planes_ && runs_; }

  // Whether every line runs along a transaxial axis, and places fit into 32 bits.
  bool is_flat() const {
    if (!same_planes()) return false;
    double steepest = 0.0;
    for (int64_t row = 0; row < rows(); ++row) steepest = max_of(steepest, abs_of(heights_.get()[2 * row + 1]));
    for (int64_t view = 0; view < scan_.views; ++view)
      for (int64_t line = 0; line < scan_.bins * scan_.tangential_rays; ++line) {
        const Vec3<double> d = direction_of(view, line);
        if (!(max_of(abs_of(d[1]), abs_of(d[2])) > steepest)) return false;
      }
    return static_cast<double>(volume_size()) < 2147483648.0;
  }

  Status forward(const T* in, T* out, const Executor& executor) const {
    const Scratch<T> volume(volume_size());
    if (!volume) return Status::kOutOfMemory;
    load(in, executor, volume.get());
    const int64_t blocks = tiles(scan_.bins, kBins);
    std::atomic<bool> ok{true};
    parallel_for(executor, scan_.views * blocks, [&](int64_t task) {
      const Work work(*this);
      const Scratch<T> sums(kBins * values_of_bin());
      if (!work || !sums) {
        ok = false;
        return;
      }
      const int64_t view = task / blocks, begin = task % blocks * kBins, end = min_of(scan_.bins, begin + kBins);
      for (int64_t bin = begin; bin < end; ++bin)
        for (int64_t ray = 0; ray < scan_.tangential_rays; ++ray)
          integrate(volume.get(), view, bin * scan_.tangential_rays + ray, work,
                    sums.get() + (bin - begin) * values_of_bin());
      for_values(view, begin, end, [&](int64_t at, int64_t here) { out[at] = sums.get()[here]; });
    });
    return ok ? Status::kOk : Status::kOutOfMemory;
  }

  Status back(const T* in, T* out, const Executor& executor) const {
    const int64_t parts = min_of(scan_.views, num_parts(volume_size(), sizeof(T), scan_.tubes() * scan_.rays()));
    const Scratch<T> volumes(parts * volume_size());
    if (!volumes) return Status::kOutOfMemory;
    std::atomic<bool> ok{true};
    parallel_for(executor, parts, [&](int64_t part) {
      const Work work(*this);
      const Scratch<T> values(kBins * values_of_bin());
      if (!work || !values) {
        ok = false;
        return;
      }
      T* const volume = volumes.get() + part * volume_size();
      for (int64_t view = scan_.views * part / parts; view < scan_.views * (part + 1) / parts; ++view)
        for (int64_t begin = 0; begin < scan_.bins; begin += kBins) {
          const int64_t end = min_of(scan_.bins, begin + kBins);
          for_values(view, begin, end, [&](int64_t at, int64_t here) { values.get()[here] = in[at]; });
          for (int64_t bin = begin; bin < end; ++bin)
            for (int64_t ray = 0; ray < scan_.tangential_rays; ++ray)
              distribute(values.get() + (bin - begin) * values_of_bin(), view, bin * scan_.tangential_rays + ray, work,
                         volume);
        }
    });
    if (!ok) return Status::kOutOfMemory;
    store_sum(volumes.get(), parts, executor, out);
    return Status::kOk;
  }

 private:
  // Bins that are read and written together, where they are neighbours.
  static constexpr int64_t kBins = 16;
  static constexpr int32_t kMargin = PaddedShape<T>::kBorder;
  static constexpr int64_t kMaxSpacing = 8;

  // A value for each plane and bin of time of flight.
  int64_t values_of_bin() const { return scan_.planes * scan_.values(); }

  // f(place in the data, place in a block of [begin, end) bins) for the values of these.
  template <typename F>
  void for_values(int64_t view, int64_t begin, int64_t end, F&& f) const {
    const int64_t values = scan_.values();
    for (int64_t plane = 0; plane < scan_.planes; ++plane)
      for (int64_t bin = begin; bin < end; ++bin)
        for (int64_t i = 0; i < values; ++i)
          f(((view * scan_.planes + plane) * scan_.bins + bin) * values + i,
            (bin - begin) * values_of_bin() + plane * values + i);
  }

  // Rows are planes times axial rays.
  int64_t rows() const { return scan_.planes * scan_.axial_rays; }

  // A transaxial line, slab by slab, and its planes' slopes and steps.
  struct Line {
    int32_t begin, end;            // slabs
    double from, inverse, middle;  // z(k) = start + dz * (k - middle - from) * inverse
    double square_length;          // mm, transaxially
    LorWalk<T> walk;
  };

  // Columns of one line.
  class Work {
   public:
    explicit Work(const SinogramLines& s)
        : slabs_(max_of(s.scan_.ny, s.scan_.nx) + kLanes<T>),
          columns_(slabs_ * s.layout_.size()),
          rises_(slabs_ * s.layout_.size() + s.layout_.size()),
          fractions_(slabs_),
          bases_(slabs_),
          numbers_(slabs_),
          profile_(s.scan_.tof_bins > 0 ? slabs_ : 0),
          weights_(s.scan_.tof_bins * slabs_),
          below_(s.scan_.tof_bins > 0 ? slabs_ : 0),
          reached_(s.scan_.tof_bins),
          steps_(s.rows() + kLanes<T>) {}
    explicit operator bool() const {
      return columns_ && rises_ && fractions_ && bases_ && numbers_ && profile_ && weights_ && below_ && reached_ &&
             steps_;
    }
    T* columns() const { return columns_.get(); }
    T* rises() const { return rises_.get(); }
    T* fractions() const { return fractions_.get(); }
    int32_t* bases() const { return bases_.get(); }
    int32_t* numbers() const { return numbers_.get(); }
    // With time of flight: what several planes have in each slab; with which probability a slab falls into a bin, and
    // the slabs that can.
    Number* profile() const { return profile_.get(); }
    T* weights(int64_t bin) const { return weights_.get() + bin * slabs_; }
    T* below() const { return below_.get(); }
    IndexRange& reached(int64_t bin) const { return reached_.get()[bin]; }
    T* steps() const { return steps_.get(); }

   private:
    int64_t slabs_;
    Scratch<T> columns_, rises_, fractions_;
    Scratch<int32_t> bases_, numbers_;
    Scratch<Number> profile_;
    Scratch<T> weights_, below_;
    Scratch<IndexRange> reached_;
    Scratch<T> steps_;
  };

  double number(int64_t view, int64_t i) const { return p_.number(view, i, 0); }

  // Ends of a line, in voxels from the grid's middle; z is the middle.
  Segment<double> segment_of(int64_t view, int64_t line) const {
    const auto in_plane = [&](int64_t at) {
      const LorBox<double>& box = grid_.box;
      return Vec3<double>{{0.0, (number(view, at) - box.center[1]) * box.per_mm[1],
                           (number(view, at + 1) - box.center[2]) * box.per_mm[2]}};
    };
    return {in_plane(line * 4), in_plane(line * 4 + 2)};
  }

  Vec3<double> direction_of(int64_t view, int64_t line) const {
    const Segment<double> s = segment_of(view, line);
    return s.end - s.start;
  }

  bool same_planes() const {
    const int64_t first = scan_.bins * scan_.tangential_rays * 4, count = scan_.numbers() - first;
    for (int64_t view = 1; view < scan_.views; ++view)
      if (std::memcmp(p_.vectors + first, p_.vectors + view * scan_.numbers() + first,
                      sizeof(T) * static_cast<size_t>(count)) != 0)
        return false;
    return true;
  }

  // Height of the start and rise to the end of each row, in voxels from the grid's middle, in the order of the runs,
  // and the plane of each. How far the planes of a run are apart.
  int64_t find_runs() {
    const Scratch<double> unsorted(2 * rows());
    const Scratch<int32_t> order(rows());
    if (!heights_ || !planes_ || !runs_ || !unsorted || !order) return 1;
    const int64_t first = scan_.bins * scan_.tangential_rays * 4;
    for (int64_t row = 0; row < rows(); ++row) {
      const auto height = [&](int64_t i) {
        return (number(0, first + 2 * row + i) - grid_.box.center[0]) * grid_.box.per_mm[0];
      };
      unsorted.get()[2 * row] = height(0);
      unsorted.get()[2 * row + 1] = height(1) - height(0);
    }
    // As exactly as the numbers are known.
    const double tolerance = 4.0 * static_cast<double>(Epsilon<T>::kValue) * static_cast<double>(scan_.nz + 64);
    const auto found = jaxct::cpu::find_plane_runs(unsorted.get(), rows(), tolerance, order.get(), runs_.get());
    for (int64_t i = 0; i < rows(); ++i) {
      const int32_t row = order.get()[i];
      heights_.get()[2 * i] = unsorted.get()[2 * row];
      heights_.get()[2 * i + 1] = unsorted.get()[2 * row + 1];
      planes_.get()[i] = row / static_cast<int32_t>(scan_.axial_rays);
    }
    num_runs_ = found.count;
    return found.spacing;
  }

  int64_t volume_size() const { return (scan_.ny + 2 * kMargin) * (scan_.nx + 2 * kMargin) * layout_.size(); }
  int64_t column(int64_t y, int64_t x) const {
    return ((y + kMargin) * (scan_.nx + 2 * kMargin) + x + kMargin) * layout_.size();
  }

  void load(const T* volume, const Executor& executor, T* copy) const {
    parallel_for(executor, scan_.ny, [&](int64_t y) {
      for (int32_t z = 0; z < layout_.cells; ++z) {
        const T* from = volume + (z * scan_.ny + y) * scan_.nx;
        T* to = copy + column(y, 0) + layout_.place(z);
        for (int64_t x = 0; x < scan_.nx; ++x) to[x * layout_.size()] = from[x];
      }
    });
  }

  void store_sum(const T* copies, int64_t count, const Executor& executor, T* volume) const {
    parallel_for(executor, scan_.ny, [&](int64_t y) {
      for (int32_t z = 0; z < layout_.cells; ++z) {
        T* to = volume + (z * scan_.ny + y) * scan_.nx;
        const T* from = copies + column(y, 0) + layout_.place(z);
        for (int64_t x = 0; x < scan_.nx; ++x) {
          T sum = from[x * layout_.size()];
          for (int64_t i = 1; i < count; ++i) sum += from[x * layout_.size() + i * volume_size()];
          to[x] = sum;
        }
      }
    });
  }

  Line line_of(int64_t view, int64_t line) const {
    const Segment<double> s = segment_of(view, line);
    const Vec3<double> d = s.end - s.start;
    const int axis = abs_of(d[2]) > abs_of(d[1]) ? 2 : 1;
    const Vec3<double>& size = grid_.box.voxel_size;
    const double y = d[1] * size[1], x = d[2] * size[2];
    Line out = {0,
                0,
                s.start[axis],
                1.0 / d[axis],
                scan_.template middle<double>(axis),
                y * y + x * x,
                make_lor_walk<T>(scan_, s, size, axis)};
    const IndexRange slabs = slabs_between(out.walk, whole_grid(scan_));
    out.begin = slabs.begin;
    out.end = max_of(slabs.begin, slabs.end);
    return out;
  }

  // f(slab, first of two columns, distance to the second, weights of both) for the slabs of a line.
  template <typename F>
  void for_slabs(const Line& line, F&& f) const {
    const RayWalk<T>& ray = line.walk.ray;
    const bool along_y = ray.axis == 1;
    const T a0 = along_y ? ray.a : ray.b, slope = along_y ? ray.slope_a : ray.slope_b;
    const auto last = static_cast<int32_t>(along_y ? scan_.nx : scan_.ny);
    const int64_t next = along_y ? column(0, 1) - column(0, 0) : column(1, 0) - column(0, 0);
    for (int32_t k = line.begin; k < line.end; ++k) {
      const T at = static_cast<T>(k), a = multiply_add(slope, at - ray.middle, a0);
      const int32_t cell = floor_index(a), inside = max_of(-kMargin, min_of(cell, last));
      const SlabPart<T> part = part_between(line.walk, at);
      const T length = part.end - part.begin, far = (a - static_cast<T>(cell)) * length;
      f(k - line.begin, along_y ? column(k, inside) : column(inside, k), next, length - far, far);
    }
  }

  // Step of each row in mm, its share in the tube with it.
  void find_steps(const Line& line, T* steps) const {
    const double share = 1.0 / static_cast<double>(scan_.rays()), size = grid_.box.voxel_size[0];
    for (int64_t row = 0; row < rows(); ++row) {
      const double rise = heights_.get()[2 * row + 1] * size;
      steps[row] = static_cast<T>(share * std::sqrt(line.square_length + rise * rise) * abs_of(line.inverse));
    }
  }

  // Where the first plane of a run is in each slab: its entry's number in a phase, where that phase begins, and the
  // fraction.
  void find_places(const Line& line, const PlaneRun& run, const Work& work) const {
    constexpr T kFar = T(1 << 20);
    const double* const height = heights_.get() + 2 * run.first;
    const double slope = height[1] * line.inverse;
    const auto z0 = static_cast<T>(height[0] - line.from * slope + scan_.template middle<double>(0));
    const auto step = static_cast<T>(slope), middle = static_cast<T>(line.middle);
    const auto size = static_cast<int32_t>(layout_.size());
    const T per_phase = T(1) / static_cast<T>(layout_.phases);
    for (int32_t i = 0; i < line.end - line.begin; ++i) {
      const T z = clamp(multiply_add(step, static_cast<T>(i + line.begin) - middle, z0), -kFar, kFar);
      const int32_t cell = floor_index(z), entry = cell + 1;
      const int32_t number = floor_index((static_cast<T>(entry) + T(0.5)) * per_phase);
      work.fractions()[i] = z - static_cast<T>(cell);
      work.numbers()[i] = number;
      work.bases()[i] = i * size + (entry - number * layout_.phases) * layout_.length + ColumnLayout<T>::kBorder;
    }
  }

  // visit(slab, place in the columns) of planes [first, first + lanes) of a run.
  template <typename Visit>
  void for_places(const Line& line, int32_t first, const Work& work, Visit&& visit) const {
    const int32_t last = layout_.entries();
    for (int32_t i = 0; i < line.end - line.begin; ++i)
      visit(i, work.bases()[i] + max_of(-ColumnLayout<T>::kBorder, min_of(work.numbers()[i] + first, last)));
  }

  void integrate(const T* volume, int64_t view, int64_t transaxial, const Work& work, T* sums) const {
    const Line line = line_of(view, transaxial);
    if (line.begin == line.end) return;
    const auto size = static_cast<int32_t>(layout_.size());
    for_slabs(line, [&](int32_t i, int64_t near, int64_t next, T weight, T next_weight) {
      const Number here(weight), there(next_weight);
      T* const to = work.columns() + int64_t{i} * size;
      for (int32_t e = 0; e < size; e += kLanes<T>)
        store(here * load_lanes(volume + near + e) + there * load_lanes(volume + near + next + e), to + e);
    });
    find_rises(line.end - line.begin, work);
    find_steps(line, work.steps());
    for (int32_t r = 0; r < num_runs_; ++r) {
      const PlaneRun run = runs_.get()[r];
      find_places(line, run, work);
      if (scan_.tof_bins > 0) find_weights(line, run, work);
      for (int32_t first = 0; first < run.count; first += kLanes<T>)
        if (scan_.tof_bins > 0)
          sum_bins(line, run, first, work, sums);
        else
          sum_slabs(line, run, first, work, sums);
    }
  }

  void sum_slabs(const Line& line, const PlaneRun& run, int32_t first, const Work& work, T* sums) const {
    Number sum(T(0)), rise(T(0));
    for_places(line, first, work, [&](int32_t i, int32_t place) {
      sum = sum + load_lanes(work.columns() + place);
      rise = rise + Number(work.fractions()[i]) * load_lanes(work.rises() + place);
    });
    add_to_planes(run, first, 0, sum + rise, work, sums);
  }

  void sum_bins(const Line& line, const PlaneRun& run, int32_t first, const Work& work, T* sums) const {
    for_places(line, first, work, [&](int32_t i, int32_t place) {
      work.profile()[i] =
          load_lanes(work.columns() + place) + Number(work.fractions()[i]) * load_lanes(work.rises() + place);
    });
    for (int64_t bin = 0; bin < scan_.tof_bins; ++bin) {
      const IndexRange slabs = work.reached(bin);
      if (slabs.empty()) continue;
      const T* const weights = work.weights(bin);
      Number sum(T(0));
      for (int32_t i = slabs.begin; i < slabs.end; ++i) sum = sum + Number(weights[i]) * work.profile()[i];
      add_to_planes(run, first, bin, sum, work, sums);
    }
  }

  void add_to_planes(const PlaneRun& run, int32_t first, int64_t bin, Number sum, const Work& work, T* sums) const {
    const Number result = sum * load_lanes(work.steps() + run.first + first);
    for (int32_t lane = 0; lane < min_of(kLanes<T>, run.count - first); ++lane)
      sums[planes_.get()[run.first + first + lane] * scan_.values() + bin] += result[lane];
  }

  // Bins of time of flight, of slabs counted from the line's first. Planes of one slope share them.
  void find_weights(const Line& line, const PlaneRun& run, const Work& work) const {
    const double rise = heights_.get()[2 * run.first + 1] * grid_.box.voxel_size[0];
    const double per_slab = std::sqrt(line.square_length + rise * rise) * line.inverse;
    const double position = -0.5 * (2.0 * line.from + 1.0 / line.inverse) * per_slab;
    const TofAlongLine<T> along = {tof_, lanes_tof_, static_cast<T>(line.middle), static_cast<T>(position),
                                   static_cast<T>(per_slab)};
    for (int64_t bin = 0; bin < scan_.tof_bins; ++bin) work.reached(bin) = {0, 0};
    const auto all = [](int32_t) { return true; };
    along.for_probabilities({line.begin, line.end}, work.below(), all, [&](int32_t bin, int32_t k, Number factor) {
      const int32_t i = k - line.begin;
      IndexRange& reached = work.reached(bin);
      if (reached.empty()) reached.begin = i;
      reached.end = min_of(i + kLanes<T>, line.end - line.begin);
      store(factor, work.weights(bin) + i);
    });
  }

  // From each entry of the columns to the next one.
  void find_rises(int32_t slabs, const Work& work) const {
    const int32_t length = layout_.length, phases = layout_.phases;
    for (int32_t i = 0; i < slabs; ++i)
      for (int32_t phase = 0; phase < phases; ++phase) {
        const T* const from = work.columns() + i * layout_.size() + phase * length;
        const T* const next = phase + 1 < phases ? from + length : from - phase * length + 1;
        T* const to = work.rises() + i * layout_.size() + phase * length;
        for (int32_t e = 0; e + 1 < length; ++e) to[e] = next[e] - from[e];
      }
  }

  void distribute(const T* values, int64_t view, int64_t transaxial, const Work& work, T* volume) const {
    if (all_zero(values, values_of_bin())) return;
    const Line line = line_of(view, transaxial);
    if (line.begin == line.end) return;
    const int32_t slabs = line.end - line.begin, length = layout_.length, phases = layout_.phases;
    const auto size = static_cast<int32_t>(layout_.size());
    std::memset(work.columns(), 0, sizeof(T) * static_cast<size_t>(slabs) * static_cast<size_t>(size));
    std::memset(work.rises(), 0, sizeof(T) * static_cast<size_t>(slabs) * static_cast<size_t>(size));
    find_steps(line, work.steps());
    for (int32_t r = 0; r < num_runs_; ++r) {
      const PlaneRun run = runs_.get()[r];
      find_places(line, run, work);
      if (scan_.tof_bins > 0) find_weights(line, run, work);
      for (int32_t first = 0; first < run.count; first += kLanes<T>)
        if (scan_.tof_bins > 0)
          spread_bins(values, line, run, first, work);
        else
          spread_value(values, line, run, first, work);
    }
    for_slabs(line, [&](int32_t i, int64_t near, int64_t next, T weight, T next_weight) {
      const Number here(weight), there(next_weight);
      for (int32_t phase = 0; phase < phases; ++phase) {
        const T* const at = work.columns() + int64_t{i} * size + phase * length;
        const T* const rise = work.rises() + int64_t{i} * size + phase * length;
        // What rises to an entry comes from the one before; a phase's own border has none.
        const T* const before = phase > 0 ? rise - length : rise + (phases - 1) * length - 1;
        T *const to = volume + near + phase * length, *const to_next = to + next;
        for (int32_t e = ColumnLayout<T>::kBorder; e < length - ColumnLayout<T>::kBorder; e += kLanes<T>) {
          const Number value = load_lanes(at + e) - load_lanes(rise + e) + load_lanes(before + e);
          store(load_lanes(to + e) + here * value, to + e);
          store(load_lanes(to_next + e) + there * value, to_next + e);
        }
      }
    });
  }

  Number value_of_planes(const T* values, const PlaneRun& run, int32_t first, int64_t bin, const Work& work) const {
    Number value(T(0));
    for (int32_t lane = 0; lane < min_of(kLanes<T>, run.count - first); ++lane)
      value.v[lane] = values[planes_.get()[run.first + first + lane] * scan_.values() + bin];
    return value * load_lanes(work.steps() + run.first + first);
  }

  void spread_value(const T* values, const Line& line, const PlaneRun& run, int32_t first, const Work& work) const {
    const Number value = value_of_planes(values, run, first, 0, work);
    for_places(line, first, work, [&](int32_t i, int32_t place) { add_to_slab(value, i, place, work); });
  }

  void spread_bins(const T* values, const Line& line, const PlaneRun& run, int32_t first, const Work& work) const {
    for (int32_t i = 0; i < line.end - line.begin; ++i) work.profile()[i] = Number(T(0));
    for (int64_t bin = 0; bin < scan_.tof_bins; ++bin) {
      const IndexRange slabs = work.reached(bin);
      if (slabs.empty()) continue;
      const Number value = value_of_planes(values, run, first, bin, work);
      const T* const weights = work.weights(bin);
      for (int32_t i = slabs.begin; i < slabs.end; ++i)
        work.profile()[i] = work.profile()[i] + Number(weights[i]) * value;
    }
    for_places(line, first, work, [&](int32_t i, int32_t place) { add_to_slab(work.profile()[i], i, place, work); });
  }

  void add_to_slab(Number value, int32_t i, int32_t place, const Work& work) const {
    store(load_lanes(work.columns() + place) + value, work.columns() + place);
    T* const rise = work.rises() + place;
    store(load_lanes(rise) + Number(work.fractions()[i]) * value, rise);
  }

  const LorProblem<T, T>& p_;
  const LorScan& scan_;
  const LorGrid<double> grid_;
  const TofKernel<T> tof_;
  const TofKernel<Number> lanes_tof_;
  const Scratch<double> heights_;
  const Scratch<int32_t> planes_;
  const Scratch<PlaneRun> runs_;
  int32_t num_runs_ = 0;
  const ColumnLayout<T> layout_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
