#pragma once
// The CUDA kernels on the host, through the launches that a stream would get.
#include "cuda/call.h"
#include "cuda/lor_call.h"

namespace host {

void run(const jaxct::cuda::Call& call);

// In which order blocks and threads come: nothing may depend on it.
enum class Order { kBackwards, kForwards, kScattered };
void run(const jaxct::cuda::LorCall& call, Order order = Order::kBackwards);

}  // namespace host
