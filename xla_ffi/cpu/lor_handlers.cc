// FFI handlers of lines of response.
#include "cpu/lor_kernels.h"

#include <cmath>
#include <string>

#include "cpu/entries.h"
#include "cpu/handlers.h"
#include "lor_abi.h"

namespace jaxct::cpu {
namespace {

struct LinesOfResponse {
  using Attributes = LorAttributes;
  template <typename T>
  using TangentCall = LorTangentCall<T>;
  template <typename T>
  using GradientCall = LorGradientCall<T>;

  static constexpr int64_t kGridNumbers = kLorGridNumbers;
  static int64_t numbers(const LorAttributes& a) { return scan_of(a, 1).numbers(); }
  static int64_t views(Dimensions vectors) { return num_views(vectors); }

  static const LorKernels& kernels() {
#if defined(JAXCT_HAVE_AVX2)
    static const bool avx2 = has_avx2();
    if (avx2) return lor_kernels_avx2();
#endif
    return lor_kernels_baseline();
  }

  template <typename T>
  static std::string find_faults(Model, const LorAttributes& a, int64_t views, const T* vectors, const T* grid) {
    for (int i = 0; i < 3; ++i)
      if (!(grid[i] > T(0)) || !std::isfinite(grid[i]) || !std::isfinite(grid[3 + i]))
        return "the grid's voxel_size must be positive and finite and its center finite";
    if (a.tof_bins > 0 && !(grid[6] > T(0) && grid[7] > T(0) && std::isfinite(grid[6]) && std::isfinite(grid[7]) &&
                            std::isfinite(grid[8])))
      return "tof must have a positive sigma and bin_width and a finite center_offset";
    const int64_t count = numbers(a);
    const auto is_unsound = [&](int64_t v) {
      bool all = true;
      for (int64_t i = 0; i < count; ++i) all &= std::abs(vectors[v * count + i]) < T(HUGE_VAL);
      return !all;
    };
    for (int64_t v = 0; v < views; ++v)
      if (is_unsound(v)) return "view " + std::to_string(v) + " of the geometry is not finite";
    return "";
  }

  template <typename T>
  static LorCall<T> make_call(const LorAttributes& a, int64_t views, const std::vector<Item>& items, const T* vectors,
                              const T* grid, const T* in, T* out) {
    return {a.kind,       views,   a.planes, a.bins, a.axial_rays, a.tangential_rays,
            a.tof_bins,   a.nz,    a.ny,     a.nx,   a.num_sigmas, static_cast<int64_t>(items.size()),
            items.data(), vectors, grid,     in,     out};
  }

  static ffi::Error check_tangent(const LorAttributes& a, Dimensions vectors, Dimensions grid, int64_t views,
                                  Dimensions result) {
    if (auto e = check_geometry(a, vectors, grid, result); e.failure()) return e;
    if (num_views(vectors) == views) return ffi::Error::Success();
    return ffi::Error::InvalidArgument("jaxct: vectors and their tangent must have the same number of views");
  }
};

}  // namespace

Handlers lor_handlers() {
  using Entry = Entries<LinesOfResponse>;
  return list_lor_handlers<Entry::Projection, Entry::Tangent, Entry::Gradient>();
}

}  // namespace jaxct::cpu
