// FFI handlers: decode, check, launch on XLA's stream. Nothing here waits for the device, allocates, or remembers, so a
// call can be recorded in a CUDA graph. What is wrong with the values of a traced geometry only the device knows: such
// views give NaN.
#include "cuda/handlers.h"

#include "cuda/decode.h"
#include "cuda/kernels.h"

namespace jaxct::cuda_ffi {
namespace {

constexpr const char* kTargets[] = {JAXCT_CUDA_TARGETS};

std::string describe(cudaError_t status) {
  std::string text = cudaGetErrorString(status);
  if (status != cudaErrorNoKernelImageForDevice && status != cudaErrorUnsupportedPtxVersion) return text;
  text += "; jaxct was built for";
  for (const char* target : kTargets) text += std::string(" ") + target;
  return text + ". Build it with -C cmake.define.CMAKE_CUDA_ARCHITECTURES=native on this machine";
}

template <Model kModel, Direction kDirection>
ffi::Error handle(cudaStream_t stream, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors, ffi::AnyBuffer grid,
                  ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  return without_exceptions([&] {
    return run_checked(kModel, kDirection, a, in, vectors, grid, *out, *workspace, [&](const cuda::Call& call) {
      const cudaError_t status = cuda::launch<kModel>(call, stream);
      return status == cudaSuccess ? std::string() : describe(status);
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
