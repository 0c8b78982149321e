#pragma once
// A sinogram's lines and tubes: all planes of a transaxial one at once. In each slab that one meets some columns of the
// volume; weighted, they are one column in which every plane has its height. And planes that are the same but for whole
// voxels lie in it one after the other.
//
// Joseph's line interpolates in that column: an entry, and what rises from it to the next. A tube takes the mean of the
// column between two heights, which is the difference of its integrals up to them: again an entry, the sum of all cells
// below, and a rise, the cell. So each model has rows that are looked up alike.
//
// Joseph's lines that run along z more than across it are left to the loops that take lines one by one.
#include <atomic>

#include "cpu/lanes.h"
#include "cpu/lor_loops.h"
#include "cpu/padded_volume.h"
#include "cpu/plane_runs.h"
#include "cpu/tof_lanes.h"
#include "cpu/transaxial_line.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename Model, typename T>
class SinogramLines {
 public:
  static constexpr bool kTube = std::is_same_v<Model, LorDistanceDriven>;
  using Columns = std::conditional_t<kTube, TubeColumns, LineColumns>;
  using Line = TransaxialLine<T>;
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
        factors_(rows()),
        planes_(rows()),
        runs_(rows()),
        layout_(scan_.nz, Columns::kFirstEntry, find_runs()),
        volume_(scan_, layout_),
        setup_(make_lor_setup<T>(p)),
        loops_(p, setup_) {}

  explicit operator bool() const { return heights_ && factors_ && planes_ && runs_; }

  // Whether all views have the same planes, every tube is as high at its start as at its end, and places fit into 32
  // bits.
  bool fits() const { return same_planes() && same_heights_ && static_cast<double>(volume_.size()) < 2147483648.0; }

  Status forward(const T* in, T* out, const Executor& executor) const {
    const Scratch<T> volume(volume_.size());
    if (!volume) return Status::kOutOfMemory;
    volume_.load(in, executor, volume.get());
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
        for (int64_t ray = 0; ray < Columns::lines(scan_); ++ray)
          integrate(volume.get(), line_of(view, bin, ray), work, sums.get() + (bin - begin) * values_of_bin());
      for_values(view, begin, end, [&](int64_t at, int64_t here) { out[at] = sums.get()[here]; });
      for (int64_t bin = begin; bin < end; ++bin)
        for_steep(view, bin, [&](const Tube& tube, int64_t walk) {
          loops_.forward_walk(tube, loops_.make_walk(tube, walk), in, out + place_of(tube));
        });
    });
    return ok ? Status::kOk : Status::kOutOfMemory;
  }

  Status back(const T* in, T* out, const Executor& executor) const {
    const int64_t parts = min_of(scan_.views, num_parts(volume_.size(), sizeof(T), scan_.tubes() * scan_.rays()));
    const Scratch<T> volumes(parts * volume_.size());
    if (!volumes) return Status::kOutOfMemory;
    std::atomic<bool> ok{true};
    parallel_for(executor, parts, [&](int64_t part) {
      const Work work(*this);
      const Scratch<T> values(kBins * values_of_bin());
      if (!work || !values) {
        ok = false;
        return;
      }
      T* const volume = volumes.get() + part * volume_.size();
      for (int64_t view = scan_.views * part / parts; view < scan_.views * (part + 1) / parts; ++view)
        for (int64_t begin = 0; begin < scan_.bins; begin += kBins) {
          const int64_t end = min_of(scan_.bins, begin + kBins);
          for_values(view, begin, end, [&](int64_t at, int64_t here) { values.get()[here] = in[at]; });
          for (int64_t bin = begin; bin < end; ++bin)
            for (int64_t ray = 0; ray < Columns::lines(scan_); ++ray)
              distribute(values.get() + (bin - begin) * values_of_bin(), line_of(view, bin, ray), work, volume);
        }
    });
    if (!ok) return Status::kOutOfMemory;
    volume_.store_sum(volumes.get(), parts, executor, out);
    return add_steep(in, out, executor);
  }

 private:
  // Bins that are read and written together, where they are neighbours.
  static constexpr int64_t kBins = 16;

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

  TransaxialSegment segment_of(int64_t view, int64_t line) const {
    const auto in_plane = [&](int64_t at) {
      const LorBox<double>& box = grid_.box;
      return Vec3<double>{{0.0, (number(view, at) - box.center[1]) * box.per_mm[1],
                           (number(view, at + 1) - box.center[2]) * box.per_mm[2]}};
    };
    return {in_plane(line * 4), in_plane(line * 4 + 2)};
  }

  Line line_of(int64_t view, int64_t bin, int64_t ray) const {
    const int64_t first = bin * scan_.tangential_rays + ray;
    const TransaxialSegment rays[2] = {segment_of(view, first), segment_of(view, kTube ? first + 1 : first)};
    return Columns::template make<T>(scan_, rays, grid_.box.voxel_size);
  }

  // f(tube, walk) for the lines of a bin that run mostly along z, in the grid. Rows are not in the order of the runs
  // here.
  template <typename F>
  void for_steep(int64_t view, int64_t bin, F&& f) const {
    if constexpr (!kTube)
      for (int64_t ray = 0; ray < scan_.tangential_rays; ++ray) {
        const Line line = line_of(view, bin, ray);
        if (line.slabs() == 0 || !is_steep(steepest_, line)) continue;
        for (int64_t row = 0; row < rows(); ++row)
          if (is_steep(rise_of(row), line))
            f(Tube{view, row / scan_.axial_rays, bin}, row % scan_.axial_rays * scan_.tangential_rays + ray);
      }
  }

  static bool is_steep(double rise, const Line& line) { return !kTube && !(abs_of(rise * line.inverse) < 1.0); }

  // Where the values of a tube begin.
  int64_t place_of(const Tube& tube) const {
    return ((tube.view * scan_.planes + tube.plane) * scan_.bins + tube.bin) * scan_.values();
  }

  Status add_steep(const T* in, T* out, const Executor& executor) const {
    bool any = false;
    for (int64_t view = 0; view < scan_.views && !any; ++view)
      for (int64_t bin = 0; bin < scan_.bins; ++bin) for_steep(view, bin, [&](const Tube&, int64_t) { any = true; });
    if (!any) return Status::kOk;
    const Scratch<T> steep(scan_.voxels());
    if (!steep) return Status::kOutOfMemory;
    const Status status = sum_volumes<T>(
        scan_.voxels(), scan_.views, 1, steep.get(), executor, [&](int64_t begin, int64_t end, T* volume) {
          for (int64_t view = begin; view < end; ++view)
            for (int64_t bin = 0; bin < scan_.bins; ++bin)
              for_steep(view, bin, [&](const Tube& tube, int64_t walk) {
                loops_.back_walk(tube, loops_.make_walk(tube, walk), in + place_of(tube),
                                 [&](int64_t at, T x) { volume[at] += x; });
              });
        });
    for (int64_t i = 0; i < scan_.voxels(); ++i) out[i] += steep.get()[i];
    return status;
  }

  // From the start to the end of a row, in voxels.
  double rise_of(int64_t row) const {
    const int64_t at = scan_.bins * scan_.tangential_rays * 4 + 2 * row;
    return (number(0, at + 1) - number(0, at)) * grid_.box.per_mm[0];
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
  // with its factor and the plane that it belongs to. How far the planes of a run are apart.
  int64_t find_runs() {
    const Scratch<double> unsorted(2 * rows()), factors(rows());
    const Scratch<int32_t> order(rows());
    if (!heights_ || !factors_ || !planes_ || !runs_ || !unsorted || !factors || !order) return 1;
    const int64_t first = scan_.bins * scan_.tangential_rays * 4;
    for (int64_t row = 0; row < rows(); ++row) {
      const auto height = [&](int64_t i) {
        return (number(0, first + 2 * row + i) - grid_.box.center[0]) * grid_.box.per_mm[0];
      };
      unsorted.get()[2 * row] = height(0);
      unsorted.get()[2 * row + 1] = height(1) - height(0);
      steepest_ = max_of(steepest_, abs_of(unsorted.get()[2 * row + 1]));
      factors.get()[row] = 1.0 / static_cast<double>(scan_.rays());
    }
    // As exactly as the numbers are known.
    const double tolerance = 4.0 * static_cast<double>(Epsilon<T>::kValue) * static_cast<double>(scan_.nz + 64);
    if constexpr (kTube) same_heights_ = make_edges(tolerance, unsorted.get(), factors.get());
    const auto found = jaxct::cpu::find_plane_runs(unsorted.get(), rows(), tolerance, order.get(), runs_.get());
    for (int64_t i = 0; i < rows(); ++i) {
      const int32_t row = order.get()[i];
      heights_.get()[2 * i] = unsorted.get()[2 * row];
      heights_.get()[2 * i + 1] = unsorted.get()[2 * row + 1];
      factors_.get()[i] = factors.get()[row];
      planes_.get()[i] = row / static_cast<int32_t>(scan_.axial_rays);
    }
    num_runs_ = found.count;
    return found.spacing;
  }

  // Of a tube's two rows the lower and the upper edge, where cell 0 begins at -1/2. False where they are not parallel.
  bool make_edges(double tolerance, double* rows_of_planes, double* factors) const {
    for (int64_t plane = 0; plane < scan_.planes; ++plane) {
      double* const edges = rows_of_planes + 4 * plane;
      if (abs_of(edges[1] - edges[3]) > tolerance) return false;
      const double middle = 0.5 * (edges[0] + edges[2]) - 0.5;
      const double height = max_of(abs_of(edges[2] - edges[0]), LorDistanceDriven::kThinnest);
      edges[0] = middle - 0.5 * height;
      edges[2] = middle + 0.5 * height;
      edges[1] = edges[3] = 0.5 * (edges[1] + edges[3]);
      factors[2 * plane] = -1.0 / height;
      factors[2 * plane + 1] = 1.0 / height;
    }
    return true;
  }

  // Step of each row in mm, times its factor.
  void find_steps(const Line& line, T* steps) const {
    const double size = grid_.box.voxel_size[0];
    for (int64_t row = 0; row < rows(); ++row) {
      const double rise = heights_.get()[2 * row + 1] * size;
      const double step = std::sqrt(line.square_length + rise * rise) * abs_of(line.inverse);
      steps[row] = is_steep(heights_.get()[2 * row + 1], line) ? T(0) : static_cast<T>(factors_.get()[row] * step);
    }
  }

  // Where the first plane of a run is in each slab: its entry's number in a phase, where that phase begins, and the
  // fraction.
  void find_places(const Line& line, const PlaneRun& run, const Work& work) const {
    constexpr T kFar = T(1 << 20);
    const double* const height = heights_.get() + 2 * run.first;
    const double slope = height[1] * line.inverse;
    const Number z0(static_cast<T>(height[0] - line.from * slope + scan_.template middle<double>(0)));
    const Number step(static_cast<T>(slope)), middle(static_cast<T>(line.middle)), far(kFar);
    const Number per_phase(T(1) / static_cast<T>(layout_.phases)), half(T(0.5));
    const Ints size(static_cast<int32_t>(layout_.size())), length(layout_.length), phases(layout_.phases);
    for (int32_t i = 0; i < line.slabs(); i += kLanes<T>) {
      const Ints slab = lane_numbers<T>() + i;
      const Number z = clamp(multiply_add(step, Number(slab + line.begin) - middle, z0), -far, far);
      const Ints cell = floor_index(z), entry = cell + 1;
      const Ints number = floor_index((Number(entry) + half) * per_phase);
      store(z - Number(cell), work.fractions() + i);
      store(number, work.numbers() + i);
      store(slab * size + (entry - number * phases) * length + ColumnLayout<T>::kBorder, work.bases() + i);
    }
  }

  // visit(slab, place in the columns) of planes [first, first + lanes) of a run.
  template <typename Visit>
  void for_places(const Line& line, int32_t first, const Work& work, Visit&& visit) const {
    const int32_t last = layout_.entries();
    for (int32_t i = 0; i < line.slabs(); ++i)
      visit(i, work.bases()[i] + max_of(-ColumnLayout<T>::kBorder, min_of(work.numbers()[i] + first, last)));
  }

  void integrate(const T* volume, const Line& line, const Work& work, T* sums) const {
    if (line.slabs() == 0) return;
    const auto size = static_cast<int32_t>(layout_.size());
    T* const columns = kTube ? work.rises() : work.columns();
    Columns::for_pairs(
        scan_, volume_, line, [&](int32_t i, int32_t pair, int64_t near, int64_t next, T weight, T next_weight) {
          const Number here(weight), there(next_weight);
          T* const to = columns + int64_t{i} * size;
          for (int32_t e = 0; e < size; e += kLanes<T>) {
            const Number sum = here * load_lanes(volume + near + e) + there * load_lanes(volume + near + next + e);
            store(pair == 0 ? sum : load_lanes(to + e) + sum, to + e);
          }
        });
    if constexpr (kTube)
      find_sums(line.slabs(), work);
    else
      find_rises(line.slabs(), work);
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
      reached.end = min_of(i + kLanes<T>, line.slabs());
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

  // Of a tube: the sum of all entries before each. What lies above the column has the sum of all.
  void find_sums(int32_t slabs, const Work& work) const {
    const int32_t length = layout_.length;
    for (int32_t i = 0; i < slabs; ++i) {
      const T* const cells = work.rises() + i * layout_.size();
      T* const sums = work.columns() + i * layout_.size();
      T sum = T(0);
      for (int32_t number = 0, entry = 0; entry <= layout_.cells; ++number)
        for (int32_t phase = 0; phase < layout_.phases && entry <= layout_.cells; ++phase, ++entry) {
          const int32_t at = phase * length + ColumnLayout<T>::kBorder + number;
          sums[at] = sum;
          sum += cells[at];
        }
      for (int32_t phase = 0; phase < layout_.phases; ++phase)
        for (int32_t e = first_above(phase); e < length; ++e) sums[phase * length + e] = sum;
    }
  }

  // Where in a phase the entries begin that lie above the column.
  int32_t first_above(int32_t phase) const {
    return ColumnLayout<T>::kBorder + (layout_.cells - phase + layout_.phases) / layout_.phases;
  }

  // The transpose of find_sums and of find_rises: what each cell gets, into the rises.
  void pull_sums(int32_t slabs, const Work& work) const {
    const int32_t length = layout_.length;
    for (int32_t i = 0; i < slabs; ++i) {
      T* const cells = work.rises() + i * layout_.size();
      const T* const sums = work.columns() + i * layout_.size();
      T above = T(0);
      for (int32_t phase = 0; phase < layout_.phases; ++phase)
        for (int32_t e = first_above(phase); e < length; ++e) above += sums[phase * length + e];
      for (int32_t number = layout_.cells / layout_.phases; number >= 0; --number)
        for (int32_t phase = layout_.phases - 1; phase >= 0; --phase) {
          if (number * layout_.phases + phase > layout_.cells) continue;
          const int32_t at = phase * length + ColumnLayout<T>::kBorder + number;
          cells[at] += above;
          above += sums[at];
        }
    }
  }

  void pull_rises(int32_t slabs, const Work& work) const {
    const int32_t length = layout_.length, phases = layout_.phases;
    for (int32_t i = 0; i < slabs; ++i)
      for (int32_t phase = phases - 1; phase >= 0; --phase) {
        T* const at = work.columns() + i * layout_.size() + phase * length;
        const T* const rise = work.rises() + i * layout_.size() + phase * length;
        // What rises to an entry comes from the one before.
        const T* const before = phase > 0 ? rise - length : rise + (phases - 1) * length - 1;
        for (int32_t e = ColumnLayout<T>::kBorder; e < length - ColumnLayout<T>::kBorder; e += kLanes<T>)
          store(load_lanes(at + e) - load_lanes(rise + e) + load_lanes(before + e), at + e);
      }
  }

  void distribute(const T* values, const Line& line, const Work& work, T* volume) const {
    if (line.slabs() == 0 || all_zero(values, values_of_bin())) return;
    const auto size = static_cast<int32_t>(layout_.size());
    const size_t bytes = sizeof(T) * static_cast<size_t>(line.slabs()) * static_cast<size_t>(size);
    std::memset(work.columns(), 0, bytes);
    std::memset(work.rises(), 0, bytes);
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
    if constexpr (kTube)
      pull_sums(line.slabs(), work);
    else
      pull_rises(line.slabs(), work);
    const T* const columns = kTube ? work.rises() : work.columns();
    Columns::for_pairs(scan_, volume_, line,
                       [&](int32_t i, int32_t, int64_t near, int64_t next, T weight, T next_weight) {
                         const Number here(weight), there(next_weight);
                         const T* const from = columns + int64_t{i} * size;
                         T *const to = volume + near, *const to_next = to + next;
                         for (int32_t e = 0; e < size; e += kLanes<T>) {
                           const Number value = load_lanes(from + e);
                           store(load_lanes(to + e) + here * value, to + e);
                           store(load_lanes(to_next + e) + there * value, to_next + e);
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
    for (int32_t i = 0; i < line.slabs(); ++i) work.profile()[i] = Number(T(0));
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
  const Scratch<double> heights_, factors_;
  const Scratch<int32_t> planes_;
  const Scratch<PlaneRun> runs_;
  int32_t num_runs_ = 0;
  bool same_heights_ = true;
  double steepest_ = 0.0;  // of all rows
  const ColumnLayout<T> layout_;
  const ColumnVolume<T> volume_;
  const LorSetup<T, double> setup_;
  const TubeLoops<Model, T, T> loops_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
