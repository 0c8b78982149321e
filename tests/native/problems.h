#pragma once
// Problems for the loops of both back ends, on exactly sized buffers (so that a sanitizer sees a step outside), and the
// CPU's answers.
#include <atomic>
#include <limits>
#include <thread>

#include "check.h"
#include "cpu/kernels.h"
#include "random.h"

namespace problems {

using check::Random;
using jaxct::Direction;
using jaxct::Model;
using namespace jaxct::cpu;

constexpr double kPi = 3.14159265358979323846;
constexpr Model kModels[] = {Model::kJoseph, Model::kSiddon, Model::kSeparableFootprint, Model::kDistanceDriven,
                             Model::kVoxelDriven};
enum Beam : int64_t { kParallel, kCone, kCurvedCone };

// The pool is the number of threads.
inline void run_on_threads(void* pool, int64_t tasks, void (*body)(void* data, int64_t task), void* data) {
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

// The most that a problem has of each.
struct Sizes {
  int64_t views = 5, cols = 14, voxels = 11;
};

template <typename T>
Problem<T> make_problem(unsigned seed, Beam beam, bool planar, double tilt, Sizes most = {}) {
  Random random(seed);
  Problem<T> p;
  p.call.views = random.integer(1, most.views);
  p.call.rows = planar ? 1 : random.integer(1, 9);
  p.call.cols = random.integer(1, most.cols);
  p.call.nz = planar ? 1 : random.integer(1, 11);
  p.call.ny = random.integer(1, most.voxels);
  p.call.nx = random.integer(1, most.voxels);
  p.call.beam = beam;
  p.call.magnification_power = 2;
  p.call.planar = planar;
  const double axial = planar ? 1.0 : random.uniform(0.7, 2.5);
  const double source = beam == kParallel ? 1.0 : random.uniform(12.0, 40.0) * static_cast<double>(most.voxels) / 11.0;
  for (int64_t v = 0; v < p.call.views; ++v) {
    // The first view looks along an axis, where rays run in the voxels' faces.
    const double a = v == 0 ? 0.5 * kPi * static_cast<double>(seed % 4) : random.uniform(0.0, 2.0 * kPi);
    const double c = std::cos(a), s = std::sin(a), sign = beam == kParallel ? 1.0 : -1.0;
    const double pitch = random.uniform(0.8, 2.0), far = random.uniform(10.0, 30.0);
    // A curved detector must stay tangent to the arc about its source.
    const double shift = v == 0 || beam == kCurvedCone ? 0.0 : random.uniform(-2.0, 2.0),
                 rise = planar ? 0.0 : random.uniform(-3.0, 3.0);
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

inline Status run(const Kernels& kernels, Model model, Direction direction, const Call<float>& call,
                  const Executor& executor) {
  return kernels.run_f32(model, direction, call, executor);
}

inline Status run(const Kernels& kernels, Model model, Direction direction, const Call<double>& call,
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

}  // namespace problems
