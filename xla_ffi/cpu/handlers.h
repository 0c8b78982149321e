#pragma once
#include <utility>
#include <vector>

#include "xla/ffi/api/c_api.h"

namespace jaxct::cpu {

using Handler = XLA_FFI_Error*(XLA_FFI_CallFrame*);

// Every target this module offers, by name.
const std::vector<std::pair<const char*, Handler*>>& handlers();

// The instruction set chosen for this machine.
const char* instruction_set();

}  // namespace jaxct::cpu
