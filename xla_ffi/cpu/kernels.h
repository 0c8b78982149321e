#pragma once
// What the handlers and the loops (compiled once per instruction set) say to each other: plain data, no templates of
// the core, whose types differ from one instruction set to the next.
#include <cstdint>

#include "operators.h"

namespace jaxct::cpu {

enum class Status { kOk, kOutOfMemory };

// Runs body(data, task) for every task in [0, tasks), on XLA's pool.
struct Executor {
  void* pool;
  void (*run)(void* pool, int64_t tasks, void (*body)(void* data, int64_t task), void* data);
};

// One call: `batch` independent problems. Item b reads volume / projections / geometry number items[b].*
struct Item {
  int64_t volume, projections, vectors, grid;
  bool sound = true;  // or its derivatives are NaN
};

template <typename T>
struct Call {
  int64_t views, rows, cols, nz, ny, nx, beam, magnification_power;
  bool planar;
  int64_t batch;
  const Item* items;
  const T* vectors;  // (views, 4, 3) each: source or direction, detector centre, row axis, column axis
  const T* grid;     // (2, 3) each: voxel size, centre
  const T* in;
  T* out;
};

// The derivative of a call along a tangent of its geometries.
template <typename T>
struct TangentCall {
  Call<T> call;
  const T* vectors_dot;
  const T* grid_dot;
  const Item* dots;  // of each item of the batch; only vectors and grid
};

// What <projections, A volume> gains from changes of the geometry: `in` of the call is the volume, `out` the gradient
// by the vectors, both it and `grid_bar` one for each item.
template <typename T>
struct GradientCall {
  Call<T> call;
  const T* projections;
  T* grid_bar;
};

// One table per instruction set.
struct Kernels {
  Status (*run_f32)(Model, Direction, const Call<float>&, const Executor&);
  Status (*run_f64)(Model, Direction, const Call<double>&, const Executor&);
  Status (*tangent_f32)(Model, Direction, const TangentCall<float>&, const Executor&);
  Status (*tangent_f64)(Model, Direction, const TangentCall<double>&, const Executor&);
  Status (*gradient_f32)(Model, const GradientCall<float>&, const Executor&);
  Status (*gradient_f64)(Model, const GradientCall<double>&, const Executor&);
};

const Kernels& kernels_baseline();
#if defined(JAXCT_HAVE_AVX2)
const Kernels& kernels_avx2();
#endif

}  // namespace jaxct::cpu
