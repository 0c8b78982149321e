#pragma once
// Every model's maths, by its name in operators.h.
#include <type_traits>

#include "core/distance_driven.h"
#include "core/joseph.h"
#include "core/separable_footprint.h"
#include "core/siddon.h"
#include "core/voxel_driven.h"
#include "operators.h"

JAXCT_NAMESPACE_BEGIN

template <Model>
struct MathsOf;
template <>
struct MathsOf<Model::kJoseph> {
  using type = Joseph;
};
template <>
struct MathsOf<Model::kSiddon> {
  using type = Siddon;
};
template <>
struct MathsOf<Model::kSeparableFootprint> {
  using type = SeparableFootprint;
};
template <>
struct MathsOf<Model::kDistanceDriven> {
  using type = DistanceDriven;
};
template <>
struct MathsOf<Model::kVoxelDriven> {
  using type = VoxelDriven;
};

template <Model kModel>
using Maths = typename MathsOf<kModel>::type;

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

JAXCT_NAMESPACE_END
