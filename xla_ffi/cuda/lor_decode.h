#pragma once
// What decode.h has to know of lines of response.
#include "cuda/decode.h"
#include "cuda/lor_call.h"
#include "lor_abi.h"

namespace jaxct::cuda_ffi {

template <>
struct Decoding<LorAttributes> {
  using Call = cuda::LorCall;

  static ffi::Error take_types(Buffers data, Buffers geometry, Call& call) {
    const ffi::DataType type = data.begin()->element_type();
    call.wide = type == ffi::F64;
    if ((call.wide || type == ffi::F32) && all_are(type, data) && all_are(type, geometry)) return ffi::Error::Success();
    return ffi::Error::InvalidArgument("jaxct: operands and results must be all float32 or all float64, got " +
                                       type_names(data) + ", " + type_names(geometry));
  }

  static void take_attributes(const LorAttributes& a, Dimensions vectors, Call& call) {
    call.scan = scan_of(a, num_views(vectors));
  }

  static bool as_slices(const Call&) { return false; }
};

}  // namespace jaxct::cuda_ffi
