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

JAXCT_NAMESPACE_END
