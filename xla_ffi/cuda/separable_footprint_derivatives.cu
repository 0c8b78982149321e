#include "cuda/launch_model.h"

template cudaError_t jaxct::cuda::launch_derivative<jaxct::Model::kSeparableFootprint>(const Call&, cudaStream_t);
