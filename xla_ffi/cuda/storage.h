#pragma once
// 16-bit storage types: read and written as bits, computed with in float. Written out for the host too, so that the
// kernels run there in tests.
#include <cstring>

#include "core/dual.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

namespace detail {

JAXCT_HD uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

JAXCT_HD float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace detail

struct Half {
  uint16_t bits;

  JAXCT_HD explicit operator float() const {
#if defined(__CUDA_ARCH__)
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
#else
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16, rest = bits & 0x7fffU;
    if (rest >= 0x7c00U) return detail::float_of(sign | 0x7f800000U | (rest & 0x3ffU) << 13);
    // Exponents are moved by multiplying, which makes subnormal numbers right as well.
    return detail::float_of(sign | detail::bits_of(detail::float_of(rest << 13) * detail::float_of(0x77800000U)));
#endif
  }

  JAXCT_HD static Half from(float x) {
#if defined(__CUDA_ARCH__)
    Half h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(x));
    return h;
#else
    const uint32_t bits = detail::bits_of(x), sign = (bits >> 16) & 0x8000U, magnitude = bits & 0x7fffffffU;
    if (magnitude > 0x7f800000U) return {static_cast<uint16_t>(sign | 0x7e00U)};
    if (magnitude >= 0x477ff000U) return {static_cast<uint16_t>(sign | 0x7c00U)};
    // Below 2^-14 the step is 2^-24: adding 0.5 leaves the rounded multiple in the last bits.
    if (magnitude < 0x38800000U)
      return {static_cast<uint16_t>(sign | (detail::bits_of(detail::float_of(magnitude) + 0.5F) - 0x3f000000U))};
    const uint32_t odd = (magnitude >> 13) & 1U;
    return {static_cast<uint16_t>(sign | ((magnitude - 0x38000000U + 0xfffU + odd) >> 13))};
#endif
  }
};

struct Bfloat16 {
  uint16_t bits;

  JAXCT_HD explicit operator float() const { return detail::float_of(static_cast<uint32_t>(bits) << 16); }

  JAXCT_HD static Bfloat16 from(float x) {
    const uint32_t bits = detail::bits_of(x);
    if ((bits & 0x7fffffffU) > 0x7f800000U) return {static_cast<uint16_t>(bits >> 16 | 0x40U)};
    return {static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16)};
  }
};

// Reads through the read-only cache, in the type that is computed with.
template <typename T, typename Store>
JAXCT_HD T load(const Store* p) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(Store) == 2)
    return static_cast<T>(static_cast<float>(Store{__ldg(&p->bits)}));
  else if constexpr (std::is_same_v<Store, Real<Store>>)
    return static_cast<T>(__ldg(p));
  else
    return {__ldg(&p->value), __ldg(&p->tangent)};
#else
  return static_cast<T>(*p);
#endif
}

// A run of neighbours, in loads of 16 bytes. Runs are aligned to their size.
template <typename T, typename Store, int kRun>
JAXCT_HD void load_run(const Store* p, T (&values)[kRun]) {
#if defined(__CUDA_ARCH__)
  constexpr int kPack = 16 / sizeof(Store);
  static_assert(kRun % kPack == 0, "a run is a whole number of loads");
  JAXCT_UNROLL
  for (int i = 0; i < kRun; i += kPack) {
    const uint4 bits = __ldg(reinterpret_cast<const uint4*>(p + i));
    Store pack[kPack];
    memcpy(pack, &bits, sizeof bits);
    JAXCT_UNROLL
    for (int j = 0; j < kPack; ++j) values[i + j] = static_cast<T>(pack[j]);
  }
#else
  for (int i = 0; i < kRun; ++i) values[i] = static_cast<T>(p[i]);
#endif
}

template <typename To>
struct Rounded {
  template <typename T>
  JAXCT_HD static To from(T x) {
    return To::from(static_cast<float>(x));
  }
};
template <>
struct Rounded<float> {
  JAXCT_HD static float from(float x) { return x; }
};
template <>
struct Rounded<double> {
  JAXCT_HD static double from(double x) { return x; }
};
template <typename T>
struct Rounded<Dual<T>> {
  JAXCT_HD static Dual<T> from(Dual<T> x) { return x; }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
