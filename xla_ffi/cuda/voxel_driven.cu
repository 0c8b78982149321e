#include "cuda/launch_model.h"

template cudaError_t jaxct::cuda::launch<jaxct::Model::kVoxelDriven>(const Call&, cudaStream_t);
