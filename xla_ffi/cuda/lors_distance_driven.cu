#include "cuda/launch_lors.h"

template cudaError_t jaxct::cuda::launch_lors<jaxct::Model::kDistanceDriven>(const LorCall&, cudaStream_t);
