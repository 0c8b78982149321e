// Compiling is the test: every formula of core/ must be acceptable to nvcc, for the host and for the device.
#include "core/distance_driven.h"
#include "core/joseph.h"
#include "core/ray_walk.h"
#include "core/separable_footprint.h"
#include "core/siddon.h"
#include "core/voxel_driven.h"

namespace core_compiles {

using namespace jaxct;

template <typename Model, typename T>
__host__ __device__ T line_integral_of_ones(const Scan& scan, const View<T>& view, int64_t row, int64_t col) {
  const VoxelBox grid = {{0, 0, 0},
                         {static_cast<int32_t>(scan.nz), static_cast<int32_t>(scan.ny), static_cast<int32_t>(scan.nx)}};
  const RayWalk<T> walk = make_walk(scan, view, make_ray(view, row, col));
  T sum = T(0);
  walk_slabs<Model>(walk, slabs_in(walk, grid), [&](int32_t, int32_t, int32_t, const Stencil<T>& stencil) {
    sum += stencil.weight[0][0] + stencil.weight[0][1] + stencil.weight[1][0] + stencil.weight[1][1];
  });
  return sum * walk.step;
}

template <typename Model, typename T>
__host__ __device__ T pixel_weight(const Scan& scan, const View<T>& view, const Vec3<T>& q) {
  const auto voxel = Model::make_voxel(scan, view, q);
  const auto column = Model::make_column(scan, view, view.beam, q[1], q[2]);
  return voxel.scale * voxel.column.weight(0) * voxel.row.weight(0) +
         column.scale * column.column.weight(0) * Model::row_weight(column.edge, column.slope, 0, 0);
}

template <typename T>
__host__ __device__ T use_everything(const Scan& scan, const ViewVectors& vectors, const GridVectors& grid) {
  const View<T> view = make_view<T>(scan, vectors, grid);
  const Vec3<T> q = {{T(0), T(0), T(0)}};
  return line_integral_of_ones<Joseph>(scan, view, 0, 0) + line_integral_of_ones<Siddon>(scan, view, 0, 0) +
         pixel_weight<SeparableFootprint>(scan, view, q) + pixel_weight<DistanceDriven>(scan, view, q) +
         pixel_weight<VoxelDriven>(scan, view, q) + obliquity(view, 0, 0);
}

template <typename T>
__global__ void on_device(Scan scan, ViewVectors vectors, GridVectors grid, T* out) {
  *out = use_everything<T>(scan, vectors, grid);
}

template __global__ void on_device<float>(Scan, ViewVectors, GridVectors, float*);
template __global__ void on_device<double>(Scan, ViewVectors, GridVectors, double*);

}  // namespace core_compiles
