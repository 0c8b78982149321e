#pragma once
// Time of flight of several slabs at once, in single precision.
#include "core/tof.h"
#include "cpu/lanes.h"

JAXCT_NAMESPACE_BEGIN

// exp(x) for x in [-87, 0]: 2^n by the exponent's bits, the rest, within ln 2 / 2 of zero, by its series.
JAXCT_HD Lanes<float> exp_of(Lanes<float> x) {
  using Number = Lanes<float>;
  const auto n = floor_index(x * Number(1.44269504f) + Number(0.5f));
  const Number whole(n);
  const Number r = (x - whole * Number(0.693359375f)) + whole * Number(2.12194440e-4f);
  Number series(1.0f / 720.0f);
  for (const float c : {1.0f / 120.0f, 1.0f / 24.0f, 1.0f / 6.0f, 0.5f, 1.0f, 1.0f}) series = series * r + Number(c);
  LaneIndices<float> bits((n.v + 127) << 23);
  Number power;
  std::memcpy(&power.v, &bits.v, sizeof power.v);
  return series * power;
}

// Abramowitz and Stegun 7.1.26, within 1.5e-7.
JAXCT_HD Lanes<float> erf_of(Lanes<float> x) {
  using Number = Lanes<float>;
  const Number size = abs_of(x), t = Number(1.0f) / (Number(1.0f) + Number(0.3275911f) * size);
  Number fit(1.061405429f);
  for (const float c : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) fit = fit * t + Number(c);
  const Number square = min_of(size * size, Number(80.0f));
  const Number positive = Number(1.0f) - fit * t * exp_of(-square);
  return select(x < Number(0.0f), -positive, positive);
}

JAXCT_HD Lanes<double> erf_of(Lanes<double> x) {
  for (int lane = 0; lane < kLanes<double>; ++lane) x.v[lane] = std::erf(x.v[lane]);
  return x;
}

template <typename T>
JAXCT_HD TofKernel<Lanes<T>> broadcast(const TofKernel<T>& tof) {
  using Number = Lanes<T>;
  return {Number(tof.per_mm), Number(tof.bin_width), Number(tof.first), Number(tof.reach), Number(tof.scale), tof.bins};
}

// Bins of time of flight along one line, slab by slab.
template <typename T>
struct TofAlongLine {
  using Number = Lanes<T>;

  const TofKernel<T>& tof;
  const TofKernel<Number>& lanes;
  T middle, position, per_slab;  // as LorWalk has them

  // Of slabs [k, k + lanes), in mm from the line's middle.
  Number positions(int32_t k) const {
    const Number offset = Number(lane_numbers<T>() + k) - Number(middle);
    return multiply_add(Number(per_slab), offset, Number(position));
  }

  // The slabs from which a bin with this centre can be reached.
  IndexRange slabs_near(IndexRange slabs, T center) const {
    const T reach = tof.reach / tof.per_mm + T(0.5) * tof.bin_width;
    const T at = middle + (center - position) / per_slab, width = reach / abs_of(per_slab);
    const auto first = static_cast<T>(slabs.begin), last = static_cast<T>(slabs.end);
    const int32_t begin = floor_index(clamp(at - width, first, last)), end = ceil_index(clamp(at + width, first, last));
    return {begin, min_of(end + 1, slabs.end)};
  }

  // visit(bin, k, probability of slabs [k, k + lanes)) for the bins that are wanted(bin), k in steps of lanes from
  // slabs.begin. Every edge between two such bins is asked for once: `below` keeps what lies below it.
  template <typename Wanted, typename Visit>
  void for_probabilities(IndexRange slabs, T* below, Wanted&& wanted, Visit&& visit) const {
    const Number nothing(-T(0.5));
    for (int32_t k = slabs.begin; k < slabs.end; k += kLanes<T>) store(nothing, below + (k - slabs.begin));
    bool known = false;
    for (int32_t bin = 0; bin < tof.bins; ++bin) {
      if (!wanted(bin)) {
        known = false;
        continue;
      }
      const T lower = tof.first + static_cast<T>(bin) * tof.bin_width;
      const IndexRange near = slabs_near(slabs, lower + T(0.5) * tof.bin_width);
      const int32_t first = slabs.begin + (near.begin - slabs.begin) / kLanes<T> * kLanes<T>;
      for (int32_t k = first; k < near.end; k += kLanes<T>) {
        const Number at = positions(k);
        T* const edge = below + (k - slabs.begin);
        const Number before = known ? load_lanes(edge) : part_below(lanes, Number(lower) - at);
        const Number after = part_below(lanes, Number(lower + tof.bin_width) - at);
        store(after, edge);
        visit(bin, k, after - before);
      }
      known = true;
    }
  }
};

JAXCT_NAMESPACE_END
