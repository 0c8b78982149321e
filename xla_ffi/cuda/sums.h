#pragma once
// Sums in an order that depends on their length alone.
#include "cuda/launch.h"
#include "workspace.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// Rows of numbers become shorter: one of the result adds up every so many-th of its row, in double precision. It may go
// where the first of these was.
template <typename From, typename To>
struct SumRows {
  static constexpr int kThreads = 256, kBlocksPerMultiprocessor = 1;

  int64_t rows, length;
  const From* from;
  int64_t from_pitch;
  To* to;
  int64_t to_pitch;

  JAXCT_HD int64_t sums() const { return max_of(tiles(length, kSumRun), int64_t{1}); }
  JAXCT_HD int64_t blocks() const { return tiles(rows * sums(), kThreads); }

  JAXCT_HD void operator()(int64_t block, int thread) const {
    Digits digits = {block * kThreads + thread};
    const int64_t i = digits.take(sums()), row = digits.rest;
    if (row >= rows) return;
    double sum = 0.0;
    for (int64_t j = i; j < length; j += sums()) sum += static_cast<double>(from[row * from_pitch + j]);
    to[row * to_pitch + i] = static_cast<To>(sum);
  }
};

// Each row to one number. `between` has room for rows x tiles(length, kSumRun).
template <typename From, typename To, typename Launcher>
void sum_rows(Launcher& launch, int64_t rows, int64_t length, const From* from, double* between, To* to) {
  const int64_t pitch = tiles(length, kSumRun);
  launch(SumRows<From, double>{rows, length, from, length, between, pitch});
  int64_t left = pitch;
  for (; left > kSumRun; left = tiles(left, kSumRun))
    launch(SumRows<double, double>{rows, left, between, pitch, between, pitch});
  launch(SumRows<double, To>{rows, left, between, pitch, to, 1});
}

}  // namespace cuda
JAXCT_NAMESPACE_END
