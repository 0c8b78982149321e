// The CUDA kernels of lines of response, run on the host, beside the CPU's loops.
#include <algorithm>
#include <cstring>

#include "cpu/lor_kernels.h"
#include "host_kernels.h"
#include "problems.h"

namespace {

using namespace problems;
namespace cu = jaxct::cuda;
using host::Order;
using jaxct::Derivative;
using jaxct::Lines;
using jaxct::LorScan;

constexpr Model kLorModels[] = {Model::kJoseph, Model::kSiddon, Model::kDistanceDriven};
constexpr Direction kDirections[] = {Direction::kForward, Direction::kBack};
constexpr int64_t kGridNumbers = jaxct::kLorGridNumbers;

template <typename T>
struct LorData {
  LorScan scan{};
  std::vector<T> vectors, grid;

  size_t size(Direction direction) const {
    return static_cast<size_t>(direction == Direction::kForward ? scan.projections() : scan.voxels());
  }
  size_t in_size(Direction direction) const {
    return size(direction == Direction::kForward ? Direction::kBack : Direction::kForward);
  }
  std::vector<T> data(Direction direction, unsigned seed) const { return noise<T>(in_size(direction), seed); }
};

// Ends on a cylinder around the grid, now and then within it; rays of a tube near each other.
template <typename T>
LorData<T> make_problem(unsigned seed, Lines kind, bool tof, int64_t rays) {
  Random random(seed);
  LorData<T> p;
  const bool sinogram = kind == Lines::kSinogram;
  LorScan& s = p.scan;
  s = {kind,
       random.integer(1, 5),
       sinogram ? random.integer(1, 4) : 1,
       sinogram ? random.integer(1, 6) : 1,
       rays,
       rays,
       tof || kind == Lines::kEvents ? random.integer(1, 6) : 0,
       random.integer(1, 6),
       random.integer(1, 9),
       random.integer(1, 9),
       3.0};
  const auto point = [&](double& y, double& x) {
    const double angle = random.uniform(0.0, 2.0 * kPi), radius = random.uniform(0.0, 1.0) < 0.2 ? 2.0 : 14.0;
    y = radius * std::sin(angle);
    x = radius * std::cos(angle);
  };
  const auto push = [&](double value) { p.vectors.push_back(static_cast<T>(value)); };
  const auto jitter = [&] { return random.uniform(-0.7, 0.7); };
  for (int64_t v = 0; v < s.views; ++v) {
    for (int64_t bin = 0; bin < s.bins; ++bin) {
      double y[2], x[2];
      for (int end = 0; end < 2; ++end) point(y[end], x[end]);
      const double z[2] = {random.uniform(-4.0, 4.0), random.uniform(-4.0, 4.0)};
      for (int64_t ray = 0; ray < (sinogram ? rays : s.rays()); ++ray)
        for (int end = 0; end < 2; ++end) {
          if (!sinogram) push(z[end] + jitter());
          push(y[end] + jitter());
          push(x[end] + jitter());
        }
    }
    for (int64_t i = 0; sinogram && i < s.planes * rays * 2; ++i) push(random.uniform(-4.0, 4.0));
    if (kind == Lines::kEvents) push(random.uniform(-6.0, 6.0));
  }
  for (int i = 0; i < 3; ++i) p.grid.push_back(static_cast<T>(random.uniform(0.6, 1.4)));
  for (int i = 0; i < 3; ++i) p.grid.push_back(static_cast<T>(random.uniform(-1.0, 1.0)));
  p.grid.push_back(static_cast<T>(random.uniform(1.0, 3.0)));
  p.grid.push_back(static_cast<T>(random.uniform(1.0, 4.0)));
  p.grid.push_back(static_cast<T>(random.uniform(-1.0, 1.0)));
  return p;
}

// f(model, problem) for every kind of lines, with and without time of flight.
template <typename T, typename F>
void for_lors(F&& f) {
  for (unsigned seed = 1; seed <= 12; ++seed)
    for (const Lines kind : {Lines::kList, Lines::kEvents, Lines::kSinogram})
      for (const bool tof : {false, true})
        for (const Model model : kLorModels)
          f(model, make_problem<T>(seed, kind, tof, model == Model::kDistanceDriven ? 2 : 1 + seed % 2));
}

bool has_derivatives(Model model) { return model != Model::kSiddon; }

// On the CPU.

template <typename T>
LorCall<T> call_on_cpu(const LorData<T>& p, const Item& item, const T* in, T* out) {
  const LorScan& s = p.scan;
  return {static_cast<int64_t>(s.kind),
          s.views,
          s.planes,
          s.bins,
          s.axial_rays,
          s.tangential_rays,
          s.tof_bins,
          s.nz,
          s.ny,
          s.nx,
          s.num_sigmas,
          1,
          &item,
          p.vectors.data(),
          p.grid.data(),
          in,
          out};
}

constexpr Item kItem = {0, 0, 0, 0};

template <typename T>
std::vector<T> on_cpu(Model model, Direction direction, const LorData<T>& p, const std::vector<T>& in) {
  std::vector<T> out(p.size(direction));
  int threads = 1;
  const Executor executor = {&threads, &run_on_threads};
  const LorCall<T> call = call_on_cpu(p, kItem, in.data(), out.data());
  if constexpr (std::is_same_v<T, double>)
    CHECK(lor_kernels_baseline().run_f64(model, direction, call, executor) == Status::kOk);
  else
    CHECK(lor_kernels_baseline().run_f32(model, direction, call, executor) == Status::kOk);
  return out;
}

std::vector<double> tangent_on_cpu(Model model, Direction direction, const LorData<double>& p,
                                   const LorData<double>& dot, const std::vector<double>& in) {
  std::vector<double> out(p.size(direction));
  int threads = 1;
  const LorTangentCall<double> call = {call_on_cpu(p, kItem, in.data(), out.data()), dot.vectors.data(),
                                       dot.grid.data(), &kItem};
  CHECK(lor_kernels_baseline().tangent_f64(model, direction, call, {&threads, &run_on_threads}) == Status::kOk);
  return out;
}

// By the vectors, then by the grid.
std::vector<double> gradient_on_cpu(Model model, const LorData<double>& p, const std::vector<double>& x,
                                    const std::vector<double>& y) {
  std::vector<double> out(p.vectors.size() + kGridNumbers);
  int threads = 1;
  const LorGradientCall<double> call = {call_on_cpu(p, kItem, x.data(), out.data()), y.data(),
                                        out.data() + p.vectors.size()};
  CHECK(lor_kernels_baseline().gradient_f64(model, call, {&threads, &run_on_threads}) == Status::kOk);
  return out;
}

// Through the CUDA kernels.

struct Shapes {
  std::vector<int64_t> data, vectors, grid, others;
};

template <typename T>
cu::LorCall describe(Model model, Direction direction, Derivative derivative, const LorData<T>& p,
                     const Shapes& batch = {}) {
  cu::LorCall call{};
  call.model = model;
  call.direction = direction;
  call.derivative = derivative;
  call.wide = std::is_same_v<T, double>;
  call.scan = p.scan;
  const auto plan = [&](const std::vector<int64_t>& data, const std::vector<int64_t>& others) {
    return jaxct::plan_batch(false, static_cast<int>(data.size()), data.data(), batch.vectors.data(), batch.grid.data(),
                             others.empty() ? nullptr : others.data());
  };
  call.plan = plan(batch.data, batch.others);
  if (derivative == Derivative::kGradient)
    call.projections_batch = batch.others.empty() ? call.plan.batch : plan(batch.others, batch.data).batch;
  return call;
}

// Exactly as much memory as was planned, with something in it.
void run_in_workspace(cu::LorCall& call, Order order) {
  std::vector<unsigned char> workspace(static_cast<size_t>(jaxct::plan_workspace(call.request()).bytes) + 256, 0xee);
  const auto address = reinterpret_cast<uintptr_t>(workspace.data());
  call.workspace = workspace.data() + (256 - address % 256) % 256;
  host::run(call, order);
}

template <typename T>
std::vector<T> emulate(Model model, Direction direction, const LorData<T>& p, const std::vector<T>& in,
                       Order order = Order::kBackwards, const Shapes& batch = {}) {
  cu::LorCall call = describe(model, direction, Derivative::kNone, p, batch);
  std::vector<T> out(static_cast<size_t>(call.plan.results) * p.size(direction), T(NAN));
  call.in = in.data();
  call.vectors = p.vectors.data();
  call.grid = p.grid.data();
  call.out = out.data();
  run_in_workspace(call, order);
  return out;
}

std::vector<double> in_pairs(const std::vector<double>& values, const std::vector<double>& dots) {
  std::vector<double> out;
  for (size_t i = 0; i < values.size(); ++i) out.insert(out.end(), {values[i], dots[i]});
  return out;
}

std::vector<double> emulate_tangent(Model model, Direction direction, const LorData<double>& p,
                                    const LorData<double>& dot, const std::vector<double>& in,
                                    Order order = Order::kBackwards) {
  cu::LorCall call = describe(model, direction, Derivative::kTangent, p);
  const std::vector<double> vectors = in_pairs(p.vectors, dot.vectors), grid = in_pairs(p.grid, dot.grid);
  std::vector<double> out(p.size(direction), NAN);
  call.in = in.data();
  call.vectors = vectors.data();
  call.grid = grid.data();
  call.out = out.data();
  run_in_workspace(call, order);
  return out;
}

template <typename T>
std::vector<T> emulate_gradient(Model model, const LorData<T>& p, const std::vector<T>& x, const std::vector<T>& y,
                                Order order = Order::kBackwards, int64_t block_bytes = int64_t{256} << 20,
                                const Shapes& batch = {}) {
  cu::LorCall call = describe(model, Direction::kForward, Derivative::kGradient, p, batch);
  call.block_bytes = block_bytes;
  const size_t vectors = static_cast<size_t>(p.scan.views * p.scan.numbers() * call.plan.results);
  std::vector<T> out(vectors + static_cast<size_t>(kGridNumbers * call.plan.results), T(NAN));
  call.in = x.data();
  call.projections = y.data();
  call.vectors = p.vectors.data();
  call.grid = p.grid.data();
  call.out = out.data();
  call.by_grid = out.data() + vectors;
  run_in_workspace(call, order);
  return out;
}

template <typename T>
LorData<T> some_tangent(const LorData<T>& p, unsigned seed) {
  LorData<T> dot = p;
  dot.vectors = noise<T>(p.vectors.size(), seed);
  dot.grid = noise<T>(p.grid.size(), seed + 1);
  return dot;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <typename T>
void check_against_cpu(double tolerance) {
  for_lors<T>([&](Model model, const LorData<T>& p) {
    for (const Direction direction : kDirections) {
      const std::vector<T> in = p.data(direction, 1);
      const std::vector<T> wanted = on_cpu(model, direction, p, in), got = emulate(model, direction, p, in);
      // The CPU's loops may count voxels from elsewhere, which rounds positions otherwise: weights that are next to
      // nothing change by as much as others.
      CHECK_NEAR(distance(got, wanted), 0.0, tolerance * (norm(wanted) + 0.1 * norm(in)));
    }
  });
}

}  // namespace

TEST(cuda_lors_give_the_values_of_the_cpu) {
  check_against_cpu<float>(2e-6);
  check_against_cpu<double>(1e-14);
}

TEST(cuda_lors_forward_and_back_are_transposes) {
  for_lors<double>([](Model model, const LorData<double>& p) {
    const std::vector<double> x = p.data(Direction::kForward, 1), y = p.data(Direction::kBack, 2);
    const std::vector<double> ax = emulate(model, Direction::kForward, p, x);
    const std::vector<double> aty = emulate(model, Direction::kBack, p, y);
    CHECK_NEAR(inner(ax, y), inner(x, aty), 1e-13 * (norm(ax) * norm(y) + 1e-300));
  });
}

TEST(cuda_lors_differentiate_as_the_cpu_does) {
  for_lors<double>([](Model model, const LorData<double>& p) {
    if (!has_derivatives(model)) return;
    const LorData<double> dot = some_tangent(p, 5);
    for (const Direction direction : kDirections) {
      const std::vector<double> in = p.data(direction, 1);
      const std::vector<double> wanted = tangent_on_cpu(model, direction, p, dot, in);
      const std::vector<double> got = emulate_tangent(model, direction, p, dot, in);
      CHECK_NEAR(distance(got, wanted), 0.0, 1e-12 * (norm(wanted) + 1e-2 * norm(in)));
    }
    const std::vector<double> x = p.data(Direction::kForward, 1), y = p.data(Direction::kBack, 2);
    const std::vector<double> wanted = gradient_on_cpu(model, p, x, y);
    for (const int64_t block_bytes : {int64_t{1}, int64_t{5000}, int64_t{256} << 20}) {
      const std::vector<double> got = emulate_gradient(model, p, x, y, Order::kBackwards, block_bytes);
      CHECK_NEAR(distance(got, wanted), 0.0, 1e-12 * (norm(wanted) + 1e-2 * norm(x) * norm(y)));
    }
  });
}

// Of the sum of everything, so that integers and floats have the same to carry.
TEST(cuda_lors_tangents_and_gradients_are_transposes) {
  for_lors<double>([](Model model, const LorData<double>& p) {
    if (!has_derivatives(model)) return;
    LorData<double> dot = some_tangent(p, 5);
    if (p.scan.tof_bins == 0) std::fill(dot.grid.begin() + 6, dot.grid.end(), 0.0);
    const std::vector<double> x = p.data(Direction::kForward, 1), y = p.data(Direction::kBack, 2);
    const std::vector<double> forward = emulate_tangent(model, Direction::kForward, p, dot, x);
    const std::vector<double> back = emulate_tangent(model, Direction::kBack, p, dot, y);
    std::vector<double> dots = dot.vectors;
    dots.insert(dots.end(), dot.grid.begin(), dot.grid.end());
    const std::vector<double> gradient = emulate_gradient(model, p, x, y);
    const double scale = norm(forward) * norm(y) + norm(back) * norm(x) + 1e-3;
    CHECK_NEAR(inner(forward, y), inner(x, back), 1e-12 * scale);
    CHECK_NEAR(inner(gradient, dots), inner(x, back), 1e-12 * (scale + norm(gradient) * norm(dots)));
  });
}

TEST(cuda_lors_give_the_same_bits_in_any_order_of_threads) {
  for_lors<float>([](Model model, const LorData<float>& p) {
    for (const Direction direction : kDirections) {
      const std::vector<float> in = p.data(direction, 1), first = emulate(model, direction, p, in);
      for (const Order order : {Order::kForwards, Order::kScattered})
        CHECK(same_bits(emulate(model, direction, p, in, order), first));
    }
    if (!has_derivatives(model)) return;
    const std::vector<float> x = p.data(Direction::kForward, 1), y = p.data(Direction::kBack, 2);
    const std::vector<float> first = emulate_gradient(model, p, x, y);
    for (const Order order : {Order::kForwards, Order::kScattered})
      CHECK(same_bits(emulate_gradient(model, p, x, y, order), first));
  });
  for_lors<double>([](Model model, const LorData<double>& p) {
    if (!has_derivatives(model)) return;
    const LorData<double> dot = some_tangent(p, 5);
    for (const Direction direction : kDirections) {
      const std::vector<double> in = p.data(direction, 1), first = emulate_tangent(model, direction, p, dot, in);
      for (const Order order : {Order::kForwards, Order::kScattered})
        CHECK(same_bits(emulate_tangent(model, direction, p, dot, in, order), first));
    }
  });
}

// The unit of the integers follows the data, and no sum overflows: a hundred lines on top of each other.
TEST(cuda_lors_sums_are_as_good_for_large_and_small_data) {
  const auto check = [](auto number, int exponent) {
    using T = decltype(number);
    for (const Model model : kLorModels) {
      LorData<T> p = make_problem<T>(3, Lines::kList, false, model == Model::kDistanceDriven ? 2 : 1);
      const std::vector<T> one(p.vectors.begin(), p.vectors.begin() + p.scan.numbers());
      p.vectors.clear();
      for (int i = 0; i < 100; ++i) p.vectors.insert(p.vectors.end(), one.begin(), one.end());
      p.scan.views = 100;
      std::vector<T> y(100, T(1)), large = y, small = y;
      for (T& value : large) value = std::ldexp(value, exponent);
      for (T& value : small) value = std::ldexp(value, -exponent);
      const std::vector<T> wanted = emulate(model, Direction::kBack, p, y);
      CHECK_NEAR(distance(wanted, on_cpu(model, Direction::kBack, p, y)), 0.0,
                 (std::is_same_v<T, double> ? 1e-13 : 1e-5) * norm(wanted));
      std::vector<T> from_large = emulate(model, Direction::kBack, p, large);
      std::vector<T> from_small = emulate(model, Direction::kBack, p, small);
      for (T& value : from_large) value = std::ldexp(value, -exponent);
      for (T& value : from_small) value = std::ldexp(value, exponent);
      CHECK(same_bits(from_large, wanted));
      CHECK(same_bits(from_small, wanted));
    }
  };
  check(0.0F, 110);
  check(0.0, 900);
}

TEST(cuda_lors_zero_data_give_zeros) {
  for_lors<float>([](Model model, const LorData<float>& p) {
    const std::vector<float> zeros(p.in_size(Direction::kBack), 0.0F);
    for (const float value : emulate(model, Direction::kBack, p, zeros)) CHECK(value == 0.0F);
  });
}

// What is not a number in the data is not a number where its line has weight, and leaves voxels that it does not touch
// as they are without it.
TEST(cuda_lors_wild_data_stay_on_their_lines) {
  size_t voxels = 0, untouched = 0;
  for_lors<double>([&](Model model, const LorData<double>& p) {
    const std::vector<double> y = p.data(Direction::kBack, 1);
    const size_t at = y.size() / 2;
    std::vector<double> others = y, alone(y.size(), 0.0);
    others[at] = 0.0;
    alone[at] = 1.0;
    const std::vector<double> wanted = emulate(model, Direction::kBack, p, others);
    const std::vector<double> weights = emulate(model, Direction::kBack, p, alone);
    for (const double wild : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
      std::vector<double> in = y;
      in[at] = wild;
      const std::vector<double> got = emulate(model, Direction::kBack, p, in);
      for (size_t i = 0; i < got.size(); ++i) {
        CHECK(std::isfinite(got[i]) ? weights[i] == 0.0 && got[i] == wanted[i] : std::isnan(got[i]));
        ++voxels;
        untouched += std::isfinite(got[i]) ? 1 : 0;
      }
    }
  });
  CHECK(untouched > voxels * 8 / 10);
}

TEST(cuda_lors_an_unsound_line_is_nan_where_it_matters) {
  for_lors<double>([](Model model, LorData<double> p) {
    const bool sinogram = p.scan.kind == Lines::kSinogram;
    const int64_t view = p.scan.views / 2, values = p.scan.values();
    p.vectors[static_cast<size_t>(view * p.scan.numbers())] = INFINITY;  // of the first bin, in sinograms
    const std::vector<double> forward = emulate(model, Direction::kForward, p, p.data(Direction::kForward, 1));
    for (size_t i = 0; i < forward.size(); ++i) {
      const jaxct::Tube tube = jaxct::tube_of(p.scan, static_cast<int64_t>(i) / values);
      CHECK(std::isnan(forward[i]) == (tube.view == view && (!sinogram || tube.bin == 0)));
    }
    const std::vector<double> x = p.data(Direction::kForward, 1), y = p.data(Direction::kBack, 1);
    for (const double value : emulate(model, Direction::kBack, p, y)) CHECK(std::isnan(value));
    if (!has_derivatives(model)) return;
    const std::vector<double> gradient = emulate_gradient(model, p, x, y);
    for (size_t i = 0; i < gradient.size() - kGridNumbers; ++i)
      if (static_cast<int64_t>(i) / p.scan.numbers() != view) CHECK(std::isfinite(gradient[i]));
    CHECK(std::isnan(gradient[static_cast<size_t>(view * p.scan.numbers())]));
    for (size_t i = gradient.size() - kGridNumbers; i < gradient.size(); ++i) CHECK(std::isnan(gradient[i]));
  });
}

TEST(cuda_lors_an_unsound_grid_is_nan_everywhere) {
  for_lors<float>([](Model model, LorData<float> p) {
    p.grid[1] = 0.0F;
    for (const Direction direction : kDirections)
      for (const float value : emulate(model, direction, p, p.data(direction, 1))) CHECK(std::isnan(value));
  });
}

// Two images, two geometries, three grids, each along an axis of its own or shared.
TEST(cuda_lors_batches_are_loops) {
  for (const Model model : kLorModels)
    for (const Lines kind : {Lines::kList, Lines::kEvents, Lines::kSinogram}) {
      const LorData<double> one = make_problem<double>(7, kind, true, 2);
      LorData<double> p = one;
      const std::vector<double> other = some_tangent(one, 3).vectors;
      for (size_t i = 0; i < other.size(); ++i) p.vectors.push_back(one.vectors[i] + other[i]);
      for (int i = 1; i < 3; ++i)
        for (const double number : one.grid) p.grid.push_back(number + 0.1 * i);
      const auto geometry = [&](size_t vectors, size_t grid) {
        LorData<double> item = one;
        std::copy_n(p.vectors.begin() + static_cast<int64_t>(vectors * one.vectors.size()), one.vectors.size(),
                    item.vectors.begin());
        std::copy_n(p.grid.begin() + static_cast<int64_t>(grid) * kGridNumbers, kGridNumbers, item.grid.begin());
        return item;
      };
      const auto part = [](const std::vector<double>& all, size_t i, size_t size) {
        return std::vector<double>(all.begin() + static_cast<int64_t>(i * size),
                                   all.begin() + static_cast<int64_t>((i + 1) * size));
      };
      const Shapes shapes = {{2, 1, 1}, {1, 2, 1}, {1, 1, 3}, {}};
      for (const Direction direction : kDirections) {
        const size_t in_size = one.in_size(direction), size = one.size(direction);
        const std::vector<double> in = noise<double>(2 * in_size, 1);
        const std::vector<double> got = emulate(model, direction, p, in, Order::kBackwards, shapes);
        CHECK(got.size() == 12 * size);
        for (size_t i = 0; i < 12; ++i)
          CHECK(same_bits(part(got, i, size),
                          emulate(model, direction, geometry(i / 3 % 2, i % 3), part(in, i / 6, in_size))));
      }
      if (!has_derivatives(model)) continue;
      const size_t volume = one.in_size(Direction::kForward), projections = one.in_size(Direction::kBack);
      const std::vector<double> x = noise<double>(2 * volume, 1), y = noise<double>(3 * projections, 2);
      const std::vector<double> got = emulate_gradient(model, p, x, y, Order::kBackwards, int64_t{256} << 20,
                                                       {{2, 1, 1}, {1, 2, 1}, {1, 1, 3}, {1, 1, 3}});
      for (size_t i = 0; i < 12; ++i) {
        std::vector<double> item = part(got, i, one.vectors.size());
        const int64_t by_grid = static_cast<int64_t>(12 * one.vectors.size() + i * kGridNumbers);
        item.insert(item.end(), got.begin() + by_grid, got.begin() + by_grid + kGridNumbers);
        CHECK(same_bits(item, emulate_gradient(model, geometry(i / 3 % 2, i % 3), part(x, i / 6, volume),
                                               part(y, i % 3, projections))));
      }
    }
}
