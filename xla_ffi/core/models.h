#pragma once
// Every model's maths, by its name in operators.h.
#include <tuple>
#include <type_traits>

#include "core/distance_driven.h"
#include "core/joseph.h"
#include "core/separable_footprint.h"
#include "core/siddon.h"
#include "core/voxel_driven.h"
#include "operators.h"

JAXCT_NAMESPACE_BEGIN

// In the order of the enumeration.
using AllMaths = std::tuple<Joseph, Siddon, SeparableFootprint, DistanceDriven, VoxelDriven>;

template <Model kModel>
using Maths = std::tuple_element_t<static_cast<size_t>(kModel), AllMaths>;

template <typename M>
constexpr bool kIsLineModel = std::is_base_of_v<LineModel, M>;
static_assert(kIsLineModel<Maths<Model::kJoseph>> && kIsLineModel<Maths<Model::kSiddon>>);

// f(maths) with an object of the model's type.
template <typename F>
auto with_maths(Model model, F&& f) {
  switch (model) {
    case Model::kJoseph:
      return f(Joseph{});
    case Model::kSiddon:
      return f(Siddon{});
    case Model::kSeparableFootprint:
      return f(SeparableFootprint{});
    case Model::kDistanceDriven:
      return f(DistanceDriven{});
    case Model::kVoxelDriven:
      break;
  }
  return f(VoxelDriven{});
}

// The same for a model that has derivatives by the geometry.
template <typename F>
auto with_differentiable(Model model, F&& f) {
  static_assert(is_differentiable(Model::kJoseph) && is_differentiable(Model::kSeparableFootprint));
  return model == Model::kJoseph ? f(Joseph{}) : f(SeparableFootprint{});
}

JAXCT_NAMESPACE_END
