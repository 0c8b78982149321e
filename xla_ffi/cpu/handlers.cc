// FFI handlers: decode, check, choose the instruction set, run.
#include "cpu/handlers.h"

#include <string>

#include "abi.h"
#include "core/soundness.h"
#include "cpu/executor.h"
#include "cpu/kernels.h"

namespace jaxct::cpu {
namespace {

namespace ffi = xla::ffi;

bool has_avx2() {
#if defined(JAXCT_HAVE_AVX2)
  return __builtin_cpu_supports("avx2");
#else
  return false;
#endif
}

const Kernels& kernels() {
#if defined(JAXCT_HAVE_AVX2)
  static const bool avx2 = has_avx2();
  if (avx2) return kernels_avx2();
#endif
  return kernels_baseline();
}

Status dispatch(Model model, Direction direction, const Call<float>& call, const Executor& executor) {
  return kernels().run_f32(model, direction, call, executor);
}

Status dispatch(Model model, Direction direction, const Call<double>& call, const Executor& executor) {
  return kernels().run_f64(model, direction, call, executor);
}

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

// Empty where the geometry is sound.
template <typename T>
std::string find_faults(const Scan& scan, const T* vectors, const T* grid_values, Model model) {
  const GridVectors grid = unpack_grid(grid_values);
  if (const Fault fault = find_fault(grid); fault != Fault::kNone) return describe(fault);
  for (int64_t v = 0; v < scan.views; ++v)
    if (const Fault fault = find_fault(scan, unpack_view(vectors + v * 12), grid, is_footprint_model(model));
        fault != Fault::kNone)
      return "view " + std::to_string(v) + " of the geometry " + describe(fault);
  return "";
}

template <typename T>
ffi::Error run_typed(Model model, Direction direction, ffi::ThreadPool pool, const CallAttributes& a, ffi::AnyBuffer in,
                     ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out) {
  const Dimensions result = out->dimensions();
  const auto vector_dims = vectors.dimensions();
  const int64_t views = vector_dims[vector_dims.size() - 3];
  const Scan scan = scan_of(a, views);
  const bool forward = direction == Direction::kForward;
  std::vector<Item> items(static_cast<size_t>(batch_size(result, a.batch_axes)));
  for (size_t i = 0; i < items.size(); ++i) {
    const auto b = static_cast<int64_t>(i);
    const int64_t data = operand_item(b, result, in.dimensions(), a.batch_axes);
    items[i] = {forward ? data : b, forward ? b : data, operand_item(b, result, vector_dims, a.batch_axes),
                operand_item(b, result, grid.dimensions(), a.batch_axes)};
    const bool seen = i > 0 && items[i].vectors == items[i - 1].vectors && items[i].grid == items[i - 1].grid;
    const std::string fault = seen ? ""
                                   : find_faults(scan, vectors.typed_data<T>() + items[i].vectors * views * 12,
                                                 grid.typed_data<T>() + items[i].grid * 6, model);
    if (!fault.empty()) return ffi::Error::InvalidArgument("jaxct: " + fault);
  }
  if (items.empty() || out->element_count() == 0) return ffi::Error::Success();
  const Call<T> call = {views,
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
                        vectors.typed_data<T>(),
                        grid.typed_data<T>(),
                        in.typed_data<T>(),
                        out->typed_data<T>()};
  if (dispatch(model, direction, call, {&pool, &run_on_pool}) == Status::kOutOfMemory)
    return ffi::Error(ffi::ErrorCode::kResourceExhausted,
                      "jaxct: not enough memory for a working copy of the operands");
  return ffi::Error::Success();
}

template <Model kModel, Direction kDirection>
ffi::Error checked(ffi::ThreadPool pool, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                   ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out) {
  if (auto e = check_call(a, kDirection, in.dimensions(), vectors.dimensions(), grid.dimensions(), out->dimensions());
      e.failure())
    return e;
  const ffi::DataType type = out->element_type();
  if (in.element_type() != type || vectors.element_type() != type || grid.element_type() != type)
    return ffi::Error::InvalidArgument("jaxct: operands and result must have one dtype");
  if (type == ffi::F32) return run_typed<float>(kModel, kDirection, pool, a, in, vectors, grid, out);
  if (type == ffi::F64) return run_typed<double>(kModel, kDirection, pool, a, in, vectors, grid, out);
  return ffi::Error::InvalidArgument("jaxct: the CPU operators take float32 and float64");
}

template <Model kModel, Direction kDirection>
ffi::Error handle(ffi::ThreadPool pool, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                  ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out) {
  return without_exceptions([&] { return checked<kModel, kDirection>(pool, a, in, vectors, grid, out); });
}

auto binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Attr<CallAttributes>("scan")
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Ret<ffi::AnyBuffer>();
}

template <Model kModel, Direction kDirection>
struct Entry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    static auto* handler = binding().To(handle<kModel, kDirection>).release();
    return handler->Call(frame);
  }
};

}  // namespace

Handlers handlers() { return list_handlers<Entry>(); }

const char* instruction_set() { return has_avx2() ? "avx2" : "baseline"; }

}  // namespace jaxct::cpu
