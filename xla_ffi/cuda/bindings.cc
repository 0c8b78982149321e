// The CUDA module: the table of XLA FFI targets that jaxct/_native.py registers for the platform "CUDA".
#include <nanobind/nanobind.h>

namespace nb = nanobind;

NB_MODULE(_cuda, m) {
  m.doc() = "jaxct's CUDA operators as XLA FFI targets.";
  m.def(
      "registrations", [] { return nb::dict(); },
      "Target name -> handler capsule. Empty: no operator has a CUDA handler in this version.");
}
