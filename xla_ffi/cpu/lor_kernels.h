#pragma once
// As kernels.h, for lines of response.
#include "cpu/kernels.h"

namespace jaxct::cpu {

// One call: `batch` independent problems, see Item. `projections` are in or out, as the direction says.
template <typename T>
struct LorCall {
  int64_t kind, views, planes, bins, axial_rays, tangential_rays, tof_bins, nz, ny, nx;
  double num_sigmas;
  int64_t batch;
  const Item* items;
  const T* vectors;
  const T* grid;
  const T* in;
  T* out;
};

template <typename T>
struct LorTangentCall {
  LorCall<T> call;
  const T* vectors_dot;
  const T* grid_dot;
  const Item* dots;
};

template <typename T>
struct LorGradientCall {
  LorCall<T> call;
  const T* projections;
  T* grid_bar;
};

struct LorKernels {
  Status (*run_f32)(Model, Direction, const LorCall<float>&, const Executor&);
  Status (*run_f64)(Model, Direction, const LorCall<double>&, const Executor&);
  Status (*tangent_f32)(Model, Direction, const LorTangentCall<float>&, const Executor&);
  Status (*tangent_f64)(Model, Direction, const LorTangentCall<double>&, const Executor&);
  Status (*gradient_f32)(Model, const LorGradientCall<float>&, const Executor&);
  Status (*gradient_f64)(Model, const LorGradientCall<double>&, const Executor&);
};

const LorKernels& lor_kernels_baseline();
#if defined(JAXCT_HAVE_AVX2)
const LorKernels& lor_kernels_avx2();
#endif

}  // namespace jaxct::cpu
