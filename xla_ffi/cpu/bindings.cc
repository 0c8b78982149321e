// The Python module: handlers as capsules, for jax.ffi.register_ffi_target.
#include <nanobind/nanobind.h>

#include "cpu/handlers.h"

namespace nb = nanobind;

NB_MODULE(_cpu, m) {
  m.def("registrations", [] {
    nb::dict targets;
    for (const auto& [name, handler] : jaxct::cpu::handlers())
      targets[name] = nb::capsule(reinterpret_cast<void*>(handler));
    return targets;
  });
  m.def("instruction_set", &jaxct::cpu::instruction_set);
}
