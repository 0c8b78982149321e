#include "cuda/lor_run.h"
#include "host_kernels.h"

namespace host {
namespace {

// Threads of all blocks one after the other. Scattered: by steps that have no divisor in common with their number.
struct Launcher {
  Order order;

  template <typename Body>
  void operator()(const Body& body) {
    const int64_t threads = body.blocks() * Body::kThreads;
    for (int64_t i = 0; i < threads; ++i) {
      const int64_t at = place(i, threads);
      body(at / Body::kThreads, static_cast<int>(at % Body::kThreads));
    }
  }

  int64_t place(int64_t i, int64_t threads) const {
    constexpr int64_t kPrime = 7919;
    if (order == Order::kForwards) return i;
    if (order == Order::kBackwards || threads % kPrime == 0) return threads - 1 - i;
    return i * kPrime % threads;
  }
};

}  // namespace

void run(const jaxct::cuda::LorCall& call, Order order) {
  using namespace jaxct;
  Launcher launch = {order};
  const auto with = [&](auto maths) {
    using M = decltype(maths);
    if constexpr (std::is_same_v<M, LorSiddon>)
      cuda::run_lors<M>(call, launch);
    else if (call.derivative == Derivative::kNone)
      cuda::run_lors<M>(call, launch);
    else
      cuda::run_lor_derivative<M>(call, launch);
  };
  if (call.model == Model::kJoseph)
    with(LorJoseph{});
  else if (call.model == Model::kSiddon)
    with(LorSiddon{});
  else
    with(LorDistanceDriven{});
}

}  // namespace host
