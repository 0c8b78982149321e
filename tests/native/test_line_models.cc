// Siddon and Joseph along a ray, against their definitions evaluated voxel by voxel in double precision.
#include <limits>

#include "check.h"
#include "core/joseph.h"
#include "core/siddon.h"
#include "scans.h"

namespace {

using scans::Example;
using scans::Line;
using scans::Random;
using scans::Vector;
using namespace jaxct;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kPi = 3.14159265358979323846;

// The length of the line inside one voxel, [i - 1/2, i + 1/2) along each axis.
double length_in_voxel(const Line& line, const int64_t voxel[3]) {
  double enter = line.half ? 0.0 : -kInfinity, leave = kInfinity;
  for (int i = 0; i < 3; ++i) {
    const double lo = static_cast<double>(voxel[i]) - 0.5, hi = lo + 1.0;
    const double p = line.point[i], d = line.direction[i];
    if (d == 0.0) {
      if (!(p >= lo && p < hi)) return 0.0;
      continue;
    }
    enter = std::fmax(enter, std::fmin((lo - p) / d, (hi - p) / d));
    leave = std::fmin(leave, std::fmax((lo - p) / d, (hi - p) / d));
  }
  return std::fmax(0.0, leave - enter);
}

double hat(double x) { return std::fmax(0.0, 1.0 - std::abs(x)); }

// Bilinear weight of a voxel in its plane across the dominant axis, times the path per plane.
double joseph_weight(const Line& line, const int64_t voxel[3]) {
  int axis = 0;
  for (int i = 1; i < 3; ++i)
    if (std::abs(line.direction[i]) > std::abs(line.direction[axis])) axis = i;
  const double t = (static_cast<double>(voxel[axis]) - line.point[axis]) / line.direction[axis];
  if (line.half && !(t > 0.0)) return 0.0;
  double weight = 1.0 / std::abs(line.direction[axis]);
  for (int i = 0; i < 3; ++i)
    if (i != axis) weight *= hat(line.point[i] + t * line.direction[i] - static_cast<double>(voxel[i]));
  return weight;
}

struct Weights {
  Scan scan;
  std::vector<double> values;

  explicit Weights(const Scan& s) : scan(s), values(static_cast<size_t>(s.voxels()), 0.0) {}
  double& at(const int64_t v[3]) { return values[static_cast<size_t>((v[0] * scan.ny + v[1]) * scan.nx + v[2])]; }
};

// The weights that a walk through a box gives its voxels.
template <typename Model, typename T>
void add_walk(const RayWalk<T>& walk, const VoxelBox& box, Weights& weights) {
  walk_slabs<Model>(walk, slabs_in(walk, box), [&](int32_t k, int32_t a, int32_t b, const Stencil<T>& stencil) {
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j) {
        int64_t voxel[3];
        voxel[walk.axis] = k;
        voxel[walk.minor_a] = a + i;
        voxel[walk.minor_b] = b + j;
        bool inside = true;
        for (int axis = 0; axis < 3; ++axis)
          inside = inside && voxel[axis] >= box.begin[axis] && voxel[axis] < box.end[axis];
        if (inside) weights.at(voxel) += static_cast<double>(stencil.weight[i][j] * walk.step);
      }
  });
}

VoxelBox box_of(const Scan& scan) {
  return {{0, 0, 0}, {static_cast<int32_t>(scan.nz), static_cast<int32_t>(scan.ny), static_cast<int32_t>(scan.nx)}};
}

template <typename Model, typename T>
Weights walk_weights(const Example& e, int64_t row, int64_t col) {
  const View<T> view = make_view<T>(e.scan, e.view, e.grid);
  Weights weights(e.scan);
  add_walk<Model>(make_walk(e.scan, view, make_ray(view, row, col)), box_of(e.scan), weights);
  return weights;
}

// What moving the line sideways by one voxel can do to its length in a voxel: much, where it crosses a face slowly.
double length_sensitivity(const Line& line) {
  double slowest = kInfinity;
  for (int i = 0; i < 3; ++i) slowest = std::fmin(slowest, std::abs(line.direction[i]));
  return 2.0 / slowest;
}

double joseph_sensitivity(const Line& line) { return 2.0 / norm(line.direction); }

// tolerance: of the line's position, in voxels.
template <typename Model, typename T, typename Truth, typename Sensitivity>
void compare_with(Truth&& truth, Sensitivity&& sensitivity, const Example& e, double tolerance) {
  for (int64_t row = 0; row < e.scan.rows; ++row)
    for (int64_t col = 0; col < e.scan.cols; ++col) {
      Weights got = walk_weights<Model, T>(e, row, col);
      const Line line = scans::line_through(e, row, col);
      int64_t voxel[3];
      for (voxel[0] = 0; voxel[0] < e.scan.nz; ++voxel[0])
        for (voxel[1] = 0; voxel[1] < e.scan.ny; ++voxel[1])
          for (voxel[2] = 0; voxel[2] < e.scan.nx; ++voxel[2])
            CHECK_NEAR(got.at(voxel), truth(line, voxel), tolerance * sensitivity(line));
    }
}

template <typename F>
void for_random_scans(F&& f) {
  Random random(7);
  for (const Beam beam : {Beam::kParallel, Beam::kCone, Beam::kCurvedCone})
    for (int i = 0; i < 40; ++i) f(scans::example(random, beam, random.uniform(0.0, 2.0 * kPi), 3.0));
}

}  // namespace

TEST(siddon_weights_are_lengths_in_voxels) {
  for_random_scans([](const Example& e) {
    compare_with<Siddon, double>(length_in_voxel, length_sensitivity, e, 1e-14);
    compare_with<Siddon, float>(length_in_voxel, length_sensitivity, e, 4e-6);
  });
}

TEST(joseph_weights_are_bilinear) {
  for_random_scans([](const Example& e) {
    compare_with<Joseph, double>(joseph_weight, joseph_sensitivity, e, 1e-14);
    compare_with<Joseph, float>(joseph_weight, joseph_sensitivity, e, 4e-6);
  });
}

TEST(line_weights_are_finite_and_not_negative_along_the_axes) {
  Random random(11);
  for (const Beam beam : {Beam::kParallel, Beam::kCone, Beam::kCurvedCone})
    for (int quarter = 0; quarter < 8; ++quarter) {
      const Example e = scans::example(random, beam, 0.25 * kPi * quarter, 0.0);
      for (int64_t col = 0; col < e.scan.cols; ++col)
        for (int64_t row = 0; row < e.scan.rows; ++row) {
          for (double w : walk_weights<Siddon, float>(e, row, col).values) CHECK(w >= 0.0 && w < 1e3);
          for (double w : walk_weights<Joseph, float>(e, row, col).values) CHECK(w >= 0.0 && w < 1e3);
        }
    }
}

TEST(a_ray_in_a_face_belongs_to_the_upper_voxel) {
  // Unit voxels, even sizes: the middle ray runs exactly between voxels 1 and 2 of both minor axes.
  Example e{};
  e.scan.views = e.scan.rows = e.scan.cols = 1;
  e.scan.nz = e.scan.ny = e.scan.nx = 4;
  e.view = {{{0.0, 0.0, 1.0}}, {{0.0, 0.0, 0.0}}, {{1.0, 0.0, 0.0}}, {{0.0, 1.0, 0.0}}};
  e.grid.voxel_size = {{1.0, 1.0, 1.0}};
  Weights got = walk_weights<Siddon, float>(e, 0, 0);
  int64_t voxel[3];
  for (voxel[0] = 0; voxel[0] < 4; ++voxel[0])
    for (voxel[1] = 0; voxel[1] < 4; ++voxel[1])
      for (voxel[2] = 0; voxel[2] < 4; ++voxel[2])
        CHECK_NEAR(got.at(voxel), voxel[0] == 2 && voxel[1] == 2 ? 1.0 : 0.0, 0.0);
}

TEST(a_stencil_shares_out_the_part_of_the_slab_ahead_of_the_source) {
  for (double fraction = 0.0; fraction < 1.0; fraction += 0.0625)
    for (double slope = -1.0; slope <= 1.0; slope += 0.125)
      for (const double begin : {0.0, 0.25, 0.75, 1.0}) {
        const Slab<double> slab = {fraction, 0.5 * fraction, slope, -slope, begin, 1.0};
        const Stencil<double> siddon = Siddon::stencil(slab), joseph = Joseph::stencil(slab);
        double siddon_total = 0.0, joseph_total = 0.0;
        for (int i = 0; i < 2; ++i)
          for (int j = 0; j < 2; ++j) {
            CHECK(siddon.weight[i][j] >= 0.0 && joseph.weight[i][j] >= 0.0);
            siddon_total += siddon.weight[i][j];
            joseph_total += joseph.weight[i][j];
          }
        CHECK_NEAR(siddon_total, 1.0 - begin, 1e-15);
        CHECK_NEAR(joseph_total, begin < 0.5 ? 1.0 : 0.0, 1e-15);
      }
}

TEST(tiles_of_the_grid_give_the_weights_of_the_whole_bit_for_bit) {
  for_random_scans([](const Example& e) {
    const View<float> view = make_view<float>(e.scan, e.view, e.grid);
    const VoxelBox whole = box_of(e.scan);
    for (int64_t pixel = 0; pixel < e.scan.pixels(); ++pixel) {
      const RayWalk<float> walk = make_walk(e.scan, view, make_ray(view, pixel / e.scan.cols, pixel % e.scan.cols));
      Weights in_one(e.scan), in_tiles(e.scan);
      add_walk<Siddon>(walk, whole, in_one);
      for (int corner = 0; corner < 8; ++corner) {
        VoxelBox tile = whole;
        for (int i = 0; i < 3; ++i) (corner >> i & 1 ? tile.begin : tile.end)[i] = 2;
        add_walk<Siddon>(walk, tile, in_tiles);
      }
      CHECK(in_one.values == in_tiles.values);
    }
  });
}
