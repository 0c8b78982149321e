#pragma once
// The FFI targets by name, the same for both back ends. Entry<model, direction>::call is the handler.
#include <utility>
#include <vector>

#include "operators.h"
#include "xla/ffi/api/c_api.h"

namespace jaxct {

using Handler = XLA_FFI_Error*(XLA_FFI_CallFrame*);
using Handlers = std::vector<std::pair<const char*, Handler*>>;

template <template <Model, Direction> class Entry>
Handlers list_handlers() {
  return {
      {"jaxct_joseph_forward", Entry<Model::kJoseph, Direction::kForward>::call},
      {"jaxct_joseph_back", Entry<Model::kJoseph, Direction::kBack>::call},
      {"jaxct_siddon_forward", Entry<Model::kSiddon, Direction::kForward>::call},
      {"jaxct_siddon_back", Entry<Model::kSiddon, Direction::kBack>::call},
      {"jaxct_separable_footprint_forward", Entry<Model::kSeparableFootprint, Direction::kForward>::call},
      {"jaxct_separable_footprint_back", Entry<Model::kSeparableFootprint, Direction::kBack>::call},
      {"jaxct_distance_driven_forward", Entry<Model::kDistanceDriven, Direction::kForward>::call},
      {"jaxct_distance_driven_back", Entry<Model::kDistanceDriven, Direction::kBack>::call},
      {"jaxct_voxel_driven_forward", Entry<Model::kVoxelDriven, Direction::kForward>::call},
      {"jaxct_voxel_driven_back", Entry<Model::kVoxelDriven, Direction::kBack>::call},
  };
}

}  // namespace jaxct
