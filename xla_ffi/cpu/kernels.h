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

// One table per instruction set.
struct Kernels {
  Status (*run_f32)(Model, Direction, const Call<float>&, const Executor&);
  Status (*run_f64)(Model, Direction, const Call<double>&, const Executor&);
};

const Kernels& kernels_baseline();
#if defined(JAXCT_HAVE_AVX2)
const Kernels& kernels_avx2();
#endif

}  // namespace jaxct::cpu
