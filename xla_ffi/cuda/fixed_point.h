#pragma once
// Sums of many threads' numbers, as 64-bit integers: their additions give the same bits in any order. The unit is the
// smallest power of two with which a bound for every sum cannot overflow, so that a number is off by no more than 2^-61
// of that bound: of 10^9 tubes that weigh about the same, a voxel's sum by less than 10^-9 of itself. What is not
// finite has no integer: it marks the sum instead.
#include <cmath>

#include "core/scalar.h"
#include "cuda/launch.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// Bounds come times this, so that those of large numbers stay finite.
constexpr double kBoundFactor = 1.0 / 18446744073709551616.0;  // 2^-64

// Two factors, because one would not do for the smallest numbers.
template <typename T>
struct FixedScale {
  T up[2];
  double down;
};

// For sums of magnitudes below `bound` / kBoundFactor, in a few units in the last place of T.
template <typename T>
JAXCT_HD FixedScale<T> make_fixed_scale(double bound) {
  constexpr int kMost = sizeof(T) == 8 ? 1000 : 250;
  int exponent = 0;
  std::frexp(bound, &exponent);  // bound < 2^exponent
  // 62 bits, one of them for rounding.
  const int shift = bound > 0.0 ? max_of(-kMost, min_of(61 - (exponent + 64), kMost)) : 0;
  const int half = shift / 2;
  return {{std::ldexp(T(1), half), std::ldexp(T(1), shift - half)}, std::ldexp(1.0, -shift)};
}

JAXCT_HD void add_atomically(uint64_t* to, int64_t x) {
#if defined(__CUDA_ARCH__)
  static_assert(sizeof(unsigned long long) == sizeof(uint64_t));
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(x));
#else
  *to += static_cast<uint64_t>(x);
#endif
}

JAXCT_HD void set_atomically(uint32_t* to, uint32_t bits) {
#if defined(__CUDA_ARCH__)
  atomicOr(to, bits);
#else
  *to |= bits;
#endif
}

// All zero before.
struct FixedSums {
  uint64_t* sums;
  uint32_t* wild;  // a bit each: something that is not finite belongs to it

  template <typename T>
  JAXCT_HD void add(int64_t at, T x, const FixedScale<T>& scale) const {
    constexpr T kLimit = T(4611686018427387904.0);  // 2^62
    const T scaled = x * scale.up[0] * scale.up[1];
    if (!(std::abs(scaled) < kLimit)) {
      set_atomically(wild + at / 32, uint32_t{1} << (at % 32));
      return;
    }
    const auto whole = static_cast<int64_t>(std::llrint(scaled));
    if (whole != 0) add_atomically(sums + at, whole);
  }

  JAXCT_HD double get(int64_t at, double down) const {
    if ((wild[at / 32] >> (at % 32) & 1U) != 0) return not_a_number<double>();
    return static_cast<double>(static_cast<int64_t>(sums[at])) * down;
  }
};

template <typename T>
struct ChooseScale {
  static constexpr int kThreads = 32, kBlocksPerMultiprocessor = 1;

  const double* bound;
  FixedScale<T>* scale;

  JAXCT_HD int64_t blocks() const { return 1; }
  JAXCT_HD void operator()(int64_t, int thread) const {
    if (thread == 0) *scale = make_fixed_scale<T>(*bound);
  }
};

// To numbers; all of them NaN where `unsound` is set.
template <typename T>
struct RoundSums {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = 1;

  int64_t size;
  FixedSums from;
  const FixedScale<T>* scale;
  const uint32_t* unsound;
  T* to;

  JAXCT_HD int64_t blocks() const { return tiles(size, kThreads); }
  JAXCT_HD void operator()(int64_t block, int thread) const {
    const int64_t at = block * kThreads + thread;
    if (at < size) to[at] = *unsound != 0 ? not_a_number<T>() : static_cast<T>(from.get(at, scale->down));
  }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
