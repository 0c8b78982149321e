// The CUDA module: handlers as capsules, for jax.ffi.register_ffi_target, and what the module was built for.
#include <cuda_runtime_api.h>
#include <nanobind/nanobind.h>

#include <string>

#include "cuda/handlers.h"

namespace nb = nanobind;

NB_MODULE(_cuda, m) {
  m.doc() = "jaxct's CUDA operators as XLA FFI targets.";
  m.def("registrations", [] {
    nb::dict targets;
    for (const auto& [name, handler] : jaxct::cuda_ffi::handlers())
      targets[name.c_str()] = nb::capsule(reinterpret_cast<void*>(handler));
    return targets;
  });
  m.def(
      "ffi_api_version", [] { return nb::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR); },
      "(major, minor) of the XLA FFI headers this module was built with.");
  m.def("toolkit_version", [] {
    const std::string version =
        std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
    return nb::str(version.c_str());
  });
  m.def(
      "architectures",
      [] {
        nb::list names;
        for (const char* name : {JAXCT_CUDA_TARGETS}) names.append(nb::str(name));
        return names;
      },
      "What there is machine code (sm_90) or PTX (compute_90) for.");
}
