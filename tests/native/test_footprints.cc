// What a voxel casts on the detector, voxel by voxel.
#include "check.h"
#include "core/distance_driven.h"
#include "core/separable_footprint.h"
#include "core/voxel_driven.h"
#include "scans.h"

namespace {

using scans::Example;
using scans::Random;
using scans::Vector;
using namespace jaxct;

constexpr double kPi = 3.14159265358979323846;

// A detector large enough for every voxel of the grid, its rows stacked along z.
Example roomy_example(Random& random, Beam beam) {
  Example e = scans::example(random, beam, random.uniform(0.0, 2.0 * kPi), 0.0);
  e.scan.rows = e.scan.cols = 201;
  e.view.col_axis = 0.25 * e.view.col_axis;
  e.view.row_axis = 0.25 * e.view.row_axis;
  return e;
}

template <typename F>
void for_voxels(F&& f) {
  Random random(23);
  for (const Beam beam : {Beam::kParallel, Beam::kCone, Beam::kCurvedCone})
    for (int i = 0; i < 20; ++i) {
      const Example e = roomy_example(random, beam);
      const View<double> view = make_view<double>(e.scan, e.view, e.grid);
      for (int corner = 0; corner < 8; ++corner) {
        Vector q;
        for (int axis = 0; axis < 3; ++axis) q[axis] = (corner >> axis & 1 ? 1.0 : -1.0) * e.scan.middle(axis);
        f(e, view, q);
      }
    }
}

template <typename Shape>
double total_weight(const Shape& shape, int64_t n) {
  double total = 0.0;
  const IndexRange range = shape.range(static_cast<int32_t>(n));
  for (int32_t i = range.begin; i < range.end; ++i) total += shape.weight(i);
  return total;
}

// The magnification at a world point, from the positions of source and detector alone.
double magnification_at(const Example& e, const Vector& x) {
  if (e.scan.beam == Beam::kParallel) return 1.0;
  const Vector axis = e.view.center - e.view.anchor, to_point = x - e.view.anchor;
  if (e.scan.beam == Beam::kCone) {
    const Vector normal = cross(e.view.col_axis, e.view.row_axis);
    return dot(normal, axis) / dot(normal, to_point);
  }
  return std::hypot(axis[1], axis[2]) / std::hypot(to_point[1], to_point[2]);
}

template <typename Model>
void check_total(const Example& e, const View<double>& view, const Vector& q) {
  const auto voxel = Model::make_voxel(e.scan, view, q);
  const Vector x = e.grid.center + q * e.grid.voxel_size;
  const double m = magnification_at(e, x);
  const double volume = e.grid.voxel_size[0] * e.grid.voxel_size[1] * e.grid.voxel_size[2];
  const double area = norm(e.view.row_axis) * norm(e.view.col_axis);
  const double total = voxel.scale * total_weight(voxel.column, e.scan.cols) * total_weight(voxel.row, e.scan.rows);
  CHECK_NEAR(total / (volume * m * m / area), 1.0, 1e-12);
}

// The share of a voxel's cross-section that lies on the low side of detector column edge `u`, by brute force.
double share_below(const View<double>& view, const Vector& q, double u) {
  constexpr int kSamples = 200;
  int below = 0;
  for (int i = 0; i < kSamples; ++i)
    for (int j = 0; j < kSamples; ++j) {
      const Vector p = q + Vector{{0.0, (i + 0.5) / kSamples - 0.5, (j + 0.5) / kSamples - 0.5}};
      if (column_of(view, view.beam, view.across(p), view.depth(p)) + 0.5 < u) ++below;
    }
  return static_cast<double>(below) / (kSamples * kSamples);
}

}  // namespace

TEST(a_footprint_holds_the_volume_of_its_voxel) {
  for_voxels([](const Example& e, const View<double>& view, const Vector& q) {
    check_total<SeparableFootprint>(e, view, q);
    check_total<DistanceDriven>(e, view, q);
  });
}

TEST(a_footprint_holds_the_projected_centre) {
  for_voxels([](const Example& e, const View<double>& view, const Vector& q) {
    const double across = view.across(q), depth = view.depth(q);
    const double column = column_of(view, view.beam, across, depth) + 0.5;
    const double row = row_of(view, view.along(q), magnification(view, view.beam, across, depth)) + 0.5;
    const auto sf = SeparableFootprint::make_voxel(e.scan, view, q);
    const auto dd = DistanceDriven::make_voxel(e.scan, view, q);
    CHECK(sf.column.t0 < column && column < sf.column.t3 && sf.row.begin < row && row < sf.row.end);
    CHECK(dd.column.t0 < column && column < dd.column.t3 && dd.row.begin < row && row < dd.row.end);
    CHECK(dd.column.t0 >= sf.column.t0 - 1e-12 && dd.column.t3 <= sf.column.t3 + 1e-12);
  });
}

TEST(distance_driven_takes_the_wider_pair_of_edges) {
  for_voxels([](const Example& e, const View<double>& view, const Vector& q) {
    const auto column = [&](double y, double x) {
      const Vector p = q + Vector{{0.0, y, x}};
      return column_of(view, view.beam, view.across(p), view.depth(p));
    };
    const double over_y = std::abs(column(0.5, 0.0) - column(-0.5, 0.0));
    const double over_x = std::abs(column(0.0, 0.5) - column(0.0, -0.5));
    const Trapezoid<double> shape = DistanceDriven::make_voxel(e.scan, view, q).column;
    CHECK_NEAR(shape.t3 - shape.t0, std::fmax(over_y, over_x), 1e-11);
    CHECK(shape.t1 == shape.t0 && shape.t2 == shape.t3);
  });
}

TEST(separable_footprint_of_a_parallel_beam_is_the_exact_strip_integral) {
  Random random(29);
  for (int i = 0; i < 12; ++i) {
    const Example e = roomy_example(random, Beam::kParallel);
    const View<double> view = make_view<double>(e.scan, e.view, e.grid);
    const Vector q = {{0.0, 0.5, -1.0}};
    const Trapezoid<double> shape = SeparableFootprint::make_voxel(e.scan, view, q).column;
    for (double share = 0.05; share < 1.0; share += 0.15) {
      const double u = shape.t0 + share * (shape.t3 - shape.t0);
      CHECK_NEAR(shape.below(u) / shape.area(), share_below(view, q, u), 5e-3);  // the samples' grid
    }
  }
}

TEST(voxels_of_a_column_have_the_footprints_they_have_alone) {
  for_voxels([](const Example& e, const View<double>& view, const Vector& q) {
    const auto alone = SeparableFootprint::make_voxel(e.scan, view, q);
    const auto column = SeparableFootprint::make_column(e.scan, view, view.beam, q[1], q[2]);
    const auto z = static_cast<int32_t>(std::lround(q[0] + e.scan.middle(0)));
    const double begin = column.edge + column.slope * z, end = begin + column.slope;
    CHECK_NEAR(column.scale / alone.scale, 1.0, 1e-12);
    CHECK_NEAR(column.column.t0, alone.column.t0, 1e-11);
    CHECK_NEAR(column.column.t3, alone.column.t3, 1e-11);
    CHECK_NEAR(std::fmin(begin, end), alone.row.begin, 1e-11);
    CHECK_NEAR(std::fmax(begin, end), alone.row.end, 1e-11);
    const auto middle = static_cast<int32_t>(std::floor(0.5 * (begin + end)));
    if (column.slope > 0.0)
      CHECK_NEAR(SeparableFootprint::row_weight(column.edge, column.slope, z, middle), alone.row.weight(middle), 1e-11);
  });
}

TEST(voxel_driven_interpolates_linear_functions_exactly) {
  for_voxels([](const Example& e, const View<double>& view, const Vector& q) {
    const Scan& scan = e.scan;
    const auto voxel = VoxelDriven::make_voxel(scan, view, q);
    const double across = view.across(q), depth = view.depth(q), m = magnification(view, view.beam, across, depth);
    double column = 0.0, row = 0.0;
    for (int32_t i = 0; i < scan.cols; ++i) column += i * voxel.column.weight(i);
    for (int32_t i = 0; i < scan.rows; ++i) row += i * voxel.row.weight(i);
    CHECK_NEAR(column, column_of(view, view.beam, across, depth), 1e-11);
    CHECK_NEAR(row, row_of(view, view.along(q), m), 1e-11);
    CHECK_NEAR(voxel.scale, m * m, 1e-12 * m * m);
  });
}

TEST(voxels_beside_or_behind_the_source_cast_nothing) {
  Random random(31);
  for (const Beam beam : {Beam::kCone, Beam::kCurvedCone})
    for (int i = 0; i < 20; ++i) {
      const Example e = roomy_example(random, beam);
      const View<double> view = make_view<double>(e.scan, e.view, e.grid);
      for (const double back : {0.0, 1.0, 30.0}) {
        const Vector x = e.view.anchor - back * (1.0 / norm(e.view.center)) * e.view.center;
        const Vector q = (x - e.grid.center) / e.grid.voxel_size;
        CHECK_NEAR(SeparableFootprint::make_voxel(e.scan, view, q).scale, 0.0, 0.0);
        CHECK_NEAR(DistanceDriven::make_voxel(e.scan, view, q).scale, 0.0, 0.0);
        CHECK(!(VoxelDriven::make_voxel(e.scan, view, q).scale > 0.0) || back == 0.0);
      }
    }
}
