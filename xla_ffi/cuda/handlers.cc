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

// The kernels of a kind of geometry by its attributes.
template <Model kModel>
auto launcher(const CallAttributes&) {
  return cuda::launch<kModel>;
}
template <Model kModel>
auto launcher(const LorAttributes&) {
  return cuda::launch_lors<kModel>;
}
template <Model kModel>
auto derivative_launcher(const CallAttributes&) {
  return cuda::launch_derivative<kModel>;
}
template <Model kModel>
auto derivative_launcher(const LorAttributes&) {
  return cuda::launch_lor_derivative<kModel>;
}

template <typename Attributes>
struct Entries {
  template <Model kModel, Direction kDirection>
  static ffi::Error project(cudaStream_t stream, Attributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                            ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out,
                            ffi::Result<ffi::AnyBuffer> workspace) {
    return run_checked(kModel, kDirection, Derivative::kNone, a, in, vectors, grid, *out, *workspace,
                       on(stream, launcher<kModel>(a)));
  }

  template <Model kModel, Direction kDirection>
  static ffi::Error project_tangent(cudaStream_t stream, Attributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors,
                                    ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> out,
                                    ffi::Result<ffi::AnyBuffer> workspace) {
    return run_checked(kModel, kDirection, Derivative::kTangent, a, in, vectors, grid, *out, *workspace,
                       on(stream, derivative_launcher<kModel>(a)));
  }

  template <Model kModel>
  static ffi::Error geometry_gradient(cudaStream_t stream, Attributes a, ffi::AnyBuffer volume,
                                      ffi::AnyBuffer projections, ffi::AnyBuffer vectors, ffi::AnyBuffer grid,
                                      ffi::Result<ffi::AnyBuffer> by_vectors, ffi::Result<ffi::AnyBuffer> by_grid,
                                      ffi::Result<ffi::AnyBuffer> workspace) {
    return run_checked_gradient(kModel, a, volume, projections, vectors, grid, *by_vectors, *by_grid, *workspace,
                                on(stream, derivative_launcher<kModel>(a)));
  }

  template <auto kFunction, size_t kOperands, size_t kResults>
  static XLA_FFI_Error* run_handler(XLA_FFI_CallFrame* frame) {
    static auto* handler =
        with_buffers<kOperands, kResults>(
            ffi::Ffi::Bind().Ctx<ffi::PlatformStream<cudaStream_t>>().template Attr<Attributes>("scan"))
            .To([](auto... arguments) { return without_exceptions([&] { return kFunction(arguments...); }); },
                {ffi::Traits::kCmdBufferCompatible})
            .release();
    return handler->Call(frame);
  }

  template <Model kModel, Direction kDirection>
  struct Projection {
    static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
      return run_handler<project<kModel, kDirection>, 3, 2>(frame);
    }
  };

  template <Model kModel, Direction kDirection>
  struct Tangent {
    static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
      return run_handler<project_tangent<kModel, kDirection>, 3, 2>(frame);
    }
  };

  template <Model kModel>
  struct Gradient {
    static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) { return run_handler<geometry_gradient<kModel>, 4, 3>(frame); }
  };
};

}  // namespace

Handlers handlers() {
  using Beams = Entries<CallAttributes>;
  using Lors = Entries<LorAttributes>;
  Handlers all = list_handlers<Beams::Projection, Beams::Tangent, Beams::Gradient>();
  for (const auto& one : list_lor_handlers<Lors::Projection, Lors::Tangent, Lors::Gradient>()) all.push_back(one);
  return all;
}

}  // namespace jaxct::cuda_ffi
