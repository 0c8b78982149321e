#pragma once
// One item of a call on lines of response, unpacked.
#include "core/lor.h"
#include "cpu/lor_kernels.h"
#include "cpu/problem.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

using jaxct::cpu::LorCall;
using jaxct::cpu::LorGradientCall;
using jaxct::cpu::LorTangentCall;

template <typename T>
LorScan scan_of(const LorCall<T>& c) {
  return {static_cast<Lines>(c.kind),
          c.views,
          c.planes,
          c.bins,
          c.axial_rays,
          c.tangential_rays,
          c.tof_bins,
          c.nz,
          c.ny,
          c.nx,
          c.num_sigmas};
}

// Where the numbers of a call come from. Number is that of the loops, of T or with derivatives; Wide<Number> what walks
// are prepared in.
template <typename T, typename Number>
struct LorProblem;

template <typename T>
struct LorProblem<T, T> {
  using Wide = double;

  LorScan scan;
  const T* vectors;  // views x numbers
  const T* grid;

  Wide number(int64_t view, int64_t i, int) const { return static_cast<double>(vectors[view * scan.numbers() + i]); }
  Wide grid_number(int i) const { return static_cast<double>(grid[i]); }
};

// Along a tangent.
template <typename T>
struct LorProblem<T, Dual<T>> {
  using Wide = Dual<double>;

  LorScan scan;
  const T *vectors, *grid, *vectors_dot, *grid_dot;

  Wide number(int64_t view, int64_t i, int) const {
    const int64_t at = view * scan.numbers() + i;
    return {static_cast<double>(vectors[at]), static_cast<double>(vectors_dot[at])};
  }
  Wide grid_number(int i) const { return {static_cast<double>(grid[i]), static_cast<double>(grid_dot[i])}; }
};

// Along all that a walk made from so many lines depends on: first the ends of each line, then the bin of an event, last
// voxel size and time of flight. By the grid's centre nothing is asked: to move it is to move the ends the other way.
template <int kLines>
constexpr int kEventDirection = 6 * kLines;
template <int kLines>
constexpr int kDirections = (kEventDirection<kLines> + 1 + 6 + 7) / 8 * 8;

template <typename T, int N>
struct LorProblem<T, Dual<T, Tangents<T, N>>> {
  using Wide = Dual<double, Tangents<double, N>>;

  LorScan scan;
  const T *vectors, *grid;

  static Wide seed(T value, int direction) {
    Wide x(static_cast<double>(value));
    if (direction >= 0) x.tangent.v[direction] = 1.0;
    return x;
  }
  Wide number(int64_t view, int64_t i, int direction) const {
    return seed(vectors[view * scan.numbers() + i], direction);
  }
  Wide grid_number(int i) const { return seed(grid[i], i < 3 ? N - 6 + i : i < 6 ? -1 : N - 9 + i); }
};

template <typename D>
struct LorGrid {
  LorBox<D> box;
  D sigma, bin_width, offset;
};

template <typename Problem>
LorGrid<typename Problem::Wide> unpack_grid_of(const Problem& p) {
  typename Problem::Wide g[kLorGridNumbers];
  for (int i = 0; i < kLorGridNumbers; ++i) g[i] = p.grid_number(i);
  using Vector = Vec3<typename Problem::Wide>;
  return {make_box(Vector{{g[0], g[1], g[2]}}, Vector{{g[3], g[4], g[5]}}), g[6], g[7], g[8]};
}

// A tube's place in the data.
struct Tube {
  int64_t view, plane, bin;
};

inline Tube tube_of(const LorScan& scan, int64_t i) {
  if (scan.kind != Lines::kSinogram) return {i, 0, 0};
  return {i / (scan.planes * scan.bins), i / scan.bins % scan.planes, i % scan.bins};
}

// The numbers of a walk's lines get directions 0 to 5 and 6 to 11.
template <typename Problem>
Segment<typename Problem::Wide> line_of(const Problem& p, const Tube& t, int64_t line, int number) {
  using D = typename Problem::Wide;
  const RayPlaces places = places_of(p.scan, t.plane, t.bin, line);
  D v[6];
  for (int i = 0; i < 6; ++i) v[i] = p.number(t.view, places.at[i], number * 6 + i);
  return {{{v[0], v[1], v[2]}}, {{v[3], v[4], v[5]}}};
}

template <typename Model, typename Number, typename Problem>
typename Model::template Walk<Number> make_walk_of(const Problem& p, const LorGrid<typename Problem::Wide>& grid,
                                                   const Tube& t, int64_t walk) {
  Segment<typename Problem::Wide> lines[Model::kLines];
  for (int i = 0; i < Model::kLines; ++i) lines[i] = line_of(p, t, Model::line(p.scan, walk, i), i);
  return Model::template make<Number>(p.scan, lines, grid.box);
}

}  // namespace loops
JAXCT_NAMESPACE_END
