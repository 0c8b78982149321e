// The CPU loops as the handlers call them, for every model, beam, precision and instruction set.
#include "problems.h"

namespace {

using namespace problems;

std::vector<const Kernels*> instruction_sets() {
  std::vector<const Kernels*> all = {&kernels_baseline()};
#if defined(JAXCT_HAVE_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all.push_back(&kernels_avx2());
#endif
  return all;
}

template <typename T>
void check_adjoint(double tolerance) {
  for (const Kernels* kernels : instruction_sets())
    for_problems<T>([&](Model model, const Problem<T>& p) {
      const std::vector<T> x = noise<T>(p.volume_size(), 1), y = noise<T>(p.projections_size(), 2);
      const std::vector<T> ax = apply(*kernels, model, Direction::kForward, p, x);
      const std::vector<T> aty = apply(*kernels, model, Direction::kBack, p, y);
      CHECK_NEAR(inner(ax, y), inner(x, aty), tolerance * (norm(ax) * norm(y) + 1e-300));
    });
}

}  // namespace

TEST(cpu_forward_and_back_are_transposes) {
  check_adjoint<float>(1e-6);
  check_adjoint<double>(1e-13);
}

TEST(cpu_results_do_not_depend_on_the_number_of_threads) {
  for_problems<float>([](Model model, const Problem<float>& p) {
    const std::vector<float> x = noise<float>(p.volume_size(), 3), y = noise<float>(p.projections_size(), 4);
    for (const Kernels* kernels : instruction_sets()) {
      CHECK(apply(*kernels, model, Direction::kForward, p, x, 1) ==
            apply(*kernels, model, Direction::kForward, p, x, 3));
      CHECK(apply(*kernels, model, Direction::kBack, p, y, 1) == apply(*kernels, model, Direction::kBack, p, y, 3));
    }
  });
}

TEST(cpu_instruction_sets_agree) {
  for_problems<double>([](Model model, const Problem<double>& p) {
    const std::vector<double> x = noise<double>(p.volume_size(), 5);
    const std::vector<double> baseline = apply(kernels_baseline(), model, Direction::kForward, p, x);
    for (const Kernels* kernels : instruction_sets())
      CHECK(distance(apply(*kernels, model, Direction::kForward, p, x), baseline) <= 1e-14 * (norm(baseline) + 1e-300));
  });
}

// A detector whose rows leave z by less than a rounding error takes the loops for any pose.
TEST(cpu_loops_for_stacked_rows_agree_with_those_for_any_pose) {
  for (unsigned seed = 1; seed <= 24; ++seed)
    for (const Beam beam : {kParallel, kCone, kCurvedCone})
      for (const Model model : {Model::kSeparableFootprint, Model::kDistanceDriven, Model::kVoxelDriven}) {
        const Problem<double> stacked = make_problem<double>(seed, beam, false, 0.0);
        const Problem<double> any = make_problem<double>(seed, beam, false, 1e-30);
        const std::vector<double> x = noise<double>(stacked.volume_size(), 6);
        const std::vector<double> wanted = apply(kernels_baseline(), model, Direction::kForward, any, x);
        const std::vector<double> got = apply(kernels_baseline(), model, Direction::kForward, stacked, x);
        CHECK(distance(got, wanted) <= 1e-12 * (norm(wanted) + 1e-300));
      }
}

TEST(cpu_batches_are_their_items_one_by_one) {
  for (const bool planar : {true, false})
    for (const Model model : kModels) {
      const Problem<float> one = make_problem<float>(8, kCone, planar, 0.0);
      Problem<float> two = one;  // a second geometry and grid behind the first
      for (float component : one.vectors) two.vectors.push_back(1.0625F * component);
      for (float component : one.grid) two.grid.push_back(1.0625F * component);
      const std::vector<float> x = noise<float>(2 * one.volume_size(), 7);
      for (const std::vector<Item>& items :
           {std::vector<Item>{{0, 0, 0, 0}, {1, 1, 0, 0}}, std::vector<Item>{{0, 0, 0, 0}, {0, 1, 1, 1}},
            std::vector<Item>{{1, 0, 1, 0}, {0, 1, 1, 1}, {1, 2, 0, 1}}}) {
        const std::vector<float> got = apply(kernels_baseline(), model, Direction::kForward, two, x, 2, items);
        for (size_t i = 0; i < items.size(); ++i) {
          const std::vector<Item> single = {{items[i].volume, 0, items[i].vectors, items[i].grid}};
          const std::vector<float> wanted = apply(kernels_baseline(), model, Direction::kForward, two, x, 1, single);
          const auto begin = got.begin() + static_cast<std::ptrdiff_t>(i * one.projections_size());
          const std::vector<float> item(begin, begin + static_cast<std::ptrdiff_t>(one.projections_size()));
          CHECK(distance(item, wanted) <= 1e-6 * norm(wanted));
        }
      }
    }
}

TEST(cpu_loops_give_finite_numbers_when_nothing_is_hit) {
  for (const bool planar : {true, false})
    for (const Beam beam : {kParallel, kCone, kCurvedCone})
      for (const Model model : kModels) {
        Problem<float> p = make_problem<float>(5, beam, planar, 0.0);
        for (size_t i = 4; i < 6; ++i) p.grid[i] = 1e4F;  // the volume lies far outside every ray
        const std::vector<float> x = noise<float>(p.volume_size(), 9), y = noise<float>(p.projections_size(), 10);
        for (float value : apply(kernels_baseline(), model, Direction::kForward, p, x)) CHECK(std::isfinite(value));
        for (float value : apply(kernels_baseline(), model, Direction::kBack, p, y)) CHECK(std::isfinite(value));
      }
}

// Several tiles, blocks of views and registers of columns; whole ones and rests; images one by one and in a batch.
TEST(cpu_loops_hold_together_at_larger_sizes) {
  for (unsigned seed = 1; seed <= 3; ++seed)
    for (const Beam beam : {kParallel, kCone, kCurvedCone})
      for (const bool planar : {true, false})
        for (const Model model : kModels) {
          const Sizes most = planar ? Sizes{40, 120, 150} : Sizes{20, 40, 20};
          const Problem<float> p = make_problem<float>(seed, beam, planar, 0.0, most);
          const std::vector<float> x = noise<float>(p.volume_size(), 11), y = noise<float>(p.projections_size(), 12);
          for (const Direction direction : {Direction::kForward, Direction::kBack}) {
            const std::vector<float>& in = direction == Direction::kForward ? x : y;
            const std::vector<float> wanted = apply(kernels_baseline(), model, direction, p, in);
            for (const Kernels* kernels : instruction_sets()) {
              const std::vector<float> got = apply(*kernels, model, direction, p, in);
              CHECK(distance(got, wanted) <= 1e-5 * (norm(wanted) + 1e-300));
              CHECK(apply(*kernels, model, direction, p, in, 3) == got);
            }
          }
          for (const Kernels* kernels : instruction_sets()) {
            const std::vector<float> ax = apply(*kernels, model, Direction::kForward, p, x);
            const std::vector<float> aty = apply(*kernels, model, Direction::kBack, p, y);
            CHECK_NEAR(inner(ax, y), inner(x, aty), 1e-6 * (norm(ax) * norm(y) + 1e-300));
          }
        }
}

TEST(cpu_batches_of_images_are_their_images) {
  for (const Beam beam : {kParallel, kCone, kCurvedCone})
    for (const Model model : kModels)
      for (const int64_t images : {4, 9}) {
        const Problem<double> p = make_problem<double>(6, beam, true, 0.0, {20, 40, 40});
        std::vector<Item> items;
        for (int64_t i = 0; i < images; ++i) items.push_back({i, i, 0, 0});
        const auto count = static_cast<size_t>(images);
        for (const Direction direction : {Direction::kForward, Direction::kBack}) {
          const size_t size = direction == Direction::kForward ? p.volume_size() : p.projections_size();
          const std::vector<double> in = noise<double>(count * size, 13);
          for (const Kernels* kernels : instruction_sets()) {
            std::vector<double> one_by_one;
            for (size_t i = 0; i < count; ++i) {
              const std::vector<double> item(in.begin() + static_cast<std::ptrdiff_t>(i * size),
                                             in.begin() + static_cast<std::ptrdiff_t>((i + 1) * size));
              const std::vector<double> out = apply(*kernels, model, direction, p, item);
              one_by_one.insert(one_by_one.end(), out.begin(), out.end());
            }
            const std::vector<double> got = apply(*kernels, model, direction, p, in, 2, items);
            CHECK(distance(got, one_by_one) <= 1e-13 * (norm(one_by_one) + 1e-300));
          }
        }
      }
}

TEST(cpu_loops_do_not_read_what_no_ray_connects) {
  const float bad = std::numeric_limits<float>::quiet_NaN();
  for (const Beam beam : {kParallel, kCone, kCurvedCone})
    for (const bool planar : {true, false})
      for (const Model model : kModels)
        for (const Kernels* kernels : instruction_sets()) {
          Problem<float> p = make_problem<float>(7, beam, planar, 0.0, {20, 40, 40});
          for (size_t i = 4; i < 6; ++i) p.grid[i] = 1e4F;  // the volume lies far outside every ray
          const std::vector<float> x(p.volume_size(), bad), y(p.projections_size(), bad);
          for (float value : apply(*kernels, model, Direction::kForward, p, x)) CHECK(value == 0.0F);
          for (float value : apply(*kernels, model, Direction::kBack, p, y)) CHECK(value == 0.0F);
        }
}
