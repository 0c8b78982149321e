#pragma once
// One item of a call, unpacked: the prepared views and where its data lie.
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "core/view.h"
#include "cpu/kernels.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

using jaxct::cpu::Call;
using jaxct::cpu::Executor;
using jaxct::cpu::Item;
using jaxct::cpu::Status;

// Zeroed memory for the length of a call, aligned for any vector register; null when there is none. calloc and not
// std::vector: standard templates instantiated here could be merged with a baseline copy by the linker. Large pieces
// are asked for in large pages, where the system has them: partial volumes are cleared anew in every call, and that
// many faults of small pages cost as much as what goes into them.
template <typename T>
class Scratch {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit Scratch(int64_t count)
      : bytes_(static_cast<size_t>(count > 0 ? count : 1) * sizeof(T) + kAlignment), memory_(allocate(bytes_)) {}
  ~Scratch() {
#if defined(MADV_HUGEPAGE)
    if (bytes_ >= kLarge) {
      if (memory_ != nullptr) munmap(memory_, bytes_);
      return;
    }
#endif
    std::free(memory_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  explicit operator bool() const { return memory_ != nullptr; }
  T* get() const {
    const auto address = reinterpret_cast<uintptr_t>(memory_) + kAlignment;
    return reinterpret_cast<T*>(address - address % kAlignment);
  }

 private:
  static constexpr size_t kAlignment = 64, kLarge = size_t{1} << 23;

  static void* allocate(size_t bytes) {
#if defined(MADV_HUGEPAGE)
    if (bytes >= kLarge) {
      void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) return nullptr;
      madvise(memory, bytes, MADV_HUGEPAGE);
      return memory;
    }
#endif
    return std::calloc(bytes, 1);
  }

  size_t bytes_;
  void* memory_;
};

template <typename Body>
void parallel_for(const Executor& executor, int64_t tasks, Body body) {
  executor.run(executor.pool, tasks, [](void* data, int64_t task) { (*static_cast<Body*>(data))(task); }, &body);
}

// Views are of another number than the data where the operator's derivative is wanted: of Dual<T>.
template <typename T, typename Number = T>
struct Problem {
  Scan scan;
  const View<Number>* views;
  const T* in;
  T* out;
};

template <typename T>
Scan scan_of(const Call<T>& call) {
  return {call.views,
          call.rows,
          call.cols,
          call.nz,
          call.ny,
          call.nx,
          static_cast<Beam>(call.beam),
          call.planar,
          call.magnification_power};
}

template <typename T>
void prepare_views(const Call<T>& call, const Item& item, View<T>* views) {
  const Scan scan = scan_of(call);
  const GridVectors grid = unpack_grid(call.grid + item.grid * 6);
  const T* vectors = call.vectors + item.vectors * call.views * 12;
  for (int64_t v = 0; v < call.views; ++v) views[v] = make_view<T>(scan, unpack_view(vectors + v * 12), grid);
}

// Voxel columns.
struct Rectangle {
  int64_t y_begin, y_end, x_begin, x_end;

  int64_t width() const { return x_end - x_begin; }
  int64_t size() const { return (y_end - y_begin) * width(); }
};

inline int64_t tiles(int64_t n, int64_t size) { return (n + size - 1) / size; }

// Part `band` of the detector's columns, of `bands`.
inline IndexRange band_of(const Scan& scan, int64_t band, int64_t bands) {
  return {static_cast<int32_t>(scan.cols * band / bands), static_cast<int32_t>(scan.cols * (band + 1) / bands)};
}

// The grid cut into squares of columns.
inline int64_t num_tiles(const Scan& scan, int64_t size) { return tiles(scan.ny, size) * tiles(scan.nx, size); }

inline Rectangle tile_of(const Scan& scan, int64_t size, int64_t number) {
  const int64_t across = tiles(scan.nx, size), y = number / across * size, x = number % across * size;
  return {y, min_of(scan.ny, y + size), x, min_of(scan.nx, x + size)};
}

}  // namespace loops
JAXCT_NAMESPACE_END
