#pragma once
// The operators by name: what the handlers of both back ends register and dispatch on.

namespace jaxct {

enum class Model { kJoseph, kSiddon, kSeparableFootprint, kDistanceDriven, kVoxelDriven };
constexpr const char* kModelNames[] = {"joseph", "siddon", "separable_footprint", "distance_driven", "voxel_driven"};

enum class Direction { kForward, kBack };

constexpr bool is_line_model(Model model) { return model == Model::kJoseph || model == Model::kSiddon; }

constexpr bool is_footprint_model(Model model) {
  return model == Model::kSeparableFootprint || model == Model::kDistanceDriven;
}

}  // namespace jaxct
