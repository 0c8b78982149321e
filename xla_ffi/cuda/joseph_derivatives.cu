#include "cuda/launch_model.h"

template cudaError_t jaxct::cuda::launch_derivative<jaxct::Model::kJoseph>(const Call&, cudaStream_t);
