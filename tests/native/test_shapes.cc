// The shapes on one detector axis: trapezoid, box and hat.
#include "check.h"
#include "core/pixel_shapes.h"
#include "random.h"

namespace {

using check::Random;
using namespace jaxct;

constexpr int32_t kPixels = 40;

// Break points in order inside (2, 38); sometimes flanks or the top are empty, but never all three.
Trapezoid<double> random_trapezoid(Random& random, int which) {
  const double t0 = random.uniform(2.0, 20.0);
  const double rise = which % 3 == 1 ? 0.0 : random.uniform(1e-4, 6.0);
  const double top = which % 4 == 3 ? 0.0 : random.uniform(0.0, 6.0);
  const double fall = which % 5 == 2 ? 0.0 : random.uniform(1e-4, 6.0);
  return make_trapezoid(t0, t0 + rise, t0 + rise + top, t0 + rise + top + fall + (which % 60 == 7 ? 1e-3 : 0.0));
}

double height_at(const Trapezoid<double>& t, double x) {
  if (x < t.t0 || x > t.t3) return 0.0;
  if (x < t.t1) return (x - t.t0) / (t.t1 - t.t0);
  if (x > t.t2) return (t.t3 - x) / (t.t3 - t.t2);
  return 1.0;
}

}  // namespace

TEST(trapezoid_weights_add_up_to_its_area) {
  Random random(3);
  for (int i = 0; i < 600; ++i) {
    const Trapezoid<double> t = random_trapezoid(random, i);
    double total = 0.0;
    for (int32_t pixel = 0; pixel < kPixels; ++pixel) {
      CHECK(t.weight(pixel) >= -1e-14);
      total += t.weight(pixel);
    }
    CHECK_NEAR(total, t.area(), 1e-12);
  }
}

TEST(trapezoid_weights_of_four_pixels_are_those_of_each) {
  Random random(4);
  for (int i = 0; i < 600; ++i) {
    const Trapezoid<double> t = random_trapezoid(random, i);
    for (int32_t first = 0; first < kPixels; ++first) {
      double weights[4];
      t.weights(first, weights);
      for (int32_t k = 0; k < 4; ++k) CHECK_NEAR(weights[k], t.weight(first + k), 1e-12);
    }
  }
}

TEST(trapezoid_integral_rises_from_zero_to_its_area) {
  Random random(5);
  for (int i = 0; i < 600; ++i) {
    const Trapezoid<double> t = random_trapezoid(random, i);
    CHECK_NEAR(t.below(t.t0 - 1.0), 0.0, 1e-14);
    CHECK_NEAR(t.below(t.t3 + 1.0), t.area(), 1e-12);
    double before = t.below(0.0);
    for (double x = 0.0; x <= kPixels; x += 0.01) {
      CHECK(t.below(x) >= before - 1e-14);
      before = t.below(x);
    }
  }
}

TEST(trapezoid_integral_is_the_area_under_the_trapezoid) {
  Random random(9);
  for (int i = 0; i < 60; ++i) {
    const Trapezoid<double> t = random_trapezoid(random, i);
    if (t.t1 - t.t0 < 0.1 || t.t3 - t.t2 < 0.1) continue;
    const double step = 1e-3;
    double sum = 0.0;
    for (double x = t.t0; x < t.t3; x += step) {
      CHECK_NEAR(t.below(x), sum, 2e-5);
      sum += step * height_at(t, x + 0.5 * step);
    }
  }
}

TEST(trapezoid_in_single_precision_keeps_its_total_far_out_on_a_detector) {
  Random random(13);
  for (int i = 0; i < 600; ++i) {
    const auto t0 = static_cast<float>(random.uniform(0.0, 4000.0));
    const auto width = static_cast<float>(random.uniform(0.05, 3.0));
    const Trapezoid<float> t = make_trapezoid(t0, t0 + 0.25F * width, t0 + 0.5F * width, t0 + width);
    const IndexRange range = t.range(4100);
    float total = 0.0F;
    for (int32_t pixel = range.begin; pixel < range.end; ++pixel) {
      CHECK(t.weight(pixel) >= -1e-6F);
      total += t.weight(pixel);
    }
    CHECK_NEAR(total, t.area(), 1e-5F * t.area());
  }
}

TEST(an_empty_trapezoid_weighs_nothing) {
  const Trapezoid<float> t = make_trapezoid(3.0F, 3.0F, 3.0F, 3.0F);
  for (int32_t pixel = 0; pixel < 8; ++pixel) CHECK_NEAR(t.weight(pixel), 0.0, 0.0);
}
