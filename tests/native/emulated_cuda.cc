// A Python module in which the CUDA kernels run on the host behind the CUDA handlers' own decoding, as targets for the
// CPU: what Python and XLA do for a CUDA call is then tested end to end on any machine.
#include <nanobind/nanobind.h>

#include "cuda/decode.h"
#include "host_kernels.h"
#include "registrations.h"

namespace {

namespace nb = nanobind;
namespace ffi = xla::ffi;
using namespace jaxct;

std::string run_on_host(const cuda::Call& call) {
  host::run(call);
  return "";
}

template <Model kModel, Direction kDirection, Derivative kDerivative>
ffi::Error project(CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors, ffi::AnyBuffer grid,
                   ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  return cuda_ffi::run_checked(kModel, kDirection, kDerivative, a, in, vectors, grid, *out, *workspace, run_on_host);
}

template <Model kModel>
ffi::Error geometry_gradient(CallAttributes a, ffi::AnyBuffer volume, ffi::AnyBuffer projections,
                             ffi::AnyBuffer vectors, ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> by_vectors,
                             ffi::Result<ffi::AnyBuffer> by_grid, ffi::Result<ffi::AnyBuffer> workspace) {
  return cuda_ffi::run_checked_gradient(kModel, a, volume, projections, vectors, grid, *by_vectors, *by_grid,
                                        *workspace, run_on_host);
}

template <auto kFunction, size_t kOperands, size_t kResults>
struct Target {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    static auto* handler =
        with_buffers<kOperands, kResults>(ffi::Ffi::Bind().Attr<CallAttributes>("scan"))
            .To([](auto... arguments) { return without_exceptions([&] { return kFunction(arguments...); }); })
            .release();
    return handler->Call(frame);
  }
};

template <Model kModel, Direction kDirection>
using Entry = Target<project<kModel, kDirection, Derivative::kNone>, 3, 2>;
template <Model kModel, Direction kDirection>
using TangentEntry = Target<project<kModel, kDirection, Derivative::kTangent>, 3, 2>;
template <Model kModel>
using GradientEntry = Target<geometry_gradient<kModel>, 4, 3>;

}  // namespace

NB_MODULE(emulated_cuda, m) {
  m.def("registrations", [] {
    nb::dict targets;
    for (const auto& [name, handler] : list_handlers<Entry, TangentEntry, GradientEntry>())
      targets[name.c_str()] = nb::capsule(reinterpret_cast<void*>(handler));
    return targets;
  });
}
