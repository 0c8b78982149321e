// Errors planted for compute-sanitizer: `planted memcheck` writes outside of its array, `planted racecheck` has a race.
// A check that does not find them finds nothing. The namespace is what the checks choose kernels by.
#include <cstring>

namespace jaxct {

__global__ void write_outside(int* array, int size) { array[size + static_cast<int>(threadIdx.x)] = 1; }

__global__ void race(int* out) {
  __shared__ int cell[64];
  cell[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[threadIdx.x] = cell[63 - threadIdx.x];  // no barrier between two warps
}

}  // namespace jaxct

int main(int argc, char** argv) {
  int* array = nullptr;
  if (cudaMalloc(&array, 64 * sizeof(int)) != cudaSuccess) return 2;
  if (argc > 1 && std::strcmp(argv[1], "memcheck") == 0) {
    jaxct::write_outside<<<1, 1>>>(array, 64);
  } else {
    jaxct::race<<<1, 64>>>(array);
  }
  cudaDeviceSynchronize();
  return 0;
}
