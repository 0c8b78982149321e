// What this GPU can do at most of what projectors do: filtered texture fetches, bilinear interpolation by plain loads,
// fused multiply-adds, copies. Prints JSON. nvcc -O3 -arch=native gpu_ceilings.cu
//
// Threads fetch as a back projector does: neighbours side by side, every thread at a new place in each step, all of it
// within an image that the caches hold. So these are rates of the units, not of the memory.
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr int kImage = 512, kSteps = 2048, kThreads = 256, kBlocksPerMultiprocessor = 32, kRuns = 7;

void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(status));
  std::exit(1);
}

__device__ float sum(float v) { return v; }
__device__ float sum(float4 v) { return v.x + v.y + v.z + v.w; }

struct Walk {
  float u, v;

  __device__ explicit Walk(int step) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    u = 0.37F + 0.93F * static_cast<float>(thread & 255) + 1.31F * static_cast<float>(step & 63);
    v = 0.41F + 0.89F * static_cast<float>((thread >> 8) & 127) + 2.17F * static_cast<float>((step >> 6) & 31);
  }
};

template <typename Texel>
__global__ void fetch(cudaTextureObject_t image, float* out) {
  float total = 0.0F;
#pragma unroll 8
  for (int step = 0; step < kSteps; ++step) {
    const Walk at(step);
    total += sum(tex2D<Texel>(image, at.u, at.v));
  }
  out[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

__global__ void interpolate(const float* __restrict__ image, float* out) {
  float total = 0.0F;
#pragma unroll 8
  for (int step = 0; step < kSteps; ++step) {
    const Walk at(step);
    const int i = static_cast<int>(at.u), j = static_cast<int>(at.v);
    const float a = at.u - static_cast<float>(i), b = at.v - static_cast<float>(j);
    const float* p = image + j * kImage + i;
    const float low = __ldg(p) + a * (__ldg(p + 1) - __ldg(p));
    const float high = __ldg(p + kImage) + a * (__ldg(p + kImage + 1) - __ldg(p + kImage));
    total += low + b * (high - low);
  }
  out[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

__global__ void multiply_add(float* out) {
  float a[8];
  for (int i = 0; i < 8; ++i) a[i] = static_cast<float>(threadIdx.x + i);
  for (int step = 0; step < kSteps; ++step)
#pragma unroll
    for (int i = 0; i < 8; ++i) a[i] = a[i] * 0.999F + 0.001F;
  float total = 0.0F;
  for (int i = 0; i < 8; ++i) total += a[i];
  out[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

// The best of several runs, in seconds: a ceiling is what was reached at most.
template <typename Launch>
double best_seconds(Launch launch) {
  cudaEvent_t start, stop;
  check(cudaEventCreate(&start));
  check(cudaEventCreate(&stop));
  double best = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    check(cudaEventRecord(start));
    launch();
    check(cudaGetLastError());
    check(cudaEventRecord(stop));
    check(cudaEventSynchronize(stop));
    float milliseconds = 0.0F;
    check(cudaEventElapsedTime(&milliseconds, start, stop));
    if (run > 0) best = std::min(best, milliseconds / 1e3);
  }
  return best;
}

cudaTextureObject_t make_texture(cudaChannelFormatDesc format, size_t texel_bytes, const std::vector<char>& texels) {
  cudaArray_t array = nullptr;
  check(cudaMallocArray(&array, &format, kImage, kImage));
  const size_t row = kImage * texel_bytes;
  check(cudaMemcpy2DToArray(array, 0, 0, texels.data(), row, row, kImage, cudaMemcpyHostToDevice));
  cudaResourceDesc resource = {};
  resource.resType = cudaResourceTypeArray;
  resource.res.array.array = array;
  cudaTextureDesc options = {};
  options.addressMode[0] = options.addressMode[1] = cudaAddressModeBorder;
  options.filterMode = cudaFilterModeLinear;
  options.readMode = cudaReadModeElementType;
  cudaTextureObject_t texture = 0;
  check(cudaCreateTextureObject(&texture, &resource, &options, nullptr));
  return texture;
}

// Random numbers: a constant image would leave the filters nothing to do.
template <typename T>
std::vector<char> noise(int channels) {
  std::vector<char> bytes(sizeof(T) * kImage * kImage * channels);
  T* values = reinterpret_cast<T*>(bytes.data());
  unsigned state = 1;
  for (int i = 0; i < kImage * kImage * channels; ++i) {
    state = state * 1664525U + 1013904223U;
    values[i] = static_cast<T>(static_cast<float>(state >> 8) / 16777216.0F);
  }
  return bytes;
}

}  // namespace

int main() {
  cudaDeviceProp device = {};
  check(cudaGetDeviceProperties(&device, 0));
  const int blocks = device.multiProcessorCount * kBlocksPerMultiprocessor;
  const double steps = static_cast<double>(blocks) * kThreads * kSteps;
  float* out = nullptr;
  check(cudaMalloc(&out, sizeof(float) * blocks * kThreads));

  auto fetches = [&](auto texel, cudaChannelFormatDesc format, size_t bytes, const std::vector<char>& texels) {
    const cudaTextureObject_t texture = make_texture(format, bytes, texels);
    return steps / best_seconds([&] { fetch<decltype(texel)><<<blocks, kThreads>>>(texture, out); }) / 1e9;
  };
  const double single = fetches(float{}, cudaCreateChannelDesc<float>(), 4, noise<float>(1));
  const double single4 = fetches(float4{}, cudaCreateChannelDesc<float4>(), 16, noise<float>(4));
  const double half = fetches(float{}, cudaCreateChannelDescHalf(), 2, noise<__half>(1));
  const double half4 = fetches(float4{}, cudaCreateChannelDescHalf4(), 8, noise<__half>(4));

  float* image = nullptr;
  const std::vector<char> texels = noise<float>(1);
  check(cudaMalloc(&image, texels.size()));
  check(cudaMemcpy(image, texels.data(), texels.size(), cudaMemcpyHostToDevice));
  const double loads = steps / best_seconds([&] { interpolate<<<blocks, kThreads>>>(image, out); }) / 1e9;
  const double flops = 16 * steps / best_seconds([&] { multiply_add<<<blocks, kThreads>>>(out); }) / 1e12;

  constexpr size_t kCopy = size_t{1} << 30;
  char *from = nullptr, *to = nullptr;
  check(cudaMalloc(&from, kCopy));
  check(cudaMalloc(&to, kCopy));
  check(cudaMemset(from, 1, kCopy));
  const double copied = best_seconds([&] { check(cudaMemcpyAsync(to, from, kCopy, cudaMemcpyDeviceToDevice)); });

  std::printf(
      "{\"device\": \"%s\", \"multiprocessors\": %d, \"fetch_float32_g_per_s\": %.1f, \"fetch_float32x4_g_per_s\": "
      "%.1f, "
      "\"fetch_float16_g_per_s\": %.1f, \"fetch_float16x4_g_per_s\": %.1f, \"bilinear_loads_g_per_s\": %.1f, "
      "\"fma_tflop_per_s\": %.2f, \"memcpy_gb_per_s\": %.1f}\n",
      device.name, device.multiProcessorCount, single, single4, half, half4, loads, flops, 2e-9 * kCopy / copied);
  return 0;
}
