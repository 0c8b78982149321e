#pragma once
// Runs tasks on XLA's intra-op pool. The calling thread takes tasks too, so a busy pool slows a call but never blocks
// it.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "cpu/kernels.h"
#include "xla/ffi/api/ffi.h"

namespace jaxct::cpu {

using TaskBody = void (*)(void* data, int64_t task);

inline void run_on_pool(void* pool_pointer, int64_t tasks, TaskBody body, void* data) {
  auto& pool = *static_cast<xla::ffi::ThreadPool*>(pool_pointer);
  const int64_t workers = std::min<int64_t>(pool.num_threads(), tasks);
  if (workers <= 1) {
    for (int64_t task = 0; task < tasks; ++task) body(data, task);
    return;
  }
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all_done;
  };
  auto shared = std::make_shared<Shared>();
  // A helper that starts after the call has returned finds no task left, and touches nothing but `shared`.
  auto drain = [shared, tasks, body, data] {
    for (int64_t task; (task = shared->next.fetch_add(1)) < tasks;) {
      body(data, task);
      if (shared->done.fetch_add(1) + 1 == tasks) {
        std::lock_guard<std::mutex> lock(shared->mutex);
        shared->all_done.notify_all();
      }
    }
  };
  for (int64_t i = 1; i < workers; ++i) pool.Schedule([drain] { drain(); });
  drain();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done.load() == tasks; });
}

}  // namespace jaxct::cpu
