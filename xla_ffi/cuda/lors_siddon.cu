#include "cuda/launch_lors.h"

template cudaError_t jaxct::cuda::launch_lors<jaxct::Model::kSiddon>(const LorCall&, cudaStream_t);
