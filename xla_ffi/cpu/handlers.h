#pragma once
#include "registrations.h"

namespace jaxct::cpu {

// Every target of the CPU, those of lines of response among them.
Handlers handlers();
Handlers lor_handlers();

// Of the loops that run on this machine: "avx2" or "baseline".
const char* instruction_set();

}  // namespace jaxct::cpu
