// A prepared view against the geometry it was made from: rays pass through the source and their pixel, points project
// to the pixel whose ray they lie on.
#include "check.h"
#include "scans.h"

namespace {

using scans::Example;
using scans::Line;
using scans::Random;
using scans::Vector;
using namespace jaxct;

constexpr double kPi = 3.14159265358979323846;

template <typename F>
void for_pixels_of_random_scans(F&& f) {
  Random random(17);
  for (const Beam beam : {Beam::kParallel, Beam::kCone, Beam::kCurvedCone})
    for (int i = 0; i < 100; ++i) {
      const Example e = scans::example(random, beam, random.uniform(0.0, 2.0 * kPi), 4.0);
      const View<double> view = make_view<double>(e.scan, e.view, e.grid);
      for (int64_t row = 0; row < e.scan.rows; ++row)
        for (int64_t col = 0; col < e.scan.cols; ++col) f(e, view, row, col);
    }
}

Vector from_middle(const Example& e, const Vector& index) {
  return index - Vector{{e.scan.middle(0), e.scan.middle(1), e.scan.middle(2)}};
}

}  // namespace

TEST(rays_pass_through_their_pixel_towards_it) {
  for_pixels_of_random_scans([](const Example& e, const View<double>& view, int64_t row, int64_t col) {
    const Ray<double> ray = make_ray(view, row, col);
    const Line line = scans::line_through(e, row, col);
    const double length = norm(ray.direction);
    CHECK_NEAR(dot(ray.direction, line.direction) / (length * norm(line.direction)), 1.0, 1e-13);
    // A point p lies on the ray when p x d = m.
    const Vector off = cross(from_middle(e, line.point), ray.direction) - ray.moment;
    CHECK_NEAR(norm(off) / length, 0.0, 1e-12);
  });
}

TEST(points_of_a_ray_project_to_its_pixel) {
  for_pixels_of_random_scans([](const Example& e, const View<double>& view, int64_t row, int64_t col) {
    const Line line = scans::line_through(e, row, col);
    for (const double mm : {10.0, 25.0, 40.0}) {
      const Vector q = from_middle(e, line.point + mm * line.direction);
      const double across = view.across(q), depth = view.depth(q), m = magnification(view, view.beam, across, depth);
      CHECK_NEAR(column_of(view, view.beam, across, depth), col, 1e-10);
      CHECK_NEAR(row_of(view, view.along(q), m), row, 1e-10);
    }
  });
}

TEST(magnification_is_one_at_the_detector_and_two_half_way) {
  for_pixels_of_random_scans([](const Example& e, const View<double>& view, int64_t row, int64_t col) {
    if (e.scan.beam == Beam::kParallel) return;
    const Vector pixel = scans::pixel_position(e, static_cast<double>(row), static_cast<double>(col));
    for (const double share : {1.0, 0.5}) {
      const Vector point = e.view.anchor + share * (pixel - e.view.anchor);
      const Vector q = from_middle(e, scans::to_index(e, point));
      CHECK_NEAR(magnification(view, view.beam, view.across(q), view.depth(q)), 1.0 / share, 1e-12);
    }
  });
}

TEST(obliquity_is_the_inverse_cosine_to_the_detector_s_normal) {
  for_pixels_of_random_scans([](const Example& e, const View<double>& view, int64_t row, int64_t col) {
    const double r = static_cast<double>(row), c = static_cast<double>(col), h = 1e-4;
    const Vector pixel = scans::pixel_position(e, r, c);
    const Vector ray = e.scan.beam == Beam::kParallel ? e.view.anchor : pixel - e.view.anchor;
    const Vector along_row = scans::pixel_position(e, r + h, c) - scans::pixel_position(e, r - h, c);
    const Vector along_col = scans::pixel_position(e, r, c + h) - scans::pixel_position(e, r, c - h);
    const Vector normal = cross(along_col, along_row);
    CHECK_NEAR(obliquity(view, row, col), norm(ray) * norm(normal) / std::abs(dot(ray, normal)), 1e-6);
  });
}

TEST(degenerate_views_are_recognised) {
  Random random(19);
  for (const Beam beam : {Beam::kParallel, Beam::kCone, Beam::kCurvedCone}) {
    const Example sound = scans::example(random, beam, 0.3, 1.0);
    CHECK(!is_degenerate(sound.scan, sound.view));
    Example e = sound;
    e.view.col_axis = {{0.0, 0.0, 0.0}};
    CHECK(is_degenerate(e.scan, e.view));
    e = sound;
    e.view.row_axis = 2.0 * e.view.col_axis;
    CHECK(is_degenerate(e.scan, e.view));
    e = sound;
    e.view.anchor = beam == Beam::kParallel ? e.view.col_axis : e.view.center + e.view.col_axis;
    CHECK(is_degenerate(e.scan, e.view));
    e = sound;
    e.view.anchor[1] = std::nan("");
    CHECK(is_degenerate(e.scan, e.view));
  }
}
