// A Python module in which the CUDA kernels run on the host behind the CUDA handlers' own decoding, as targets for the
// CPU: what Python and XLA do for a CUDA call is then tested end to end on any machine.
#include <nanobind/nanobind.h>

#include "cuda/lor_decode.h"
#include "host_kernels.h"
#include "registrations.h"

namespace {

namespace nb = nanobind;
namespace ffi = xla::ffi;
using namespace jaxct;

// Of either kind.
constexpr auto run_on_host = [](const auto& call) {
  host::run(call);
  return std::string();
};

template <typename Attributes, Model kModel, Direction kDirection, Derivative kDerivative>
ffi::Error project(Attributes a, ffi::AnyBuffer in, ffi::AnyBuffer vectors, ffi::AnyBuffer grid,
                   ffi::Result<ffi::AnyBuffer> out, ffi::Result<ffi::AnyBuffer> workspace) {
  return cuda_ffi::run_checked(kModel, kDirection, kDerivative, a, in, vectors, grid, *out, *workspace, run_on_host);
}

template <typename Attributes, Model kModel>
ffi::Error geometry_gradient(Attributes a, ffi::AnyBuffer volume, ffi::AnyBuffer projections, ffi::AnyBuffer vectors,
                             ffi::AnyBuffer grid, ffi::Result<ffi::AnyBuffer> by_vectors,
                             ffi::Result<ffi::AnyBuffer> by_grid, ffi::Result<ffi::AnyBuffer> workspace) {
  return cuda_ffi::run_checked_gradient(kModel, a, volume, projections, vectors, grid, *by_vectors, *by_grid,
                                        *workspace, run_on_host);
}

template <typename Attributes, auto kFunction, size_t kOperands, size_t kResults>
struct Target {
  static XLA_FFI_Error* call(XLA_FFI_CallFrame* frame) {
    static auto* handler =
        with_buffers<kOperands, kResults>(ffi::Ffi::Bind().Attr<Attributes>("scan"))
            .To([](auto... arguments) { return without_exceptions([&] { return kFunction(arguments...); }); })
            .release();
    return handler->Call(frame);
  }
};

template <typename Attributes, Model kModel, Direction kDirection, Derivative kDerivative>
using Projection = Target<Attributes, project<Attributes, kModel, kDirection, kDerivative>, 3, 2>;
template <typename Attributes, Model kModel>
using Gradient = Target<Attributes, geometry_gradient<Attributes, kModel>, 4, 3>;

template <Model kModel, Direction kDirection>
using Entry = Projection<CallAttributes, kModel, kDirection, Derivative::kNone>;
template <Model kModel, Direction kDirection>
using TangentEntry = Projection<CallAttributes, kModel, kDirection, Derivative::kTangent>;
template <Model kModel>
using GradientEntry = Gradient<CallAttributes, kModel>;

template <Model kModel, Direction kDirection>
using LorEntry = Projection<LorAttributes, kModel, kDirection, Derivative::kNone>;
template <Model kModel, Direction kDirection>
using LorTangentEntry = Projection<LorAttributes, kModel, kDirection, Derivative::kTangent>;
template <Model kModel>
using LorGradientEntry = Gradient<LorAttributes, kModel>;

}  // namespace

NB_MODULE(emulated_cuda, m) {
  m.def("registrations", [] {
    nb::dict targets;
    for (const auto& all : {list_handlers<Entry, TangentEntry, GradientEntry>(),
                            list_lor_handlers<LorEntry, LorTangentEntry, LorGradientEntry>()})
      for (const auto& [name, handler] : all) targets[name.c_str()] = nb::capsule(reinterpret_cast<void*>(handler));
    return targets;
  });
}
