#pragma once
// The FFI targets by name, the same for both back ends. Entry<model, direction>::call is the handler, TangentEntry's
// that of its derivative, and GradientEntry<model>::call the third.
#include <string>
#include <utility>
#include <vector>

#include "operators.h"
#include "xla/ffi/api/c_api.h"

namespace jaxct {

using Handler = XLA_FFI_Error*(XLA_FFI_CallFrame*);
using Handlers = std::vector<std::pair<std::string, Handler*>>;

namespace detail {

template <template <Model, Direction> class Entry, size_t... kModels>
Handlers list_handlers(std::index_sequence<kModels...>) {
  return {{std::string("jaxct_") + kModelNames[kModels] + "_forward",
           Entry<static_cast<Model>(kModels), Direction::kForward>::call}...,
          {std::string("jaxct_") + kModelNames[kModels] + "_back",
           Entry<static_cast<Model>(kModels), Direction::kBack>::call}...};
}

template <Model kModel, template <Model, Direction> class TangentEntry, template <Model> class GradientEntry>
void add_derivatives(Handlers& handlers) {
  static_assert(is_differentiable(kModel));
  const std::string name = std::string("jaxct_") + kModelNames[static_cast<size_t>(kModel)];
  handlers.emplace_back(name + "_forward_tangent", TangentEntry<kModel, Direction::kForward>::call);
  handlers.emplace_back(name + "_back_tangent", TangentEntry<kModel, Direction::kBack>::call);
  handlers.emplace_back(name + "_geometry_gradient", GradientEntry<kModel>::call);
}

}  // namespace detail

template <template <Model, Direction> class Entry, template <Model, Direction> class TangentEntry,
          template <Model> class GradientEntry>
Handlers list_handlers() {
  Handlers all = detail::list_handlers<Entry>(std::make_index_sequence<kNumModels>{});
  detail::add_derivatives<Model::kJoseph, TangentEntry, GradientEntry>(all);
  detail::add_derivatives<Model::kSeparableFootprint, TangentEntry, GradientEntry>(all);
  return all;
}

// The same of lines of response.
template <template <Model, Direction> class Entry, template <Model, Direction> class TangentEntry,
          template <Model> class GradientEntry>
Handlers list_lor_handlers() {
  const Handlers named = {
      {"joseph_forward", Entry<Model::kJoseph, Direction::kForward>::call},
      {"joseph_back", Entry<Model::kJoseph, Direction::kBack>::call},
      {"siddon_forward", Entry<Model::kSiddon, Direction::kForward>::call},
      {"siddon_back", Entry<Model::kSiddon, Direction::kBack>::call},
      {"distance_driven_forward", Entry<Model::kDistanceDriven, Direction::kForward>::call},
      {"distance_driven_back", Entry<Model::kDistanceDriven, Direction::kBack>::call},
      {"joseph_forward_tangent", TangentEntry<Model::kJoseph, Direction::kForward>::call},
      {"joseph_back_tangent", TangentEntry<Model::kJoseph, Direction::kBack>::call},
      {"joseph_geometry_gradient", GradientEntry<Model::kJoseph>::call},
      {"distance_driven_forward_tangent", TangentEntry<Model::kDistanceDriven, Direction::kForward>::call},
      {"distance_driven_back_tangent", TangentEntry<Model::kDistanceDriven, Direction::kBack>::call},
      {"distance_driven_geometry_gradient", GradientEntry<Model::kDistanceDriven>::call}};
  Handlers all;
  for (const auto& [name, handler] : named) all.emplace_back("jaxct_lors_" + name, handler);
  return all;
}

}  // namespace jaxct
