#pragma once
// A kernel is a function object: body(block, thread), with Body::kThreads threads in each of body.blocks() blocks. No
// thread waits for another, so the same objects run on the host, a thread after the other, which is how they are
// tested. Where several write to one place (FindMagnitudes, and the sums of fixed_point.h) the order does not matter.
#include <cmath>

#include "batch.h"

JAXCT_NAMESPACE_BEGIN
namespace cuda {

// Takes a linear index apart, fastest index first.
struct Digits {
  int64_t rest;

  JAXCT_HD int64_t take(int64_t n) {
    const int64_t digit = rest % n;
    rest /= n;
    return digit;
  }
};

template <typename T>
JAXCT_HD T not_a_number() {
  return static_cast<T>(NAN);
}

}  // namespace cuda
JAXCT_NAMESPACE_END

#if defined(__CUDACC__)
#include <cuda_runtime_api.h>

JAXCT_NAMESPACE_BEGIN
namespace cuda {

template <typename Body>
__global__ void __launch_bounds__(Body::kThreads, Body::kBlocksPerMultiprocessor)
    run_body(const __grid_constant__ Body body) {
  body(static_cast<int64_t>(blockIdx.x), static_cast<int>(threadIdx.x));
}

// Launches on XLA's stream; remembers the first error.
struct StreamLauncher {
  cudaStream_t stream;
  cudaError_t status = cudaSuccess;

  template <typename Body>
  void operator()(const Body& body) {
    const int64_t blocks = body.blocks();
    if (status != cudaSuccess || blocks == 0) return;
    if (blocks > INT32_MAX) {
      status = cudaErrorInvalidConfiguration;
      return;
    }
    load_before_capture<Body>();
    run_body<<<static_cast<unsigned>(blocks), Body::kThreads, 0, stream>>>(body);
    status = cudaGetLastError();
  }

 private:
  // CUDA loads a kernel when it is first launched, which a stream that is being captured may not like.
  template <typename Body>
  void load_before_capture() const {
    cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(stream, &capturing) != cudaSuccess || capturing == cudaStreamCaptureStatusNone) return;
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    cudaThreadExchangeStreamCaptureMode(&mode);
    cudaFuncAttributes attributes;
    cudaFuncGetAttributes(&attributes, run_body<Body>);
    cudaThreadExchangeStreamCaptureMode(&mode);
  }
};

}  // namespace cuda
JAXCT_NAMESPACE_END
#endif
