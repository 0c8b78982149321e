#pragma once
#include "registrations.h"

namespace jaxct::cpu {

// Every target this module offers.
Handlers handlers();

// The instruction set chosen for this machine.
const char* instruction_set();

}  // namespace jaxct::cpu
