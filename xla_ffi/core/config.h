#pragma once
// One set of maths, several compilations: nvcc sees the qualifiers, and each CPU instruction set gets an inline
// namespace of its own, so that the linker never merges an AVX2 body with a baseline one.
#if defined(__CUDACC__)
#define JAXCT_HD __host__ __device__ __forceinline__
#elif defined(__SANITIZE_ADDRESS__)
// With all their checks in one function, compilers take minutes for it.
#define JAXCT_HD inline
#elif defined(__GNUC__) || defined(__clang__)
// A call left in a loop costs more than what it calls.
#define JAXCT_HD inline __attribute__((always_inline))
#else
#define JAXCT_HD inline
#endif

// The same for templates and members so large that a CPU's compiler had better choose what to take into them.
#if defined(__CUDACC__)
#define JAXCT_HD_LARGE JAXCT_HD
#else
#define JAXCT_HD_LARGE
#endif

// Before a loop whose arrays must stay in registers.
#if defined(__CUDACC__)
#define JAXCT_UNROLL _Pragma("unroll")
#else
#define JAXCT_UNROLL
#endif

#ifndef JAXCT_ISA
#define JAXCT_ISA baseline
#endif

#define JAXCT_NAMESPACE_BEGIN \
  namespace jaxct {           \
  inline namespace JAXCT_ISA {
#define JAXCT_NAMESPACE_END \
  }                         \
  }

#include <cstdint>
