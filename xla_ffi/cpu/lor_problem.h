#pragma once
// One item of a call on lines of response, unpacked.
#include "core/lor_tubes.h"
#include "cpu/lor_kernels.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

using jaxct::cpu::LorCall;
using jaxct::cpu::LorGradientCall;
using jaxct::cpu::LorTangentCall;

template <typename T>
LorScan scan_of(const LorCall<T>& c) {
  return {static_cast<Lines>(c.kind),
          c.views,
          c.planes,
          c.bins,
          c.axial_rays,
          c.tangential_rays,
          c.tof_bins,
          c.nz,
          c.ny,
          c.nx,
          c.num_sigmas};
}

}  // namespace loops
JAXCT_NAMESPACE_END
