// The Python module: handlers as capsules, for jax.ffi.register_ffi_target; and the memory that CUDA calls ask for,
// which is needed wherever one is lowered, with or without the CUDA module.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>

#include "cpu/handlers.h"
#include "lor_workspace.h"
#include "workspace.h"

namespace nb = nanobind;

namespace {

using jaxct::DataType;

jaxct::Model find_model(const std::string& name) {
  const auto* const end = std::end(jaxct::kModelNames);
  const auto* const found = std::find(std::begin(jaxct::kModelNames), end, name);
  if (found == end) throw std::invalid_argument("unknown model " + name);
  return static_cast<jaxct::Model>(found - std::begin(jaxct::kModelNames));
}

DataType find_type(const std::string& name) {
  if (name == "float32") return DataType::kFloat32;
  if (name == "float64") return DataType::kFloat64;
  if (name == "float16") return DataType::kFloat16;
  if (name == "bfloat16") return DataType::kBfloat16;
  throw std::invalid_argument("unknown dtype " + name);
}

// The names of the targets, without the model's.
struct Operator {
  const char* name;
  jaxct::Direction direction;
  jaxct::Derivative derivative;
};
constexpr Operator kOperators[] = {
    {"forward", jaxct::Direction::kForward, jaxct::Derivative::kNone},
    {"back", jaxct::Direction::kBack, jaxct::Derivative::kNone},
    {"forward_tangent", jaxct::Direction::kForward, jaxct::Derivative::kTangent},
    {"back_tangent", jaxct::Direction::kBack, jaxct::Derivative::kTangent},
    {"geometry_gradient", jaxct::Direction::kForward, jaxct::Derivative::kGradient},
};

Operator find_operator(const std::string& name) {
  for (const Operator& one : kOperators)
    if (name == one.name) return one;
  throw std::invalid_argument("unknown operator " + name);
}

void check_batch_axes(size_t axes) {
  if (axes > static_cast<size_t>(jaxct::kMaxBatchAxes))
    throw std::invalid_argument("at most " + std::to_string(jaxct::kMaxBatchAxes) +
                                " nested vmaps are supported on CUDA, got " + std::to_string(axes));
}

// `others`: of what else has batch axes.
int64_t cuda_workspace_bytes(const std::string& model, const std::string& name, const std::string& dtype, bool fast,
                             bool planar, int64_t views, const std::vector<int64_t>& detector,
                             const std::vector<int64_t>& volume, const std::vector<int64_t>& data_batch,
                             const std::vector<int64_t>& vectors_batch, const std::vector<int64_t>& grid_batch,
                             const std::vector<int64_t>& others_batch) {
  const size_t axes = data_batch.size();
  if (detector.size() != 2 || volume.size() != 3 || vectors_batch.size() != axes || grid_batch.size() != axes ||
      others_batch.size() != axes)
    throw std::invalid_argument("shapes must be (rows, cols) and (nz, ny, nx), batches of one length");
  check_batch_axes(axes);
  const jaxct::Scan scan = {views, detector[0], detector[1], volume[0], volume[1], volume[2], {}, planar, 0};
  const Operator one = find_operator(name);
  const jaxct::BatchPlan items =
      jaxct::plan_batch(planar && one.derivative == jaxct::Derivative::kNone, static_cast<int>(axes), data_batch.data(),
                        vectors_batch.data(), grid_batch.data(), others_batch.data());
  return jaxct::plan_workspace(
             jaxct::make_request(find_model(model), one.direction, one.derivative, find_type(dtype), fast, scan, items))
      .bytes;
}

int64_t cuda_lor_workspace_bytes(const std::string& model, const std::string& name, const std::string& dtype,
                                 int64_t views, int64_t kind, int64_t planes, int64_t bins, int64_t axial_rays,
                                 int64_t tangential_rays, int64_t tof_bins, int64_t nz, int64_t ny, int64_t nx,
                                 size_t batch_axes) {
  check_batch_axes(batch_axes);
  const jaxct::LorScan scan = {
      static_cast<jaxct::Lines>(kind), views, planes, bins, axial_rays, tangential_rays, tof_bins, nz, ny, nx, 0.0};
  const Operator one = find_operator(name);
  return jaxct::plan_workspace(jaxct::LorWorkspaceRequest{find_model(model), one.direction, one.derivative,
                                                          find_type(dtype) == DataType::kFloat64, scan})
      .bytes;
}

}  // namespace

NB_MODULE(_cpu, m) {
  m.def("registrations", [] {
    nb::dict targets;
    for (const auto& [name, handler] : jaxct::cpu::handlers())
      targets[name.c_str()] = nb::capsule(reinterpret_cast<void*>(handler));
    return targets;
  });
  m.def("instruction_set", &jaxct::cpu::instruction_set);
  m.def(
      "ffi_api_version", [] { return nb::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR); },
      "(major, minor) of the XLA FFI headers this module was built with: XLA refuses newer ones than its own.");
  m.def("cuda_workspace_bytes", &cuda_workspace_bytes, nb::kw_only(), nb::arg("model"), nb::arg("name"),
        nb::arg("dtype"), nb::arg("fast"), nb::arg("planar"), nb::arg("views"), nb::arg("detector"), nb::arg("volume"),
        nb::arg("data_batch"), nb::arg("vectors_batch"), nb::arg("grid_batch"), nb::arg("others_batch"),
        "Size of the buffer that a CUDA call wants beside its operands.");
  m.def("cuda_lor_workspace_bytes", &cuda_lor_workspace_bytes, nb::kw_only(), nb::arg("model"), nb::arg("name"),
        nb::arg("dtype"), nb::arg("views"), nb::arg("kind"), nb::arg("planes"), nb::arg("bins"), nb::arg("axial_rays"),
        nb::arg("tangential_rays"), nb::arg("tof_bins"), nb::arg("nz"), nb::arg("ny"), nb::arg("nx"),
        nb::arg("batch_axes"), "The same for lines of response.");
}
