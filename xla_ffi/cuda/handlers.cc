// FFI handlers: decode, check, launch on XLA's stream. Nothing here waits for the device, allocates, or remembers, so a
// call can be recorded in a CUDA graph. What is wrong with the values of a traced geometry only the device knows: such
// views give NaN.
#include "cuda/handlers.h"

#include "cuda/decode.h"
#include "cuda/kernels.h"
#include "cuda/lor_decode.h"
#include "cuda/lor_launch.h"

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

// Runs a call on a stream, and says what went wrong.
template <typename Call>
auto on(cudaStream_t stream, cudaError_t (*launch)(const Call&, cudaStream_t)) {
  return [=](const Call& call) {
    const cudaError_t status = launch(call, stream);
    return status == cudaSuccess ? std::string() : describe(status);
  };
}

template <Model kModel, Direction kDirection>
ffi::Error project(cudaStream_t stream, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                   ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  return run_checked(kModel, kDirection, Derivative::kNone, a, in, vectors, grid, *out, *workspace,
                     on(stream, cuda::launch<kModel>));
}

template <Model kModel, Direction kDirection>
ffi::Error project_tangent(cudaStream_t stream, CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                           ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out,
                           ffi::Result<ffi::AnyBuffer> workspace) {
  return run_checked(kModel, kDirection, Derivative::kTangent, a, in, vectors, grid, *out, *workspace,
                     on(stream, cuda::launch_derivative<kModel>));
}

template <Model kModel>
ffi::Error geometry_gradient(cudaStream_t stream, CallAttributes a, ffi::AnyBuffer volume, ffi::AnyBuffer projections,
                             ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> by_vectors,
                             ffi::Result<ffi::AnyBuffer> by_grid, ffi::Result<ffi::AnyBuffer> workspace) {
  return run_checked_gradient(kModel, a, volume, projections, vectors, grid, *by_vectors, *by_grid, *workspace,
                              on(stream, cuda::launch_derivative<kModel>));
}

template <Model kModel, Direction kDirection>
ffi::Error project_lors(cudaStream_t stream, LorAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                        ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  return run_checked(kModel, kDirection, Derivative::kNone, a, in, vectors, grid, *out, *workspace,
                     on(stream, cuda::launch_lors<kModel>));
}

template <Model kModel, Direction kDirection>
ffi::Error project_lor_tangent(cudaStream_t stream, LorAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                               ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out,
                               ffi::Result<ffi::AnyBuffer> workspace) {
  return run_checked(kModel, kDirection, Derivative::kTangent, a, in, vectors, grid, *out, *workspace,
                     on(stream, cuda::launch_lor_derivative<kModel>));
}

template <Model kModel>
ffi::Error lor_gradient(cudaStream_t stream, LorAttributes a, ffi::AnyBuffer volume, ffi::AnyBuffer projections,
                        ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> by_vectors,
                        ffi::Result<ffi::AnyBuffer> by_grid, ffi::Result<ffi::AnyBuffer> workspace) {
  return run_checked_gradient(kModel, a, volume, projections, vectors, grid, *by_vectors, *by_grid, *workspace,
                              on(stream, cuda::launch_lor_derivative<kModel>));
}

template <typename Attributes, auto kFunction, size_t kOperands, size_t kResults>
XLA_FFI_Error* run_handler(XLA_FFI_CallFrame* frame) {
  static auto* handler =
      with_buffers<kOperands, kResults>(
          ffi::Ffi::Bind().Ctx<ffi::PlatformStream<cudaStream_t>>().Attr<Attributes>("scan"))
          .To([](auto... arguments) { return without_exceptions([&] { return kFunction(arguments...); }); },
              {ffi::Traits::kCmdBufferCompatible})
          .release();
  return handler->Call(frame);
}

template <Model kModel, Direction kDirection>
struct Entry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    return run_handler<CallAttributes, project<kModel, kDirection>, 3, 2>(frame);
  }
};

template <Model kModel, Direction kDirection>
struct TangentEntry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    return run_handler<CallAttributes, project_tangent<kModel, kDirection>, 3, 2>(frame);
  }
};

template <Model kModel>
struct GradientEntry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    return run_handler<CallAttributes, geometry_gradient<kModel>, 4, 3>(frame);
  }
};

template <Model kModel, Direction kDirection>
struct LorEntry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    return run_handler<LorAttributes, project_lors<kModel, kDirection>, 3, 2>(frame);
  }
};

template <Model kModel, Direction kDirection>
struct LorTangentEntry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    return run_handler<LorAttributes, project_lor_tangent<kModel, kDirection>, 3, 2>(frame);
  }
};

template <Model kModel>
struct LorGradientEntry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    return run_handler<LorAttributes, lor_gradient<kModel>, 4, 3>(frame);
  }
};

}  // namespace

Handlers handlers() {
  Handlers all = list_handlers<Entry, TangentEntry, GradientEntry>();
  for (const auto& one : list_lor_handlers<LorEntry, LorTangentEntry, LorGradientEntry>()) all.push_back(one);
  return all;
}

}  // namespace jaxct::cuda_ffi
