#pragma once
// The FFI targets by name, the same for both back ends. Entry<model, direction>::call is the handler.
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

}  // namespace detail

template <template <Model, Direction> class Entry>
Handlers list_handlers() {
  return detail::list_handlers<Entry>(std::make_index_sequence<kNumModels>{});
}

}  // namespace jaxct
