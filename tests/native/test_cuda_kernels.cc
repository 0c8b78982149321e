// The CUDA kernels, run on the host a thread after the other through the launches that a stream would get, beside the
// CPU's loops.
#include <cstring>

#include "cuda/storage.h"
#include "host_kernels.h"
#include "problems.h"

namespace {

using namespace problems;
namespace cu = jaxct::cuda;
using jaxct::DataType;
using jaxct::Scan;

template <typename T>
constexpr DataType kDataType = std::is_same_v<T, double> ? DataType::kFloat64 : DataType::kFloat32;
template <>
constexpr DataType kDataType<cu::Half> = DataType::kFloat16;
template <>
constexpr DataType kDataType<cu::Bfloat16> = DataType::kBfloat16;

struct BatchShape {
  std::vector<int64_t> data, vectors, grid;
};

struct Options {
  BatchShape batch;
  bool fast = false;
  int64_t block_bytes = int64_t{256} << 20;
};

cu::Call describe(Model model, const Options& options, DataType type, const Scan& scan) {
  cu::Call call{};
  call.model = model;
  call.type = type;
  call.fast = options.fast;
  call.block_bytes = options.block_bytes;
  call.scan = scan;
  return call;
}

template <typename T>
Scan scan_of(const Problem<T>& p) {
  const auto& call = p.call;
  return {call.views,
          call.rows,
          call.cols,
          call.nz,
          call.ny,
          call.nx,
          static_cast<jaxct::Beam>(call.beam),
          call.planar,
          call.magnification_power};
}

void run_in_workspace(cu::Call& call) {
  std::vector<unsigned char> workspace(static_cast<size_t>(jaxct::plan_workspace(call.request()).bytes) + 256, 0xee);
  auto address = reinterpret_cast<uintptr_t>(workspace.data());
  call.workspace = workspace.data() + (256 - address % 256) % 256;
  host::run(call);
}

// Data is what is stored, T what the geometry is given in.
template <typename T, typename Data>
std::vector<Data> emulate(Model model, Direction direction, const Problem<T>& p, const std::vector<Data>& in,
                          const Options& options = {}) {
  cu::Call call = describe(model, options, kDataType<Data>, scan_of(p));
  call.direction = direction;
  const BatchShape& batch = options.batch;
  call.plan = jaxct::plan_batch(p.call.planar, static_cast<int>(batch.data.size()), batch.data.data(),
                                batch.vectors.data(), batch.grid.data());
  const size_t size = direction == Direction::kForward ? p.projections_size() : p.volume_size();
  std::vector<Data> out(static_cast<size_t>(call.plan.results) * size);
  if (!out.empty()) std::memset(out.data(), 0xff, out.size() * sizeof(Data));  // NaN of every type
  call.in = in.data();
  call.vectors = p.vectors.data();
  call.grid = p.grid.data();
  call.out = out.data();
  run_in_workspace(call);
  return out;
}

// Along a tangent of vectors and grid.
template <typename T>
std::vector<T> emulate_tangent(Model model, Direction direction, const Problem<T>& p, const Problem<T>& dot,
                               const std::vector<T>& in, const Options& options = {}) {
  using jaxct::Dual;
  cu::Call call = describe(model, options, kDataType<T>, scan_of(p));
  call.direction = direction;
  call.derivative = jaxct::Derivative::kTangent;
  std::vector<Dual<T>> vectors, grid;
  for (size_t i = 0; i < p.vectors.size(); ++i) vectors.push_back({p.vectors[i], dot.vectors[i]});
  for (size_t i = 0; i < p.grid.size(); ++i) grid.push_back({p.grid[i], dot.grid[i]});
  std::vector<T> out(direction == Direction::kForward ? p.projections_size() : p.volume_size(), T(NAN));
  call.in = in.data();
  call.vectors = vectors.data();
  call.grid = grid.data();
  call.out = out.data();
  run_in_workspace(call);
  return out;
}

// The gradient by the vectors, then that by the grid.
template <typename T>
std::vector<T> emulate_gradient(Model model, const Problem<T>& p, const std::vector<T>& x, const std::vector<T>& y,
                                const Options& options = {}) {
  cu::Call call = describe(model, options, kDataType<T>, scan_of(p));
  call.derivative = jaxct::Derivative::kGradient;
  std::vector<T> out(p.vectors.size() + p.grid.size(), T(NAN));
  call.in = x.data();
  call.projections = y.data();
  call.vectors = p.vectors.data();
  call.grid = p.grid.data();
  call.out = out.data();
  call.by_grid = out.data() + p.vectors.size();
  run_in_workspace(call);
  return out;
}

template <typename T>
size_t in_size(const Problem<T>& p, Direction direction) {
  return direction == Direction::kForward ? p.volume_size() : p.projections_size();
}

template <typename Data, typename T>
std::vector<Data> rounded(const std::vector<T>& x) {
  std::vector<Data> out;
  for (T value : x) out.push_back(Data::from(static_cast<float>(value)));
  return out;
}

template <typename Data>
std::vector<float> widened(const std::vector<Data>& x) {
  std::vector<float> out;
  for (Data value : x) out.push_back(static_cast<float>(value));
  return out;
}

inline std::vector<float> magnitudes(std::vector<float> x) {
  for (float& value : x) value = std::abs(value);
  return x;
}

constexpr Direction kDirections[] = {Direction::kForward, Direction::kBack};

template <typename T>
void check_against_cpu(double tolerance) {
  for_problems<T>([&](Model model, const Problem<T>& p) {
    for (const Direction direction : kDirections) {
      const std::vector<T> in = noise<T>(in_size(p, direction), 1);
      const std::vector<T> wanted = apply(kernels_baseline(), model, direction, p, in);
      const std::vector<T> got = emulate(model, direction, p, in);
      // Where hardly a ray meets the grid the result is next to nothing: the input sets the scale then.
      CHECK_NEAR(distance(got, wanted), 0.0, tolerance * (norm(wanted) + 1e-2 * norm(in)));
    }
  });
}

}  // namespace

TEST(cuda_kernels_give_the_values_of_the_cpu) {
  check_against_cpu<float>(2e-6);
  check_against_cpu<double>(1e-14);
}

TEST(cuda_forward_and_back_are_transposes) {
  for_problems<double>([](Model model, const Problem<double>& p) {
    const std::vector<double> x = noise<double>(p.volume_size(), 1), y = noise<double>(p.projections_size(), 2);
    const std::vector<double> ax = emulate(model, Direction::kForward, p, x);
    const std::vector<double> aty = emulate(model, Direction::kBack, p, y);
    CHECK_NEAR(inner(ax, y), inner(x, aty), 1e-13 * (norm(ax) * norm(y) + 1e-300));
  });
}

namespace {

// Puts the sources a little outside the grid's corners, and makes pixels small or large beside the voxels.
void strain(Problem<double>& p, Beam beam, double pixel_factor) {
  const double corner =
      0.5 * std::hypot(static_cast<double>(p.call.ny) * p.grid[1], static_cast<double>(p.call.nx) * p.grid[2]);
  for (int64_t v = 0; v < p.call.views; ++v) {
    double* const source = p.vectors.data() + v * 12;
    double *const center = source + 3, *const row = source + 6, *const col = source + 9;
    for (int i = 0; i < 3; ++i) {
      if (!p.call.planar) row[i] *= pixel_factor;
      col[i] *= pixel_factor;
    }
    if (beam == kParallel) continue;
    const double length = std::hypot(source[1], source[2]), near = corner + 2.5;
    const double c = source[1] / length, s = source[2] / length;
    source[1] = near * c;
    source[2] = near * s;
    if (beam != kCurvedCone) continue;
    // Straight across, so that the columns stay tangent to the arc about the new source.
    const double far = std::hypot(center[1], center[2]), pitch = std::hypot(col[1], col[2]);
    center[1] = -far * c;
    center[2] = -far * s;
    row[1] = row[2] = col[0] = 0.0;
    col[1] = -pitch * s;
    col[2] = pitch * c;
  }
}

}  // namespace

// Every search bound of the kernels is strained.
TEST(cuda_kernels_miss_no_weight_of_extreme_geometries) {
  for (unsigned seed = 1; seed <= 40; ++seed)
    for (const Beam beam : {kParallel, kCone, kCurvedCone})
      for (const double tilt : {0.0, 0.05, -1.0}) {  // -1: planar
        Problem<double> p = make_problem<double>(seed, beam, tilt < 0.0, std::fmax(tilt, 0.0));
        strain(p, beam, seed % 2 == 0 ? 0.3 : 1.7);
        for (const Model model : kModels)
          for (const Direction direction : kDirections) {
            const std::vector<double> in = noise<double>(in_size(p, direction), 3);
            const std::vector<double> wanted = apply(kernels_baseline(), model, direction, p, in);
            const double gap = distance(emulate(model, direction, p, in), wanted);
            CHECK_NEAR(gap, 0.0, 1e-12 * (norm(wanted) + 1e-2 * norm(in)));
          }
      }
}

namespace {

// Views from nowhere special: where rays run in voxels' faces, or corners fall together, derivatives have kinks.
Problem<double> generic_problem(unsigned seed, Beam beam, double tilt) {
  Problem<double> p = make_problem<double>(seed, beam, tilt < 0.0, std::fmax(tilt, 0.0));
  if (p.call.views > 1) p.vectors.erase(p.vectors.begin(), p.vectors.begin() + 12), --p.call.views;
  return p;
}

Problem<double> some_tangent(const Problem<double>& p, unsigned seed) {
  Problem<double> dot = p;
  dot.vectors = noise<double>(p.vectors.size(), seed);
  dot.grid = noise<double>(p.grid.size(), seed + 1);
  return dot;
}

std::vector<double> tangent_on_cpu(Model model, Direction direction, const Problem<double>& p,
                                   const Problem<double>& dot, const std::vector<double>& in) {
  const Item item = {0, 0, 0, 0};
  std::vector<double> out(direction == Direction::kForward ? p.projections_size() : p.volume_size());
  TangentCall<double> tangent = {p.call, dot.vectors.data(), dot.grid.data(), &item};
  Call<double>& call = tangent.call;
  call.batch = 1;
  call.items = &item;
  call.vectors = p.vectors.data();
  call.grid = p.grid.data();
  call.in = in.data();
  call.out = out.data();
  int threads = 1;
  CHECK(kernels_baseline().tangent_f64(model, direction, tangent, {&threads, &run_on_threads}) == Status::kOk);
  return out;
}

constexpr Model kDifferentiable[] = {Model::kJoseph, Model::kSeparableFootprint};

}  // namespace

TEST(cuda_derivatives_along_a_tangent_miss_no_weight_of_extreme_geometries) {
  for (unsigned seed = 1; seed <= 20; ++seed)
    for (const Beam beam : {kParallel, kCone, kCurvedCone})
      for (const double tilt : {0.0, 0.05, -1.0}) {  // -1: planar
        Problem<double> p = generic_problem(seed, beam, tilt);
        strain(p, beam, seed % 2 == 0 ? 0.3 : 1.7);
        const Problem<double> dot = some_tangent(p, seed);
        for (const Model model : kDifferentiable)
          for (const Direction direction : kDirections) {
            const std::vector<double> in = noise<double>(in_size(p, direction), 3);
            const std::vector<double> wanted = tangent_on_cpu(model, direction, p, dot, in);
            const double gap = distance(emulate_tangent(model, direction, p, dot, in), wanted);
            CHECK_NEAR(gap, 0.0, 1e-11 * (norm(wanted) + norm(in)));
          }
      }
}

// What <y, A x> gains along a tangent, by the gradient and by the tangent's projection; in one block of views and in
// many.
TEST(cuda_gradients_by_the_geometry_are_the_transpose_of_tangents) {
  for (unsigned seed = 1; seed <= 20; ++seed)
    for (const Beam beam : {kParallel, kCone, kCurvedCone})
      for (const double tilt : {0.0, 0.05, -1.0}) {
        Problem<double> p = generic_problem(seed, beam, tilt);
        strain(p, beam, seed % 2 == 0 ? 0.3 : 1.7);
        const Problem<double> dot = some_tangent(p, seed);
        std::vector<double> dots = dot.vectors;
        dots.insert(dots.end(), dot.grid.begin(), dot.grid.end());
        const std::vector<double> x = noise<double>(p.volume_size(), 4), y = noise<double>(p.projections_size(), 5);
        for (const Model model : kDifferentiable) {
          const std::vector<double> tangent = tangent_on_cpu(model, Direction::kForward, p, dot, x);
          Options view_by_view;
          view_by_view.block_bytes = 1;
          const std::vector<double> gradient = emulate_gradient(model, p, x, y);
          CHECK_NEAR(inner(gradient, dots), inner(y, tangent), 1e-10 * (norm(y) * norm(tangent) + 1e-3));
          CHECK(emulate_gradient(model, p, x, y, view_by_view) == gradient);
        }
      }
}

// Enough of them that their sums are summed, and these again.
TEST(cuda_gradients_of_many_pixels_and_views_are_summed) {
  for (const bool many_views : {false, true}) {
    Problem<double> p = generic_problem(2, kParallel, -1.0);
    p.vectors.resize(12);
    p.call.views = 1;
    p.call.ny = p.call.nx = 3;
    const int64_t many = 150000;
    if (many_views) {
      p.call.cols = 1;
      p.call.views = many / 8;
      for (int64_t i = 12; i < p.call.views * 12; ++i)
        p.vectors.push_back(p.vectors[static_cast<size_t>(i % 12)] * (1.0 + 1e-6 * static_cast<double>(i / 12)));
    } else {
      p.call.cols = many;
      for (int i = 9; i < 12; ++i) p.vectors[static_cast<size_t>(i)] *= 20.0 / static_cast<double>(many);
    }
    const Problem<double> dot = some_tangent(p, 6);
    std::vector<double> dots = dot.vectors;
    dots.insert(dots.end(), dot.grid.begin(), dot.grid.end());
    const std::vector<double> x = noise<double>(p.volume_size(), 7), y = noise<double>(p.projections_size(), 8);
    const std::vector<double> tangent = tangent_on_cpu(Model::kJoseph, Direction::kForward, p, dot, x);
    const double gained = inner(emulate_gradient(Model::kJoseph, p, x, y), dots);
    CHECK_NEAR(gained, inner(y, tangent), 1e-12 * norm(y) * norm(tangent));
  }
}

TEST(cuda_blocks_of_views_add_up) {
  for (const bool planar : {true, false})
    for (const double tilt : {0.0, 0.02})
      for (const Model model : {Model::kSeparableFootprint, Model::kDistanceDriven}) {
        Problem<float> p = make_problem<float>(3, kCone, planar, planar ? 0.0 : tilt);
        const std::vector<float> one_view(p.vectors.begin(), p.vectors.begin() + 12);
        while (p.call.views < 40) {
          p.vectors.insert(p.vectors.end(), one_view.begin(), one_view.end());
          ++p.call.views;
        }
        const std::vector<float> y = noise<float>(p.projections_size(), 4);
        Options options;
        options.block_bytes = 1;  // 16 views at a time, the least
        const std::vector<float> wanted = apply(kernels_baseline(), model, Direction::kBack, p, y);
        const std::vector<float> got = emulate(model, Direction::kBack, p, y, options);
        CHECK_NEAR(distance(got, wanted), 0.0, 2e-6 * norm(wanted));
      }
}

// Every way in which three operands share or map two batch axes, images in a lane of their own included.
TEST(cuda_batches_are_their_items_one_by_one) {
  const int64_t n[2] = {2, 19};
  for (const bool planar : {true, false})
    for (const Model model : kModels)
      for (int mapped = 0; mapped < 64; ++mapped) {
        if (!planar && mapped % 7 != 0) continue;  // the arithmetic is the same: a sample will do
        Options options;
        auto sizes = [&](int bits) { return std::vector<int64_t>{bits & 1 ? n[0] : 1, bits & 2 ? n[1] : 1}; };
        options.batch = {sizes(mapped & 3), sizes(mapped >> 2 & 3), sizes(mapped >> 4 & 3)};
        const Problem<float> one = make_problem<float>(8, kCone, planar, 0.0);
        Problem<float> all = one;
        const auto count = [](const std::vector<int64_t>& s) { return static_cast<size_t>(s[0] * s[1]); };
        for (size_t i = 1; i < count(options.batch.vectors); ++i)
          for (float component : one.vectors)
            all.vectors.push_back((1.0F + 0.002F * static_cast<float>(i)) * component);
        for (size_t i = 1; i < count(options.batch.grid); ++i)
          for (float component : one.grid) all.grid.push_back((1.0F + 0.003F * static_cast<float>(i)) * component);
        const int64_t size[2] = {mapped & 0x15 ? n[0] : 1, mapped & 0x2a ? n[1] : 1};
        std::vector<Item> items;
        for (int64_t i = 0; i < size[0]; ++i)
          for (int64_t j = 0; j < size[1]; ++j) {
            const auto item = [&](const std::vector<int64_t>& s) {
              return (s[0] == 1 ? 0 : i) * s[1] + (s[1] == 1 ? 0 : j);
            };
            const auto number = static_cast<int64_t>(items.size());
            items.push_back({item(options.batch.data), number, item(options.batch.vectors), item(options.batch.grid)});
          }
        for (const Direction direction : kDirections) {
          const std::vector<float> in = noise<float>(count(options.batch.data) * in_size(one, direction), 5);
          const std::vector<float> got = emulate(model, direction, all, in, options);
          std::vector<Item> placed = items;
          if (direction == Direction::kBack)
            for (Item& item : placed) std::swap(item.volume, item.projections);
          const std::vector<float> wanted = apply(kernels_baseline(), model, direction, all, in, 1, placed);
          CHECK(got.size() == wanted.size());
          CHECK_NEAR(distance(got, wanted), 0.0, 3e-6 * norm(wanted));
        }
      }
}

TEST(cuda_results_do_not_depend_on_the_place_in_a_batch) {
  for (const bool planar : {true, false})
    for (const Model model : kModels)
      for (const Direction direction : kDirections) {
        const Problem<float> p = make_problem<float>(9, kCone, planar, 0.0);
        const std::vector<float> one = noise<float>(in_size(p, direction), 6);
        std::vector<float> many;
        for (int i = 0; i < 21; ++i) many.insert(many.end(), one.begin(), one.end());
        Options options;
        options.batch = {{21}, {1}, {1}};
        const std::vector<float> got = emulate(model, direction, p, many, options);
        const size_t size = got.size() / 21;
        for (size_t i = size; i < got.size(); ++i) CHECK(got[i] == got[i - size]);
      }
}

TEST(cuda_fast_precision_is_matched_and_near_the_exact_one) {
  for_problems<float>([](Model model, const Problem<float>& p) {
    Options fast;
    fast.fast = true;
    // Values far outside what half precision holds: the scaling must bring them in.
    for (const float scale : {1e-9F, 1.0F, 1e9F}) {
      std::vector<float> x = noise<float>(p.volume_size(), 7), y = noise<float>(p.projections_size(), 8);
      for (float& value : x) value *= scale;
      for (float& value : y) value *= scale;
      const std::vector<float> ax = emulate(model, Direction::kForward, p, x, fast);
      const std::vector<float> aty = emulate(model, Direction::kBack, p, y, fast);
      // Rounding changes a value by 2^-11 of itself at most; sums of either sign may cancel, those of magnitudes not.
      const double most_x = norm(emulate(model, Direction::kForward, p, magnitudes(x)));
      const double most_y = norm(emulate(model, Direction::kBack, p, magnitudes(y)));
      CHECK_NEAR(distance(ax, emulate(model, Direction::kForward, p, x)), 0.0, 5e-4 * most_x);
      CHECK_NEAR(distance(aty, emulate(model, Direction::kBack, p, y)), 0.0, 5e-4 * most_y);
      CHECK_NEAR(inner(ax, y), inner(x, aty), 1e-3 * most_x * norm(y));
    }
  });
}

TEST(cuda_fast_precision_keeps_what_is_not_finite_to_itself) {
  for (const bool planar : {true, false})
    for (const Model model : kModels)
      for (const float poison : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        const Problem<float> p = make_problem<float>(6, kCone, planar, 0.0);
        std::vector<float> x = noise<float>(p.volume_size(), 12);
        x[x.size() / 2] = poison;
        Options fast;
        fast.fast = true;
        const std::vector<float> exact = emulate(model, Direction::kForward, p, x);
        const std::vector<float> got = emulate(model, Direction::kForward, p, x, fast);
        double scale = 0.0;
        for (float value : exact)
          if (std::isfinite(value)) scale = std::fmax(scale, std::abs(value));
        for (size_t i = 0; i < got.size(); ++i) {
          CHECK(std::isfinite(got[i]) == std::isfinite(exact[i]));
          if (std::isfinite(exact[i])) CHECK_NEAR(got[i], exact[i], 2e-3 * scale);
        }
      }
}

template <typename Data>
void check_storage(double tolerance) {
  for_problems<float>([&](Model model, const Problem<float>& p) {
    for (const Direction direction : kDirections) {
      const std::vector<Data> in = rounded<Data>(noise<float>(in_size(p, direction), 9));
      const std::vector<float> wanted = emulate(model, direction, p, widened(in));
      const std::vector<float> got = widened(emulate(model, direction, p, in));
      CHECK_NEAR(distance(got, wanted), 0.0, tolerance * (norm(wanted) + 1e-300));
    }
  });
}

// Sums are made in float32 and rounded once, at the end.
TEST(cuda_16_bit_storage_costs_one_rounding) {
  check_storage<cu::Half>(5e-4);
  check_storage<cu::Bfloat16>(4e-3);
}

TEST(cuda_unsound_views_give_nan_and_touch_nothing_else) {
  for (const bool planar : {true, false})
    for (const Model model : kModels)
      for (const float poison : {0.0F, std::numeric_limits<float>::quiet_NaN(), 1e30F}) {
        Problem<float> p = make_problem<float>(2, kCone, planar, 0.0);
        while (p.call.views < 2) {
          p.vectors.insert(p.vectors.end(), p.vectors.begin(), p.vectors.begin() + 12);
          ++p.call.views;
        }
        for (size_t i = 12; i < 24; ++i) p.vectors[i] = poison;
        const std::vector<float> x = noise<float>(p.volume_size(), 10), y = noise<float>(p.projections_size(), 11);
        const std::vector<float> ax = emulate(model, Direction::kForward, p, x);
        const auto view_size = static_cast<size_t>(p.call.rows * p.call.cols);
        for (size_t i = 0; i < ax.size(); ++i) CHECK(std::isnan(ax[i]) == (i / view_size == 1));
        for (float value : emulate(model, Direction::kBack, p, y)) CHECK(std::isnan(value));
      }
}

TEST(cuda_half_precision_rounds_as_hardware_does) {
  // Every half survives the way there and back; between neighbours the nearer one is taken, the even one at a tie.
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const cu::Half h = {static_cast<uint16_t>(bits)};
    const auto x = static_cast<float>(h);
    if (std::isnan(x)) continue;
    CHECK(cu::Half::from(x).bits == bits);
    if ((bits & 0x7fffU) >= 0x7bffU) continue;
    const auto next = static_cast<float>(cu::Half{static_cast<uint16_t>(bits + 1)});
    const float tie = 0.5F * (x + next);
    CHECK(cu::Half::from(tie).bits == (bits % 2 == 0 ? bits : bits + 1));
    CHECK(cu::Half::from(std::nextafter(tie, x)).bits == bits);
    CHECK(cu::Half::from(std::nextafter(tie, next)).bits == bits + 1);
  }
  CHECK(std::isnan(static_cast<float>(cu::Half::from(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(cu::Half::from(65520.0F).bits == 0x7c00U);
  CHECK(cu::Half::from(65519.0F).bits == 0x7bffU);
}
