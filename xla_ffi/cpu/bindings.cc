// The Python module: handlers as capsules, for jax.ffi.register_ffi_target.
#include <nanobind/nanobind.h>

#include "cpu/handlers.h"
#include "xla/ffi/api/c_api.h"

namespace nb = nanobind;

NB_MODULE(_cpu, m) {
  m.def("registrations", [] {
    nb::dict targets;
    for (const auto& [name, handler] : jaxct::cpu::handlers())
      targets[name] = nb::capsule(reinterpret_cast<void*>(handler));
    return targets;
  });
  m.def("instruction_set", &jaxct::cpu::instruction_set);
  m.def(
      "ffi_api_version", [] { return nb::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR); },
      "(major, minor) of the XLA FFI headers this module was built with: XLA refuses newer ones than its own.");
}
