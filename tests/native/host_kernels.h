#pragma once
// The CUDA kernels on the host, through the launches that a stream would get.
#include "cuda/call.h"

namespace host {

void run(const jaxct::cuda::Call& call);

}  // namespace host
