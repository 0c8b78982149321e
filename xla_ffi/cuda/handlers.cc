// FFI handlers: decode, check, launch on XLA's stream. Nothing here waits for the device, allocates, or remembers, so a
// call can be recorded in a CUDA graph. What is wrong with the values of a traced geometry only the device knows: such
// views give NaN.
#include "cuda/handlers.h"

#include <string>

#include "abi.h"
#include "cuda/kernels.h"

namespace jaxct::cuda_ffi {
namespace {

namespace ffi = xla::ffi;
using cuda::Call;

bool find_type(ffi::DataType type, DataType& found) {
  switch (type) {
    case ffi::F32:
      found = DataType::kFloat32;
      return true;
    case ffi::F64:
      found = DataType::kFloat64;
      return true;
    case ffi::F16:
      found = DataType::kFloat16;
      return true;
    case ffi::BF16:
      found = DataType::kBfloat16;
      return true;
    default:
      return false;
  }
}

cudaError_t launch(const Call& call, cudaStream_t stream) {
  switch (call.model) {
    case Model::kJoseph:
      return cuda::launch_joseph(call, stream);
    case Model::kSiddon:
      return cuda::launch_siddon(call, stream);
    case Model::kSeparableFootprint:
      return cuda::launch_separable_footprint(call, stream);
    case Model::kDistanceDriven:
      return cuda::launch_distance_driven(call, stream);
    case Model::kVoxelDriven:
      return cuda::launch_voxel_driven(call, stream);
  }
  return cudaErrorInvalidValue;
}

// Types of a call: 16-bit data have their geometry in float32.
ffi::Error check_types(ffi::AnyBuffer in, ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::AnyBuffer out,
                       DataType& type) {
  if (!find_type(out.element_type(), type) || in.element_type() != out.element_type())
    return ffi::Error::InvalidArgument(
        "jaxct: input and result must have one dtype: float32, float64, float16 or bfloat16");
  const ffi::DataType geometry = type == DataType::kFloat64 ? ffi::F64 : ffi::F32;
  if (vectors.element_type() != geometry || grid.element_type() != geometry)
    return ffi::Error::InvalidArgument("jaxct: vectors and grid must be float64 for float64 data, float32 otherwise");
  return ffi::Error::Success();
}

template <Model kModel, Direction kDirection>
ffi::Error checked(cudaStream_t stream, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                   ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  const Dimensions result = out->dimensions(), vector_dims = vectors.dimensions();
  if (auto e = check_call(a, kDirection, in.dimensions(), vector_dims, grid.dimensions(), result); e.failure())
    return e;
  Call call{};
  if (auto e = check_types(in, vectors, grid, *out, call.type); e.failure()) return e;
  if (a.batch_axes > kMaxBatchAxes)
    return ffi::Error::InvalidArgument("jaxct: at most " + std::to_string(kMaxBatchAxes) +
                                       " nested vmaps are supported on CUDA, got " + std::to_string(a.batch_axes));
  call.model = kModel;
  call.direction = kDirection;
  call.fast = a.fast != 0;
  call.scan = scan_of(a, vector_dims[vector_dims.size() - 3]);
  call.items = plan_batch(call.scan.planar, static_cast<int>(a.batch_axes), in.dimensions().begin(),
                          vector_dims.begin(), grid.dimensions().begin());
  call.in = in.untyped_data();
  call.vectors = vectors.untyped_data();
  call.grid = grid.untyped_data();
  call.out = out->untyped_data();
  call.workspace = workspace->untyped_data();
  const int64_t needed = plan_workspace(call.request()).bytes;
  if (static_cast<int64_t>(workspace->size_bytes()) < needed)
    return ffi::Error::InvalidArgument("jaxct: the call needs a workspace of " + std::to_string(needed) +
                                       " bytes, got " + std::to_string(workspace->size_bytes()));
  if (out->element_count() == 0) return ffi::Error::Success();
  if (const cudaError_t status = launch(call, stream); status != cudaSuccess)
    return ffi::Error::Internal(std::string("jaxct: CUDA launch failed: ") + cudaGetErrorString(status));
  return ffi::Error::Success();
}

template <Model kModel, Direction kDirection>
ffi::Error handle(cudaStream_t stream, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors, ffi::AnyBuffer grid,
                  ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  return without_exceptions([&] { return checked<kModel, kDirection>(stream, a, in, vectors, grid, out, workspace); });
}

auto binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::PlatformStream<cudaStream_t>>()
      .Attr<CallAttributes>("scan")
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Ret<ffi::AnyBuffer>()
      .Ret<ffi::AnyBuffer>();
}

template <Model kModel, Direction kDirection>
struct Entry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    static auto* handler = binding().To(handle<kModel, kDirection>, {ffi::Traits::kCmdBufferCompatible}).release();
    return handler->Call(frame);
  }
};

}  // namespace

Handlers handlers() { return list_handlers<Entry>(); }

}  // namespace jaxct::cuda_ffi
