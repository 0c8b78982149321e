#pragma once
// A tube of lines of response in the loops of both back ends: its walks, made from the numbers of a call, and what goes
// through them.
#include "core/lor.h"

JAXCT_NAMESPACE_BEGIN

// Where the numbers of a call come from. Number is that of the loops, of T or with derivatives; Problem::Wide what
// walks are prepared in.
template <typename T, typename Number>
struct LorProblem;

template <typename T>
struct LorProblem<T, T> {
  using Wide = double;

  LorScan scan;
  const T* vectors;  // views x numbers
  const T* grid;

  JAXCT_HD Wide number(int64_t view, int64_t i, int) const {
    return static_cast<double>(vectors[view * scan.numbers() + i]);
  }
  JAXCT_HD Wide grid_number(int i) const { return static_cast<double>(grid[i]); }
};

// Along a tangent.
template <typename T>
struct LorProblem<T, Dual<T>> {
  using Wide = Dual<double>;

  LorScan scan;
  const T *vectors, *grid, *vectors_dot, *grid_dot;
  int64_t pitch = 1;  // from a number to the next: 2 where tangents lie between them

  JAXCT_HD Wide number(int64_t view, int64_t i, int) const {
    const int64_t at = (view * scan.numbers() + i) * pitch;
    return {static_cast<double>(vectors[at]), static_cast<double>(vectors_dot[at])};
  }
  JAXCT_HD Wide grid_number(int i) const {
    return {static_cast<double>(grid[i * pitch]), static_cast<double>(grid_dot[i * pitch])};
  }
};

// Along all that a walk made from so many lines depends on: first the ends of each line, then the bin of an event, last
// voxel size and time of flight. By the grid's centre nothing is asked: to move it is to move the ends the other way.
template <int kLines>
constexpr int kEventDirection = 6 * kLines;
template <int kLines>
constexpr int kDirections = (kEventDirection<kLines> + 1 + 6 + 7) / 8 * 8;

// N of these directions at once, all of them or those from `first` on.
template <typename T, int N>
struct LorProblem<T, Dual<T, Tangents<T, N>>> {
  using Wide = Dual<double, Tangents<double, N>>;

  LorScan scan;
  const T *vectors, *grid;
  int first = 0, all = N;

  JAXCT_HD Wide seed(T value, int direction) const {
    Wide x(static_cast<double>(value));
    for (int i = 0; i < N; ++i)
      if (direction == first + i) x.tangent.v[i] = 1.0;
    return x;
  }
  JAXCT_HD Wide number(int64_t view, int64_t i, int direction) const {
    return seed(vectors[view * scan.numbers() + i], direction);
  }
  JAXCT_HD Wide grid_number(int i) const { return seed(grid[i], i < 3 ? all - 6 + i : i < 6 ? -1 : all - 9 + i); }
};

template <typename D>
struct LorGrid {
  LorBox<D> box;
  D sigma, bin_width, offset;
};

template <typename Problem>
JAXCT_HD_LARGE LorGrid<typename Problem::Wide> unpack_grid_of(const Problem& p) {
  typename Problem::Wide g[kLorGridNumbers];
  for (int i = 0; i < kLorGridNumbers; ++i) g[i] = p.grid_number(i);
  using Vector = Vec3<typename Problem::Wide>;
  return {make_box(Vector{{g[0], g[1], g[2]}}, Vector{{g[3], g[4], g[5]}}), g[6], g[7], g[8]};
}

// What all tubes of a problem share.
template <typename Number, typename D>
struct LorSetup {
  LorGrid<D> grid;
  TofKernel<Number> tof;
};

template <typename Number, typename Problem>
JAXCT_HD_LARGE LorSetup<Number, typename Problem::Wide> make_lor_setup(const Problem& p) {
  const LorGrid<typename Problem::Wide> grid = unpack_grid_of(p);
  return {grid, make_tof(Number(grid.sigma), Number(grid.bin_width), Number(grid.offset), p.scan.num_sigmas,
                         p.scan.tof_bins)};
}

// A tube's place in the data.
struct Tube {
  int64_t view, plane, bin;
};

JAXCT_HD Tube tube_of(const LorScan& scan, int64_t i) {
  if (scan.kind != Lines::kSinogram) return {i, 0, 0};
  return {i / (scan.planes * scan.bins), i / scan.bins % scan.planes, i % scan.bins};
}

// The numbers of a walk's lines get directions 0 to 5 and 6 to 11.
template <typename Problem>
JAXCT_HD_LARGE Segment<typename Problem::Wide> line_of(const Problem& p, const Tube& t, int64_t line, int number) {
  using D = typename Problem::Wide;
  const RayPlaces places = places_of(p.scan, t.plane, t.bin, line);
  D v[6];
  for (int i = 0; i < 6; ++i) v[i] = p.number(t.view, places.at[i], number * 6 + i);
  return {{{v[0], v[1], v[2]}}, {{v[3], v[4], v[5]}}};
}

template <typename Model, typename Number, typename Problem>
JAXCT_HD_LARGE typename Model::template Walk<Number> make_walk_of(const Problem& p,
                                                                  const LorGrid<typename Problem::Wide>& grid,
                                                                  const Tube& t, int64_t walk) {
  Segment<typename Problem::Wide> lines[Model::kLines];
  for (int i = 0; i < Model::kLines; ++i) lines[i] = line_of(p, t, Model::line(p.scan, walk, i), i);
  return Model::template make<Number>(p.scan, lines, grid.box);
}

// The values of a tube that a slab's share in them: visit(index, factor).
template <typename Number, typename Visit>
JAXCT_HD_LARGE void for_values(const LorScan& scan, const TofKernel<Number>& tof, Number event, Number position,
                               Visit&& visit) {
  if (scan.tof_bins == 0)
    visit(0, Number(1));
  else if (scan.kind == Lines::kEvents)
    visit(0, probability(tof, position, event));
  else
    for_bins(tof, position, visit);
}

// Tubes of a problem, one by one. Volumes and values are read by index, from a pointer or from what is like one.
template <typename Model, typename T, typename Number>
class TubeLoops {
 public:
  using Problem = LorProblem<T, Number>;
  using Wide = typename Problem::Wide;
  using Setup = LorSetup<Number, Wide>;

  JAXCT_HD_LARGE TubeLoops(const Problem& p, const Setup& setup)
      : p_(p),
        scan_(p.scan),
        setup_(setup),
        box_(whole_grid(p.scan)),
        strides_(strides_of(p.scan)),
        share_(T(1) / static_cast<T>(Model::walks(p.scan))) {}

  JAXCT_HD_LARGE const LorScan& scan() const { return scan_; }

  JAXCT_HD_LARGE auto make_walk(const Tube& tube, int64_t number) const {
    return make_walk_of<Model, Number>(p_, setup_.grid, tube, number);
  }

  // slab(k, position, event) for every slab of a tube's walk.
  template <typename Walk, typename Slab>
  JAXCT_HD_LARGE void for_slabs(const Tube& tube, const Walk& walk, Slab&& slab) const {
    const Number event = event_of(tube.view);
    const IndexRange slabs = Model::slabs(walk, box_);
    for (int32_t k = slabs.begin; k < slabs.end; ++k) slab(k, tof_position(Model::line_of(walk), k), event);
  }

  template <typename Volume>
  JAXCT_HD_LARGE void forward_tube(const Tube& tube, const Volume& volume, T* values) const {
    for (int64_t w = 0; w < Model::walks(scan_); ++w) forward_walk(tube, make_walk(tube, w), volume, values);
  }

  template <typename Walk, typename Volume>
  JAXCT_HD_LARGE void forward_walk(const Tube& tube, const Walk& walk, const Volume& volume, T* values) const {
    for_slabs(tube, walk, [&](int32_t k, Number position, Number event) {
      const Number sum = integrate(walk, k, volume) * share_;
      for_values(scan_, setup_.tof, event, position,
                 [&](int64_t i, Number factor) { values[i] += answer_of(factor * sum); });
    });
  }

  // add(voxel, what it gets) for all that a walk gives back.
  template <typename Walk, typename Values, typename Add>
  JAXCT_HD_LARGE void back_walk(const Tube& tube, const Walk& walk, const Values& values, Add&& add) const {
    for_slabs(tube, walk, [&](int32_t k, Number position, Number event) {
      const Number factor = collect(event, position, values) * share_;
      Model::visit_slab(scan_, walk, box_, strides_, k,
                        [&](int64_t at, Number weight) { add(at, answer_of(weight * factor)); });
    });
  }

  // No voxel gets more than this of what a walk gives back for values no larger than 1. Not for derivatives.
  template <typename Walk>
  JAXCT_HD double largest_weight(const Walk& walk) const {
    return static_cast<double>(Model::line_of(walk).ray.step) * static_cast<double>(share_);
  }

  // What <values, walk> is, with its derivatives.
  template <typename Volume, typename Values>
  JAXCT_HD_LARGE Number contract_walk(const Tube& tube, int64_t w, const Volume& volume, const Values& values) const {
    const auto walk = make_walk(tube, w);
    Number total(0);
    for_slabs(tube, walk, [&](int32_t k, Number position, Number event) {
      total += integrate(walk, k, volume) * collect(event, position, values);
    });
    return total * share_;
  }

 private:
  template <typename Walk, typename Volume>
  JAXCT_HD_LARGE Number integrate(const Walk& walk, int32_t k, const Volume& volume) const {
    Number sum(0);
    Model::visit_slab(scan_, walk, box_, strides_, k, [&](int64_t at, Number weight) { sum += weight * volume[at]; });
    return sum;
  }

  // What comes back to a slab from a tube's values.
  template <typename Values>
  JAXCT_HD_LARGE Number collect(Number event, Number position, const Values& values) const {
    Number sum(0);
    for_values(scan_, setup_.tof, event, position, [&](int64_t i, Number factor) { sum += factor * values[i]; });
    return sum;
  }

  // The middle of an event's bin, mm along its line.
  JAXCT_HD_LARGE Number event_of(int64_t view) const {
    if (scan_.kind != Lines::kEvents) return Number(0);
    return Number(p_.number(view, scan_.numbers() - 1, kEventDirection<Model::kLines>) + setup_.grid.offset);
  }

  const Problem& p_;
  const LorScan& scan_;
  const Setup& setup_;
  const VoxelBox box_;
  const Strides strides_;
  const T share_;
};

JAXCT_NAMESPACE_END
