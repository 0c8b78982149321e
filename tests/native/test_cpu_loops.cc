// The CPU loops as the handlers call them, on exactly sized buffers (so that a sanitizer sees a step outside), for
// every model, beam, precision and instruction set.
#include <atomic>
#include <thread>

#include "check.h"
#include "cpu/kernels.h"
#include "random.h"

namespace {

using check::Random;
using namespace jaxct::cpu;

constexpr double kPi = 3.14159265358979323846;
constexpr Model kModels[] = {Model::kJoseph, Model::kSiddon, Model::kSeparableFootprint, Model::kDistanceDriven,
                             Model::kVoxelDriven};
enum Beam : int64_t { kParallel, kCone, kCurvedCone };

// The pool is the number of threads.
void run_on_threads(void* pool, int64_t tasks, void (*body)(void* data, int64_t task), void* data) {
  std::atomic<int64_t> next{0};
  auto drain = [&] {
    for (int64_t task; (task = next.fetch_add(1)) < tasks;) body(data, task);
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < *static_cast<int*>(pool); ++i) helpers.emplace_back(drain);
  drain();
  for (std::thread& helper : helpers) helper.join();
}

// Sizes and geometry of a problem. `tilt` turns the detector a little out of the z direction.
template <typename T>
struct Problem {
  Call<T> call{};
  std::vector<T> vectors, grid;

  size_t volume_size() const { return static_cast<size_t>(call.nz * call.ny * call.nx); }
  size_t projections_size() const { return static_cast<size_t>(call.views * call.rows * call.cols); }

  void add_view(const double (&rows_of_vectors)[4][3]) {
    for (const auto& vector : rows_of_vectors)
      for (const double component : vector) vectors.push_back(static_cast<T>(component));
  }
};

template <typename T>
Problem<T> make_problem(unsigned seed, Beam beam, bool planar, double tilt) {
  Random random(seed);
  Problem<T> p;
  p.call.views = random.integer(1, 5);
  p.call.rows = planar ? 1 : random.integer(1, 9);
  p.call.cols = random.integer(1, 14);
  p.call.nz = planar ? 1 : random.integer(1, 11);
  p.call.ny = random.integer(1, 11);
  p.call.nx = random.integer(1, 11);
  p.call.beam = beam;
  p.call.magnification_power = 2;
  p.call.planar = planar;
  const double axial = planar ? 1.0 : random.uniform(0.7, 2.5);
  const double source = beam == kParallel ? 1.0 : random.uniform(12.0, 40.0);
  for (int64_t v = 0; v < p.call.views; ++v) {
    // The first view looks along an axis, where rays run in the voxels' faces.
    const double a = v == 0 ? 0.5 * kPi * static_cast<double>(seed % 4) : random.uniform(0.0, 2.0 * kPi);
    const double c = std::cos(a), s = std::sin(a), sign = beam == kParallel ? 1.0 : -1.0;
    const double pitch = random.uniform(0.8, 2.0), far = random.uniform(10.0, 30.0);
    const double shift = v == 0 ? 0.0 : random.uniform(-2.0, 2.0), rise = planar ? 0.0 : random.uniform(-3.0, 3.0);
    p.add_view({{beam == kParallel ? 0.0 : rise, sign * source * c, -sign * source * s},
                {rise, far * c + shift * s, -far * s + shift * c},
                {axial, tilt * s, tilt * c},
                {-tilt * pitch / axial, pitch * s, pitch * c}});
  }
  for (int i = 0; i < 3; ++i) p.grid.push_back(static_cast<T>(planar && i == 0 ? 1.0 : random.uniform(0.5, 1.3)));
  for (int i = 0; i < 3; ++i) p.grid.push_back(static_cast<T>(planar && i == 0 ? 0.0 : random.uniform(-1.0, 1.0)));
  return p;
}

template <typename T>
std::vector<T> noise(size_t size, unsigned seed) {
  Random random(seed);
  std::vector<T> out(size);
  for (T& value : out) value = static_cast<T>(random.uniform(-1.0, 1.0));
  return out;
}

Status run(const Kernels& kernels, Model model, Direction direction, const Call<float>& call,
           const Executor& executor) {
  return kernels.run_f32(model, direction, call, executor);
}

Status run(const Kernels& kernels, Model model, Direction direction, const Call<double>& call,
           const Executor& executor) {
  return kernels.run_f64(model, direction, call, executor);
}

// The result of one call for `items`, whose operand is `in`.
template <typename T>
std::vector<T> apply(const Kernels& kernels, Model model, Direction direction, const Problem<T>& p,
                     const std::vector<T>& in, int threads = 1, const std::vector<Item>& items = {Item{0, 0, 0, 0}}) {
  const size_t size = direction == Direction::kForward ? p.projections_size() : p.volume_size();
  std::vector<T> out(items.size() * size, std::numeric_limits<T>::quiet_NaN());
  Call<T> call = p.call;
  call.batch = static_cast<int64_t>(items.size());
  call.items = items.data();
  call.vectors = p.vectors.data();
  call.grid = p.grid.data();
  call.in = in.data();
  call.out = out.data();
  CHECK(run(kernels, model, direction, call, {&threads, &run_on_threads}) == Status::kOk);
  return out;
}

template <typename T>
double inner(const std::vector<T>& a, const std::vector<T>& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

template <typename T>
double norm(const std::vector<T>& a) {
  return std::sqrt(inner(a, a));
}

template <typename T>
double distance(const std::vector<T>& a, const std::vector<T>& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += d * d;
  }
  return std::sqrt(sum);
}

std::vector<const Kernels*> instruction_sets() {
  std::vector<const Kernels*> all = {&kernels_baseline()};
#if defined(JAXCT_HAVE_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all.push_back(&kernels_avx2());
#endif
  return all;
}

template <typename T, typename F>
void for_problems(F&& f) {
  for (unsigned seed = 1; seed <= 24; ++seed)
    for (const Beam beam : {kParallel, kCone, kCurvedCone})
      for (const Model model : kModels) {
        f(model, make_problem<T>(seed, beam, true, 0.0));
        f(model, make_problem<T>(seed, beam, false, 0.0));
        f(model, make_problem<T>(seed, beam, false, 0.02));
      }
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
