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

template <Model kModel, Direction kDirection>
ffi::Error handle(CallAttributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors, ffi::AnyBuffer grid,
                  ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  return without_exceptions([&] {
    return cuda_ffi::run_checked(kModel, kDirection, a, in, vectors, grid, *out, *workspace,
                                 [](const cuda::Call& call) {
                                   host::run(call);
                                   return std::string();
                                 });
  });
}

template <Model kModel, Direction kDirection>
struct Entry {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    static auto* handler = ffi::Ffi::Bind()
                               .Attr<CallAttributes>("scan")
                               .Arg<ffi::AnyBuffer>()
                               .Arg<ffi::AnyBuffer>()
                               .Arg<ffi::AnyBuffer>()
                               .Ret<ffi::AnyBuffer>()
                               .Ret<ffi::AnyBuffer>()
                               .To(handle<kModel, kDirection>)
                               .release();
    return handler->Call(frame);
  }
};

}  // namespace

NB_MODULE(emulated_cuda, m) {
  m.def("registrations", [] {
    nb::dict targets;
    for (const auto& [name, handler] : list_handlers<Entry>())
      targets[name.c_str()] = nb::capsule(reinterpret_cast<void*>(handler));
    return targets;
  });
}
