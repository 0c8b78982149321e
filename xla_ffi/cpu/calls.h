#pragma once
// What the CPU's handlers have in common.
#include <initializer_list>

#include "abi.h"
#include "cpu/executor.h"
#include "cpu/kernels.h"

namespace jaxct::cpu {

namespace ffi = xla::ffi;

inline bool has_avx2() {
#if defined(JAXCT_HAVE_AVX2)
  return __builtin_cpu_supports("avx2");
#else
  return false;
#endif
}

inline ffi::Error error_of(Status status) {
  if (status == Status::kOk) return ffi::Error::Success();
  return ffi::Error(ffi::ErrorCode::kResourceExhausted, "jaxct: not enough memory for a working copy of the operands");
}

// run(T()) for the type that all buffers have.
template <typename Run>
ffi::Error with_type(std::initializer_list<ffi::DataType> types, Run&& run) {
  const ffi::DataType type = *types.begin();
  for (const ffi::DataType other : types)
    if (other != type) return ffi::Error::InvalidArgument("jaxct: operands and result must have one dtype");
  if (type == ffi::F32) return run(float());
  if (type == ffi::F64) return run(double());
  return ffi::Error::InvalidArgument("jaxct: the CPU operators take float32 and float64");
}

}  // namespace jaxct::cpu
