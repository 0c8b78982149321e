// FFI handlers: decode, check, launch on XLA's stream. Nothing here waits for the device, allocates, or remembers, so a
// call can be recorded in a CUDA graph. What is wrong with the values of a traced geometry only the device knows: such
// views give NaN.
#include "cuda/handlers.h"

#include "cuda/decode.h"
#include "cuda/kernels.h"

namespace jaxct::cuda_ffi {
namespace {

using cuda::Call;

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

template <Model kModel, Direction kDirection>
ffi::Error handle(cudaStream_t stream, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors, ffi::AnyBuffer grid,
                  ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  return without_exceptions([&] {
    return run_checked(kModel, kDirection, a, in, vectors, grid, *out, *workspace, [&](const Call& call) {
      const cudaError_t status = launch(call, stream);
      return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
    });
  });
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
