// FFI handlers of beams, and the list of all.
#include "cpu/handlers.h"

#include <string>

#include "core/soundness.h"
#include "cpu/entries.h"

namespace jaxct::cpu {
namespace {

std::string describe(Fault fault) {
  switch (fault) {
    case Fault::kNone:
      return "";
    case Fault::kGrid:
      return "the grid's voxel_size must be positive and finite and its center finite";
    case Fault::kNotFinite:
      return "is not finite";
    case Fault::kDegenerate:
      return "is degenerate: its rays do not cross the detector's plane";
    case Fault::kSourceInside:
      return "has its source inside the volume";
    case Fault::kNotTangent:
      return "has a curved detector whose column axis is not tangent to the arc about the source";
    case Fault::kRowsFarFromZ:
      return "has a detector row axis too far from z for a footprint model; use model='joseph'";
  }
  return "";
}

struct Beams {
  using Attributes = CallAttributes;
  template <typename T>
  using TangentCall = cpu::TangentCall<T>;
  template <typename T>
  using GradientCall = cpu::GradientCall<T>;

  static constexpr int64_t kGridNumbers = 6;
  static int64_t numbers(const CallAttributes&) { return 12; }
  static int64_t views(Dimensions vectors) { return vectors[vectors.size() - 3]; }

  static const Kernels& kernels() {
#if defined(JAXCT_HAVE_AVX2)
    static const bool avx2 = has_avx2();
    if (avx2) return kernels_avx2();
#endif
    return kernels_baseline();
  }

  template <typename T>
  static std::string find_faults(Model model, const CallAttributes& a, int64_t views, const T* vectors,
                                 const T* grid_values) {
    const Scan scan = scan_of(a, views);
    const GridVectors grid = unpack_grid(grid_values);
    if (const Fault fault = find_fault(grid); fault != Fault::kNone) return describe(fault);
    for (int64_t v = 0; v < views; ++v)
      if (const Fault fault = find_fault(scan, unpack_view(vectors + v * 12), grid, is_footprint_model(model));
          fault != Fault::kNone)
        return "view " + std::to_string(v) + " of the geometry " + describe(fault);
    return "";
  }

  template <typename T>
  static Call<T> make_call(const CallAttributes& a, int64_t views, const std::vector<Item>& items, const T* vectors,
                           const T* grid, const T* in, T* out) {
    return {views,
            a.rows,
            a.cols,
            a.nz,
            a.ny,
            a.nx,
            a.beam,
            a.magnification_power,
            a.planar != 0,
            static_cast<int64_t>(items.size()),
            items.data(),
            vectors,
            grid,
            in,
            out};
  }

  static ffi::Error check_tangent(const CallAttributes& a, Dimensions vectors, Dimensions grid, int64_t views,
                                  Dimensions result) {
    if (auto e = check_operand("tangent of vectors", vectors, {views, 4, 3}, result, a.batch_axes); e.failure())
      return e;
    return check_operand("tangent of grid", grid, {2, 3}, result, a.batch_axes);
  }
};

}  // namespace

Handlers handlers() {
  using Entry = Entries<Beams>;
  Handlers all = list_handlers<Entry::Projection, Entry::Tangent, Entry::Gradient>();
  for (auto& handler : lor_handlers()) all.push_back(std::move(handler));
  return all;
}

const char* instruction_set() { return has_avx2() ? "avx2" : "baseline"; }

}  // namespace jaxct::cpu
