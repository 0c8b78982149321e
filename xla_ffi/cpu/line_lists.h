#pragma once
// Joseph's lines in a list, several slabs of a line at once. Lines go where they like, so that what counts is how
// little is asked of memory: the four cells of a slab are two pairs of neighbours in z.
#include "cpu/lor_loops.h"
#include "cpu/padded_volume.h"
#include "cpu/tof_lanes.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// Slabs [k, k + lanes) of a line: the places of their first cells, the fractions, and the part between the ends. Cells
// outside the grid are moved into the border.
template <typename T>
class SlabRun {
 public:
  using Number = Lanes<T>;
  using Ints = LaneIndices<T>;

  struct At {
    Ints place;
    Number a, b, part;
  };

  SlabRun(const PaddedShape<T>& shape, const LorWalk<T>& walk)
      : swapped_(walk.ray.minor_a == 0),
        axis_(walk.ray.axis),
        a_axis_(swapped_ ? walk.ray.minor_b : walk.ray.minor_a),
        b_axis_(swapped_ ? walk.ray.minor_a : walk.ray.minor_b),
        middle_(walk.ray.middle),
        a_(swapped_ ? walk.ray.b : walk.ray.a),
        b_(swapped_ ? walk.ray.a : walk.ray.b),
        slope_a_(swapped_ ? walk.ray.slope_b : walk.ray.slope_a),
        slope_b_(swapped_ ? walk.ray.slope_a : walk.ray.slope_b),
        low_(walk.low),
        high_(walk.high),
        stride_(shape.stride[axis_]),
        stride_a_(shape.stride[a_axis_]),
        stride_b_(shape.stride[b_axis_]),
        size_(shape.size[axis_]),
        size_a_(shape.size[a_axis_]),
        size_b_(shape.size[b_axis_]),
        origin_(static_cast<int32_t>(shape.origin())) {}

  int32_t stride_a() const { return stride_a_; }
  int32_t stride_b() const { return stride_b_; }

  At at(int32_t k) const {
    constexpr int32_t kBorder = PaddedShape<T>::kBorder;
    const Ints slab = lane_numbers<T>() + k;
    const Number position(slab), offset = position - Number(middle_);
    const Number a = multiply_add(Number(slope_a_), offset, Number(a_));
    const Number b = multiply_add(Number(slope_b_), offset, Number(b_));
    const Ints cell_a = floor_index(a), cell_b = floor_index(b);
    const Ints lowest(-kBorder), none(0);
    const Ints inside_a = max_of(lowest, min_of(cell_a, Ints(size_a_)));
    const Ints inside_b = max_of(lowest, min_of(cell_b, Ints(size_b_)));
    const Ints inside = max_of(none, min_of(slab, Ints(size_)));
    const Number edge = position - Number(T(0.5)), zero(T(0)), one(T(1));
    const Number part = clamp(Number(high_) - edge, zero, one) - clamp(Number(low_) - edge, zero, one);
    const Ints place = inside * Ints(stride_) + inside_a * Ints(stride_a_) + inside_b * Ints(stride_b_) + origin_;
    return {place, a - Number(cell_a), b - Number(cell_b), part};
  }

  Number read(const At& at, const T* volume) const {
    const Number near = read_neighbours(at, volume), far = read_neighbours(at, volume + stride_a_);
    return lerp(near, far, at.a) * at.part;
  }

  void add(const At& at, Number value, T* volume) const {
    const Number far = value * at.part * at.a, near = value * at.part - far;
    add_neighbours(near, at, volume);
    add_neighbours(far, at, volume + stride_a_);
  }

 private:
  Number read_neighbours(const At& at, const T* volume) const {
    if (stride_b_ != 1) return lerp(gather(volume, at.place), gather(volume + stride_b_, at.place), at.b);
    Number here, next;
    load_pairs(volume, at.place, here, next);
    return lerp(here, next, at.b);
  }

  static Number lerp(Number here, Number next, Number fraction) { return here + (next - here) * fraction; }

  void add_neighbours(Number value, const At& at, T* volume) const {
    const Number next = value * at.b, here = value - next;
    if (stride_b_ == 1) {
      add_pairs(here, next, at.place, volume);
      return;
    }
    for (int lane = 0; lane < kLanes<T>; ++lane) {
      volume[at.place[lane]] += here[lane];
      volume[at.place[lane] + stride_b_] += next[lane];
    }
  }

  bool swapped_;
  int axis_, a_axis_, b_axis_;
  T middle_, a_, b_, slope_a_, slope_b_, low_, high_;
  int32_t stride_, stride_a_, stride_b_, size_, size_a_, size_b_, origin_;
};

template <typename T>
class LineLists {
 public:
  using Number = Lanes<T>;

  explicit LineLists(const LorProblem<T, T>& p)
      : p_(p),
        scan_(p.scan),
        shape_(p.scan),
        grid_(unpack_grid_of(p)),
        tof_(make_tof(static_cast<T>(grid_.sigma), static_cast<T>(grid_.bin_width), static_cast<T>(grid_.offset),
                      scan_.num_sigmas, scan_.tof_bins)),
        lanes_tof_(broadcast(tof_)),
        box_(whole_grid(scan_)),
        share_(T(1) / static_cast<T>(scan_.rays())) {
    const auto reach = [&](int axis) {
      return 0.5 * static_cast<double>(scan_.size(axis) + 4) * grid_.box.voxel_size[axis];
    };
    center_y_ = static_cast<T>(grid_.box.center[1]);
    center_x_ = static_cast<T>(grid_.box.center[2]);
    square_radius_ = static_cast<T>(reach(1) * reach(1) + reach(2) * reach(2));
  }

  Status forward(const T* in, T* out, const Executor& executor) const {
    constexpr int64_t kTubes = 1024;
    const Scratch<T> volume(shape_.voxels + kLanes<T>);
    if (!volume) return Status::kOutOfMemory;
    shape_.load(in, executor, volume.get());
    const int64_t tubes = scan_.tubes(), values = scan_.values();
    std::memset(out, 0, sizeof(T) * static_cast<size_t>(scan_.projections()));
    std::atomic<bool> ok{true};
    parallel_for(executor, tiles(tubes, kTubes), [&](int64_t task) {
      const Profile profile(scan_);
      if (!profile) {
        ok = false;
        return;
      }
      for (int64_t i = task * kTubes; i < min_of(tubes, (task + 1) * kTubes); ++i)
        for (int64_t w = 0; w < scan_.rays(); ++w) forward_line(i, w, volume.get(), profile, out + i * values);
    });
    return ok ? Status::kOk : Status::kOutOfMemory;
  }

  Status back(const T* in, T* out, const Executor& executor) const {
    const int64_t tubes = scan_.tubes(), values = scan_.values();
    const int64_t parts = num_parts(shape_.voxels, sizeof(T), tubes * scan_.rays());
    const Scratch<T> volumes(parts * shape_.voxels + kLanes<T>);
    if (!volumes) return Status::kOutOfMemory;
    std::atomic<bool> ok{true};
    parallel_for(executor, parts, [&](int64_t part) {
      const Profile profile(scan_);
      if (!profile) {
        ok = false;
        return;
      }
      T* const volume = volumes.get() + part * shape_.voxels;
      for (int64_t i = tubes * part / parts; i < tubes * (part + 1) / parts; ++i) {
        if (all_zero(in + i * values, values)) continue;
        for (int64_t w = 0; w < scan_.rays(); ++w) back_line(i, w, in + i * values, profile, volume);
      }
    });
    if (!ok) return Status::kOutOfMemory;
    shape_.store_sum(volumes.get(), parts, executor, out);
    return Status::kOk;
  }

 private:
  // A number for each slab of a line, and what the last edge between bins left below it.
  class Profile {
   public:
    explicit Profile(const LorScan& scan) : length_(longest(scan)), memory_(scan.tof_bins > 0 ? 2 * length_ : 0) {}
    explicit operator bool() const { return static_cast<bool>(memory_); }
    T* values() const { return memory_.get(); }
    T* below() const { return memory_.get() + length_; }

   private:
    static int64_t longest(const LorScan& scan) { return max_of(scan.nz, max_of(scan.ny, scan.nx)) + 2 * kLanes<T>; }
    int64_t length_;
    Scratch<T> memory_;
  };

  // Whether a line passes by the cylinder around the grid, which costs far less to see than where it would cross it.
  bool passes_by(int64_t i, int64_t w) const {
    const Tube tube = tube_of(scan_, i);
    const RayPlaces places = places_of(scan_, tube.plane, tube.bin, w);
    const T* const numbers = p_.vectors + tube.view * scan_.numbers();
    const T y = numbers[places.at[1]] - center_y_, x = numbers[places.at[2]] - center_x_;
    const T dy = numbers[places.at[4]] - center_y_ - y, dx = numbers[places.at[5]] - center_x_ - x;
    const T area = y * dx - x * dy;
    return area * area > square_radius_ * (dy * dy + dx * dx);
  }

  void forward_line(int64_t i, int64_t w, const T* volume, const Profile& profile, T* values) const {
    if (passes_by(i, w)) return;
    const LorWalk<T> walk = make_walk_of<LorJoseph, T>(p_, grid_, tube_of(scan_, i), w);
    const IndexRange slabs = slabs_of(walk, i);
    if (slabs.empty()) return;
    const SlabRun<T> run(shape_, walk);
    const T scale = walk.ray.step * share_;
    if (scan_.tof_bins > 0 && scan_.kind != Lines::kEvents) {
      for (int32_t k = slabs.begin; k < slabs.end; k += kLanes<T>)
        store(run.read(run.at(k), volume), profile.values() + (k - slabs.begin));
      spread(walk, slabs, scale, profile, values);
      return;
    }
    Number sum(T(0));
    for (int32_t k = slabs.begin; k < slabs.end; k += kLanes<T>) {
      const Number value = run.read(run.at(k), volume);
      sum = sum + (scan_.kind == Lines::kEvents ? value * probability_of_event(walk, i, k) : value);
    }
    values[0] += sum_lanes(sum) * scale;
  }

  void back_line(int64_t i, int64_t w, const T* values, const Profile& profile, T* volume) const {
    if (passes_by(i, w)) return;
    const LorWalk<T> walk = make_walk_of<LorJoseph, T>(p_, grid_, tube_of(scan_, i), w);
    const IndexRange slabs = slabs_of(walk, i);
    if (slabs.empty()) return;
    const SlabRun<T> run(shape_, walk);
    const T scale = walk.ray.step * share_;
    const bool bins = scan_.tof_bins > 0 && scan_.kind != Lines::kEvents;
    if (bins) collect(walk, slabs, values, profile);
    for (int32_t k = slabs.begin; k < slabs.end; k += kLanes<T>) {
      Number value =
          bins ? load_lanes(profile.values() + (k - slabs.begin)) * Number(scale) : Number(values[0] * scale);
      if (scan_.kind == Lines::kEvents) value = value * probability_of_event(walk, i, k);
      run.add(run.at(k), value, volume);
    }
  }

  // Of an event only those that its bin can be reached from.
  IndexRange slabs_of(const LorWalk<T>& walk, int64_t i) const {
    const IndexRange slabs = slabs_between(walk, box_);
    if (slabs.empty() || scan_.kind != Lines::kEvents) return slabs;
    return along(walk).slabs_near(slabs, event_center(i));
  }

  T event_center(int64_t i) const { return p_.vectors[(i + 1) * scan_.numbers() - 1] + static_cast<T>(grid_.offset); }

  TofAlongLine<T> along(const LorWalk<T>& walk) const {
    return {tof_, lanes_tof_, walk.ray.middle, walk.tof_position, walk.tof_per_slab};
  }

  Number probability_of_event(const LorWalk<T>& walk, int64_t i, int32_t k) const {
    return probability(lanes_tof_, along(walk).positions(k), Number(event_center(i)));
  }

  void spread(const LorWalk<T>& walk, IndexRange slabs, T scale, const Profile& profile, T* values) const {
    const auto all = [](int32_t) { return true; };
    along(walk).for_probabilities(slabs, profile.below(), all, [&](int32_t bin, int32_t k, Number factor) {
      values[bin] += sum_lanes(factor * load_lanes(profile.values() + (k - slabs.begin))) * scale;
    });
  }

  void collect(const LorWalk<T>& walk, IndexRange slabs, const T* values, const Profile& profile) const {
    const Number zero(T(0));
    for (int32_t k = slabs.begin; k < slabs.end; k += kLanes<T>) store(zero, profile.values() + (k - slabs.begin));
    const auto wanted = [&](int32_t bin) { return values[bin] != T(0); };
    along(walk).for_probabilities(slabs, profile.below(), wanted, [&](int32_t bin, int32_t k, Number factor) {
      T* const sum = profile.values() + (k - slabs.begin);
      store(load_lanes(sum) + factor * Number(values[bin]), sum);
    });
  }

  const LorProblem<T, T>& p_;
  const LorScan& scan_;
  const PaddedShape<T> shape_;
  const LorGrid<double> grid_;
  const TofKernel<T> tof_;
  const TofKernel<Number> lanes_tof_;
  const VoxelBox box_;
  const T share_;
  T center_y_, center_x_, square_radius_;
};

}  // namespace loops
JAXCT_NAMESPACE_END
