#pragma once
// Time of flight: with which probability a point of a line falls into a bin.
#include "core/dual.h"

JAXCT_NAMESPACE_BEGIN

template <typename T>
JAXCT_HD T erf_of(T x) {
  return std::erf(x);
}
template <typename T, typename V>
JAXCT_HD Dual<T, V> erf_of(const Dual<T, V>& x) {
  return {std::erf(x.value), x.tangent * (T(1.1283791670955126) * std::exp(-x.value * x.value))};  // 2 / sqrt(pi)
}

// In units of sigma * sqrt(2) along a line, positive towards its end: a Gaussian cut off at `reach` on either side.
template <typename T>
struct TofKernel {
  T per_mm;     // 1 / (sigma * sqrt(2))
  T bin_width;  // mm
  T first;      // lower edge of bin 0, mm
  T reach;
  T scale;  // 1 / (2 erf(reach)): what is not cut off counts as all
  int32_t bins;
};

template <typename T>
JAXCT_HD TofKernel<T> make_tof(T sigma, T bin_width, T offset, double num_sigmas, int64_t bins) {
  const double root = 1.4142135623730951;
  const double reach = num_sigmas / root;
  return {T(1.0 / root) / sigma,
          bin_width,
          offset - T(0.5 * static_cast<double>(bins)) * bin_width,
          T(reach),
          T(0.5 / std::erf(reach)),
          static_cast<int32_t>(bins)};
}

// Of a point at `distance` mm below an edge, the part that lies below the edge.
template <typename T>
JAXCT_HD T part_below(const TofKernel<T>& tof, T distance) {
  return tof.scale * erf_of(clamp(distance * tof.per_mm, -tof.reach, tof.reach));
}

// The bins that a point can fall into.
template <typename T>
JAXCT_HD IndexRange bins_near(const TofKernel<T>& tof, T position) {
  const T reach = tof.reach / tof.per_mm;
  return index_range(value_of((position - reach - tof.first) / tof.bin_width),
                     value_of((position + reach - tof.first) / tof.bin_width), tof.bins);
}

// visit(bin, probability) for each of them.
template <typename T, typename Visit>
JAXCT_HD void for_bins(const TofKernel<T>& tof, T position, Visit&& visit) {
  const IndexRange bins = bins_near(tof, position);
  if (bins.empty()) return;
  const T start = tof.first - position;
  T below = part_below(tof, start + T(bins.begin) * tof.bin_width);
  for (int32_t bin = bins.begin; bin < bins.end; ++bin) {
    const T above = part_below(tof, start + T(bin + 1) * tof.bin_width);
    visit(bin, above - below);
    below = above;
  }
}

// The probability of the bin with this centre.
template <typename T>
JAXCT_HD T probability(const TofKernel<T>& tof, T position, T center) {
  const T half = T(0.5) * tof.bin_width, distance = center - position;
  return part_below(tof, distance + half) - part_below(tof, distance - half);
}

JAXCT_NAMESPACE_END
