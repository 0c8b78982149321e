#pragma once
// Random scans for the tests: a grid of unequal voxels and a detector on the far side, sometimes tilted and shifted.
#include "core/view.h"
#include "random.h"

namespace scans {

using namespace jaxct;
using check::Random;
using Vector = Vec3<double>;

inline Vector random_vector(Random& random, double size) {
  return {{random.uniform(-size, size), random.uniform(-size, size), random.uniform(-size, size)}};
}

struct Example {
  Scan scan;
  ViewVectors view;
  GridVectors grid;
};

// A circular view at `angle`; `tilt` > 0 breaks every alignment with the axes.
inline Example example(Random& random, Beam beam, double angle, double tilt) {
  const Vector along = {{0.0, std::cos(angle), -std::sin(angle)}};
  const double to_source = random.uniform(20.0, 60.0), to_detector = random.uniform(15.0, 40.0);
  Example e{};
  e.scan.views = 1;
  e.scan.rows = random.integer(3, 7);
  e.scan.cols = random.integer(4, 11);
  e.scan.nz = random.integer(3, 6);
  e.scan.ny = random.integer(3, 8);
  e.scan.nx = random.integer(3, 8);
  e.scan.beam = beam;
  e.scan.planar = false;
  e.scan.magnification_power = 2;
  e.view.anchor = beam == Beam::kParallel ? along : (-to_source) * along;
  e.view.center = to_detector * along + random_vector(random, tilt);
  e.view.row_axis = {{random.uniform(1.0, 2.5), 0.0, 0.0}};
  e.view.col_axis = random.uniform(1.0, 2.5) * Vector{{0.0, std::sin(angle), std::cos(angle)}};
  e.view.row_axis = e.view.row_axis + random_vector(random, 0.2 * tilt);
  if (beam == Beam::kCurvedCone) {  // the column axis is the tangent of the arc
    const Vector tangent = cross(e.view.center - e.view.anchor, e.view.row_axis);
    e.view.col_axis = (random.uniform(1.0, 2.5) / norm(tangent)) * tangent;
  } else {
    e.view.col_axis = e.view.col_axis + random_vector(random, 0.2 * tilt);
  }
  e.grid.voxel_size = {{random.uniform(0.6, 2.0), random.uniform(0.6, 2.0), random.uniform(0.6, 2.0)}};
  e.grid.center = random_vector(random, tilt);
  return e;
}

// Where pixel (row, col) lies in the world, straight from the definition of the detector.
inline Vector pixel_position(const Example& e, double row, double col) {
  const double r = row - 0.5 * static_cast<double>(e.scan.rows - 1);
  const double c = col - 0.5 * static_cast<double>(e.scan.cols - 1);
  if (e.scan.beam != Beam::kCurvedCone) return e.view.center + r * e.view.row_axis + c * e.view.col_axis;
  const Vector axis = e.view.center - e.view.anchor;
  const Vector axial = (dot(axis, e.view.row_axis) / dot(e.view.row_axis, e.view.row_axis)) * e.view.row_axis;
  const Vector radial = axis - axial;
  const double radius = norm(radial), pitch = norm(e.view.col_axis), gamma = c * pitch / radius;
  return e.view.anchor + std::cos(gamma) * radial + (radius * std::sin(gamma) / pitch) * e.view.col_axis + axial +
         r * e.view.row_axis;
}

// World to index coordinates.
inline Vector to_index(const Example& e, const Vector& x) {
  return (x - e.grid.center) / e.grid.voxel_size + Vector{{e.scan.middle(0), e.scan.middle(1), e.scan.middle(2)}};
}

struct Line {
  Vector point, direction;  // index coordinates; the direction has world length 1
  bool half;                // only ahead of the point
};

inline Line line_through(const Example& e, int64_t row, int64_t col) {
  const Vector pixel = pixel_position(e, static_cast<double>(row), static_cast<double>(col));
  const bool parallel = e.scan.beam == Beam::kParallel;
  const Vector direction = parallel ? e.view.anchor : pixel - e.view.anchor;
  return {to_index(e, parallel ? pixel : e.view.anchor), (1.0 / norm(direction)) * direction / e.grid.voxel_size,
          !parallel};
}

}  // namespace scans
