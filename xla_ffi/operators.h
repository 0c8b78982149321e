#pragma once
// The operators by name: what the handlers of both back ends register and dispatch on.
#include <cstddef>

namespace jaxct {

enum class Model { kJoseph, kSiddon, kSeparableFootprint, kDistanceDriven, kVoxelDriven };
enum class Direction { kForward, kBack };
// By the geometry: none; that along a tangent; what <projections, A volume> gains from all changes.
enum class Derivative { kNone, kTangent, kGradient };

// In the order of the enumeration.
constexpr const char* kModelNames[] = {"joseph", "siddon", "separable_footprint", "distance_driven", "voxel_driven"};
constexpr size_t kNumModels = sizeof kModelNames / sizeof kModelNames[0];

constexpr bool is_line_model(Model model) { return model == Model::kJoseph || model == Model::kSiddon; }

// Models whose weights are differentiated by the geometry.
constexpr bool is_differentiable(Model model) { return model == Model::kJoseph || model == Model::kSeparableFootprint; }

// Models whose pixels are weighted with the obliquity of their rays.
constexpr bool is_footprint_model(Model model) {
  return model == Model::kSeparableFootprint || model == Model::kDistanceDriven;
}

}  // namespace jaxct
