#pragma once
#include "registrations.h"

namespace jaxct::cuda_ffi {

// Every target this module offers.
Handlers handlers();

}  // namespace jaxct::cuda_ffi
