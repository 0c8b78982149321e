#pragma once
// Several numbers at once: what a vector register holds. The formulas of core take them as they take a float, so that
// nothing depends on what a compiler recognises as a loop worth vectorising.
#include <cstring>
#include <type_traits>

#include "core/scalar.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

JAXCT_NAMESPACE_BEGIN

#if defined(__AVX2__)
constexpr int kLaneBytes = 32;
#else
constexpr int kLaneBytes = 16;
#endif

template <typename T>
constexpr int kLanes = kLaneBytes / static_cast<int>(sizeof(T));

namespace detail {

template <int size>
struct Integers;
template <>
struct Integers<4> {
  typedef int32_t Vector __attribute__((vector_size(kLaneBytes)));
};
template <>
struct Integers<8> {
  typedef int32_t Vector __attribute__((vector_size(kLaneBytes / 2)));
};

}  // namespace detail

// 32-bit integers that go with Lanes<T>.
template <typename T>
struct LaneIndices {
  using Vector = typename detail::Integers<sizeof(T)>::Vector;
  Vector v;

  LaneIndices() = default;
  JAXCT_HD explicit LaneIndices(int32_t i) { v = Vector{} + i; }
  JAXCT_HD explicit LaneIndices(Vector vector) : v(vector) {}

  JAXCT_HD int32_t operator[](int lane) const { return v[lane]; }
};

template <typename T>
struct Lanes {
  typedef T Vector __attribute__((vector_size(kLaneBytes)));
  Vector v;

  Lanes() = default;
  JAXCT_HD explicit Lanes(Vector vector) : v(vector) {}
  JAXCT_HD explicit Lanes(LaneIndices<T> i) : v(__builtin_convertvector(i.v, Vector)) {}
  template <typename Scalar, typename = std::enable_if_t<std::is_arithmetic_v<Scalar>>>
  JAXCT_HD explicit Lanes(Scalar scalar) : v(static_cast<T>(scalar) - Vector{}) {}

  JAXCT_HD T operator[](int lane) const { return v[lane]; }
};

template <typename T>
struct IndexOf<Lanes<T>> {
  using Type = LaneIndices<T>;
};

template <typename T>
struct Epsilon<Lanes<T>> : Epsilon<T> {};

#define JAXCT_LANEWISE(op)                                                  \
  template <typename T>                                                     \
  JAXCT_HD Lanes<T> operator op(Lanes<T> a, Lanes<T> b) {                   \
    return Lanes<T>(a.v op b.v);                                            \
  }                                                                         \
  template <typename T>                                                     \
  JAXCT_HD LaneIndices<T> operator op(LaneIndices<T> a, LaneIndices<T> b) { \
    return LaneIndices<T>(a.v op b.v);                                      \
  }                                                                         \
  template <typename T>                                                     \
  JAXCT_HD LaneIndices<T> operator op(LaneIndices<T> a, int32_t b) {        \
    return LaneIndices<T>(a.v op b);                                        \
  }
JAXCT_LANEWISE(+)
JAXCT_LANEWISE(-)
JAXCT_LANEWISE(*)
#undef JAXCT_LANEWISE

template <typename T>
JAXCT_HD Lanes<T> operator/(Lanes<T> a, Lanes<T> b) {
  return Lanes<T>(a.v / b.v);
}

template <typename T>
JAXCT_HD Lanes<T> operator-(Lanes<T> a) {
  return Lanes<T>(-a.v);
}
template <typename T>
JAXCT_HD LaneIndices<T> operator-(LaneIndices<T> a) {
  return LaneIndices<T>(-a.v);
}

// The outcome of a comparison, lane by lane: all bits set where it is true.
template <typename Vector>
struct LaneMask {
  Vector v;
};

template <typename Vector>
JAXCT_HD LaneMask<Vector> make_mask(Vector v) {
  return {v};
}

template <typename Vector>
JAXCT_HD LaneMask<Vector> operator&(LaneMask<Vector> a, LaneMask<Vector> b) {
  return {a.v & b.v};
}

#define JAXCT_LANEWISE(Numbers, op)                       \
  template <typename T>                                   \
  JAXCT_HD auto operator op(Numbers<T> a, Numbers<T> b) { \
    return make_mask(a.v op b.v);                         \
  }
JAXCT_LANEWISE(Lanes, <)
JAXCT_LANEWISE(Lanes, >)
JAXCT_LANEWISE(Lanes, >=)
JAXCT_LANEWISE(LaneIndices, <)
JAXCT_LANEWISE(LaneIndices, >)
#undef JAXCT_LANEWISE

template <typename Mask, typename T>
JAXCT_HD Lanes<T> select(LaneMask<Mask> mask, Lanes<T> yes, Lanes<T> no) {
  return Lanes<T>(mask.v ? yes.v : no.v);
}
template <typename Mask, typename T>
JAXCT_HD LaneIndices<T> select(LaneMask<Mask> mask, LaneIndices<T> yes, LaneIndices<T> no) {
  return LaneIndices<T>(__builtin_convertvector(mask.v, typename LaneIndices<T>::Vector) ? yes.v : no.v);
}

// True if the condition holds in some lane.
template <typename Mask>
JAXCT_HD bool any_of(LaneMask<Mask> mask) {
#if defined(__AVX2__)
  if constexpr (sizeof mask == 32) return _mm256_movemask_epi8((__m256i)mask.v) != 0;
#endif
  bool any = false;
  for (size_t lane = 0; lane < sizeof mask.v / sizeof mask.v[0]; ++lane) any = any || mask.v[lane] != 0;
  return any;
}

// As the templates of core define them, NaN included; no compiler finds the instruction in those every time.
#if defined(__AVX2__)
JAXCT_HD Lanes<float> max_of(Lanes<float> a, Lanes<float> b) {
  return Lanes<float>((Lanes<float>::Vector)_mm256_max_ps((__m256)b.v, (__m256)a.v));
}
JAXCT_HD Lanes<float> min_of(Lanes<float> a, Lanes<float> b) {
  return Lanes<float>((Lanes<float>::Vector)_mm256_min_ps((__m256)b.v, (__m256)a.v));
}
JAXCT_HD LaneIndices<float> max_of(LaneIndices<float> a, LaneIndices<float> b) {
  return LaneIndices<float>((LaneIndices<float>::Vector)_mm256_max_epi32((__m256i)a.v, (__m256i)b.v));
}
JAXCT_HD LaneIndices<float> min_of(LaneIndices<float> a, LaneIndices<float> b) {
  return LaneIndices<float>((LaneIndices<float>::Vector)_mm256_min_epi32((__m256i)a.v, (__m256i)b.v));
}
JAXCT_HD Lanes<float> clamp(Lanes<float> x, Lanes<float> lo, Lanes<float> hi) { return min_of(hi, max_of(lo, x)); }
#endif

template <typename T>
JAXCT_HD Lanes<T> abs_of(Lanes<T> x) {
  for (int lane = 0; lane < kLanes<T>; ++lane) x.v[lane] = std::abs(x.v[lane]);
  return x;
}

template <typename T>
JAXCT_HD Lanes<T> sqrt_of(Lanes<T> x) {
  Lanes<T> root;
  for (int lane = 0; lane < kLanes<T>; ++lane) root.v[lane] = std::sqrt(x.v[lane]);
  return root;
}

template <typename T>
JAXCT_HD Lanes<T> cos_of(Lanes<T> x) {
  for (int lane = 0; lane < kLanes<T>; ++lane) x.v[lane] = std::cos(x.v[lane]);
  return x;
}

template <typename T>
JAXCT_HD Lanes<T> sin_of(Lanes<T> x) {
  for (int lane = 0; lane < kLanes<T>; ++lane) x.v[lane] = std::sin(x.v[lane]);
  return x;
}

// To a few units in the last place for floats. The polynomial is a minimax fit of atan(t) / t on [0, tan(pi / 8)],
// where the angle is reduced to by turns of pi / 4.
template <typename T>
JAXCT_HD Lanes<T> angle_of(Lanes<T> y, Lanes<T> x) {
  if constexpr (sizeof(T) != sizeof(float)) {
    Lanes<T> angle;
    for (int lane = 0; lane < kLanes<T>; ++lane) angle.v[lane] = std::atan2(y.v[lane], x.v[lane]);
    return angle;
  } else {
    using Number = Lanes<T>;
    const Number zero(T(0)), tangent(T(0.41421356)), size = abs_of(y);
    const auto half = size > tangent * x, full = tangent * size > x;
    const Number numerator = select(full, -x, select(half, size - x, size));
    const Number denominator = select(full, size, select(half, size + x, x));
    const Number turned = select(full, Number(T(1.57079633)), select(half, Number(T(0.785398163)), zero));
    const Number t = numerator / denominator, z = t * t;
    const Number fit =
        ((Number(T(0.08053721)) * z - Number(T(0.13877678))) * z + Number(T(0.1997771))) * z - Number(T(0.33332949));
    const Number angle = turned + (t + t * z * fit);
    return select(y < zero, -angle, angle);
  }
}

template <typename T>
JAXCT_HD LaneIndices<T> floor_index(Lanes<T> x) {
  const LaneIndices<T> i(__builtin_convertvector(x.v, typename LaneIndices<T>::Vector));
  const auto above = Lanes<T>(i).v > x.v;  // -1 where truncation went up
  return LaneIndices<T>(i.v + __builtin_convertvector(above, typename LaneIndices<T>::Vector));
}

// 0, 1, 2, ...
template <typename T>
JAXCT_HD LaneIndices<T> lane_numbers() {
  LaneIndices<T> i;
  for (int lane = 0; lane < kLanes<T>; ++lane) i.v[lane] = lane;
  return i;
}

template <typename T>
JAXCT_HD Lanes<T> load_lanes(const T* p) {
  Lanes<T> x;
  std::memcpy(&x.v, p, sizeof x.v);
  return x;
}

template <typename T>
JAXCT_HD T sum_lanes(Lanes<T> x) {
  T sum = T(0);
  for (int lane = 0; lane < kLanes<T>; ++lane) sum += x.v[lane];
  return sum;
}

// out[i] = sum_lanes(x[i])
template <typename T>
JAXCT_HD Lanes<T> sum_lanes(const Lanes<T> (&x)[kLanes<T>]) {
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const auto four = [&](int i) {
      const __m256 a = _mm256_hadd_ps((__m256)x[i].v, (__m256)x[i + 1].v);
      return _mm256_hadd_ps(a, _mm256_hadd_ps((__m256)x[i + 2].v, (__m256)x[i + 3].v));
    };
    const __m256 low = four(0), high = four(4);
    const __m256 sum = _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
    return Lanes<T>((typename Lanes<T>::Vector)sum);
  }
#endif
  Lanes<T> sums;
  for (int i = 0; i < kLanes<T>; ++i) sums.v[i] = sum_lanes(x[i]);
  return sums;
}

template <typename T>
JAXCT_HD void store(Lanes<T> x, T* p) {
  std::memcpy(p, &x.v, sizeof x.v);
}

template <typename T>
JAXCT_HD void store(LaneIndices<T> x, int32_t* p) {
  std::memcpy(p, &x.v, sizeof x.v);
}

// table[i] for any i.
template <typename T>
JAXCT_HD Lanes<T> gather(const T* table, LaneIndices<T> i) {
  Lanes<T> x;
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    x.v = (typename Lanes<T>::Vector)_mm256_i32gather_ps(table, (__m256i)i.v, 4);
    return x;
  }
#endif
  for (int lane = 0; lane < kLanes<T>; ++lane) x.v[lane] = table[i.v[lane]];
  return x;
}

// here = table[i] and next = table[i + 1], for any i. Half as many loads as two gathers.
template <typename T>
JAXCT_HD void load_pairs(const T* table, LaneIndices<T> i, Lanes<T>& here, Lanes<T>& next) {
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const auto two = [&](int lane) {
      const auto* const first = reinterpret_cast<const __m64*>(table + i.v[lane]);
      const auto* const second = reinterpret_cast<const __m64*>(table + i.v[lane + 1]);
      return _mm_loadh_pi(_mm_loadl_pi(_mm_setzero_ps(), first), second);
    };
    const __m256 a = _mm256_insertf128_ps(_mm256_castps128_ps256(two(0)), two(4), 1);
    const __m256 b = _mm256_insertf128_ps(_mm256_castps128_ps256(two(2)), two(6), 1);
    here.v = (typename Lanes<T>::Vector)_mm256_shuffle_ps(a, b, 0x88);
    next.v = (typename Lanes<T>::Vector)_mm256_shuffle_ps(a, b, 0xdd);
    return;
  }
#endif
  for (int lane = 0; lane < kLanes<T>; ++lane) {
    here.v[lane] = table[i.v[lane]];
    next.v[lane] = table[i.v[lane] + 1];
  }
}

// How many values a window has.
template <typename T>
constexpr int kWindow = 2 * kLanes<T>;

// table[i] for i in [0, kWindow), all of which can be read. Registers are permuted, which is several times as fast as
// a gather.
template <typename T>
JAXCT_HD Lanes<T> look_up(const T* table, LaneIndices<T> i) {
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const __m256 low = _mm256_loadu_ps(table), high = _mm256_loadu_ps(table + 8);
    const auto index = (__m256i)i.v;
    const __m256 a = _mm256_permutevar8x32_ps(low, index), b = _mm256_permutevar8x32_ps(high, index);
    return Lanes<T>((typename Lanes<T>::Vector)_mm256_blendv_ps(a, b, (__m256)_mm256_slli_epi32(index, 28)));
  }
#endif
  return gather(table, i);
}

// out[4 * lane + k] = in[k][lane]
template <typename T>
JAXCT_HD void store_transposed(const Lanes<T> (&in)[4], T* out) {
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const auto a = (__m256)in[0].v, b = (__m256)in[1].v, c = (__m256)in[2].v, d = (__m256)in[3].v;
    const __m256 low_1 = _mm256_unpacklo_ps(a, b), high_1 = _mm256_unpackhi_ps(a, b);
    const __m256 low_2 = _mm256_unpacklo_ps(c, d), high_2 = _mm256_unpackhi_ps(c, d);
    const __m256 rows[4] = {_mm256_shuffle_ps(low_1, low_2, 0x44), _mm256_shuffle_ps(low_1, low_2, 0xee),
                            _mm256_shuffle_ps(high_1, high_2, 0x44), _mm256_shuffle_ps(high_1, high_2, 0xee)};
    for (int row = 0; row < 4; ++row) {
      _mm_storeu_ps(out + 4 * row, _mm256_castps256_ps128(rows[row]));
      _mm_storeu_ps(out + 4 * (row + 4), _mm256_extractf128_ps(rows[row], 1));
    }
    return;
  }
#endif
  for (int lane = 0; lane < kLanes<T>; ++lane)
    for (int k = 0; k < 4; ++k) out[4 * lane + k] = in[k].v[lane];
}

// out[k][lane] = in[lane][k]
template <typename T>
JAXCT_HD void load_transposed(const T* const (&in)[kLanes<T>], Lanes<T> (&out)[4]) {
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const auto rows = [&](int lane) {
      return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(in[lane])), _mm_loadu_ps(in[lane + 4]), 1);
    };
    const __m256 a = rows(0), b = rows(1), c = rows(2), d = rows(3);
    const __m256 low_1 = _mm256_unpacklo_ps(a, b), high_1 = _mm256_unpackhi_ps(a, b);
    const __m256 low_2 = _mm256_unpacklo_ps(c, d), high_2 = _mm256_unpackhi_ps(c, d);
    using Vector = typename Lanes<T>::Vector;
    out[0].v = (Vector)_mm256_shuffle_ps(low_1, low_2, 0x44);
    out[1].v = (Vector)_mm256_shuffle_ps(low_1, low_2, 0xee);
    out[2].v = (Vector)_mm256_shuffle_ps(high_1, high_2, 0x44);
    out[3].v = (Vector)_mm256_shuffle_ps(high_1, high_2, 0xee);
    return;
  }
#endif
  for (int k = 0; k < 4; ++k) {
    T values[kLanes<T>];
    for (int lane = 0; lane < kLanes<T>; ++lane) values[lane] = in[lane][k];
    out[k] = load_lanes(values);
  }
}

// to[place] += here and to[place + 1] += next, one lane after the other.
template <typename T>
JAXCT_HD void add_pairs(Lanes<T> here, Lanes<T> next, LaneIndices<T> place, T* to) {
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 4) {
    const __m256 low = _mm256_unpacklo_ps((__m256)here.v, (__m256)next.v);
    const __m256 high = _mm256_unpackhi_ps((__m256)here.v, (__m256)next.v);
    const __m128 pairs[4] = {_mm256_castps256_ps128(low), _mm256_castps256_ps128(high), _mm256_extractf128_ps(low, 1),
                             _mm256_extractf128_ps(high, 1)};
    for (int i = 0; i < 4; ++i) {
      auto* const first = reinterpret_cast<__m64*>(to + place.v[2 * i]);
      auto* const second = reinterpret_cast<__m64*>(to + place.v[2 * i + 1]);
      _mm_storel_pi(first, _mm_add_ps(_mm_loadl_pi(_mm_setzero_ps(), first), pairs[i]));
      const __m128 upper = _mm_loadl_pi(_mm_setzero_ps(), second);
      _mm_storel_pi(second, _mm_add_ps(upper, _mm_movehl_ps(pairs[i], pairs[i])));
    }
    return;
  }
#endif
  for (int lane = 0; lane < kLanes<T>; ++lane) {
    to[place.v[lane]] += here.v[lane];
    to[place.v[lane] + 1] += next.v[lane];
  }
}

JAXCT_NAMESPACE_END
