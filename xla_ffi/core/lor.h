#pragma once
// Lines of response: segments between two points, seen slab by slab along their dominant axis as rays are (ray_walk.h).
#include "core/joseph.h"
#include "core/pixel_shapes.h"
#include "core/siddon.h"
#include "core/tof.h"

JAXCT_NAMESPACE_BEGIN

// Which lines: a list; a list in which each has a bin of time of flight of its own; a sinogram's, the product of lines
// in a transaxial plane and of planes.
enum class Lines : int64_t { kList = 0, kEvents = 1, kSinogram = 2 };

// The static description of an operator. A tube has axial_rays x tangential_rays lines. tof_bins: 0 without time of
// flight.
struct LorScan {
  Lines kind;
  int64_t views, planes, bins;
  int64_t axial_rays, tangential_rays;
  int64_t tof_bins;
  int64_t nz, ny, nx;
  double num_sigmas;

  JAXCT_HD int64_t size(int axis) const { return axis == 0 ? nz : axis == 1 ? ny : nx; }
  JAXCT_HD int64_t voxels() const { return nz * ny * nx; }
  JAXCT_HD int64_t rays() const { return axial_rays * tangential_rays; }
  JAXCT_HD int64_t tubes() const { return views * planes * bins; }
  // Values of a tube: one, or one for each bin of time of flight.
  JAXCT_HD int64_t values() const { return kind == Lines::kEvents || tof_bins == 0 ? 1 : tof_bins; }
  JAXCT_HD int64_t projections() const { return tubes() * values(); }
  // Numbers of a view, see `ray_of`.
  JAXCT_HD int64_t numbers() const {
    if (kind == Lines::kSinogram) return bins * tangential_rays * 4 + planes * axial_rays * 2;
    return rays() * 6 + (kind == Lines::kEvents ? 1 : 0);
  }
  // The index of an axis' middle.
  template <typename T>
  JAXCT_HD T middle(int axis) const {
    return T(0.5) * static_cast<T>(static_cast<int32_t>(size(axis)) - 1);
  }
};

constexpr int kLorGridNumbers = 9;  // voxel size, centre; sigma, bin width and offset

// Where the numbers of one ray's ends are among a view's: start and end, each z, y, x.
struct RayPlaces {
  int64_t at[6];
};

// A list has rays x (start, end) x (z, y, x). A sinogram has bins x tangential rays x (start, end) x (y, x), then
// planes x axial rays x (start, end) in z.
JAXCT_HD RayPlaces places_of(const LorScan& scan, int64_t plane, int64_t bin, int64_t ray) {
  RayPlaces p;
  if (scan.kind != Lines::kSinogram) {
    for (int i = 0; i < 6; ++i) p.at[i] = ray * 6 + i;
    return p;
  }
  const int64_t line = (bin * scan.tangential_rays + ray % scan.tangential_rays) * 4;
  const int64_t heights =
      scan.bins * scan.tangential_rays * 4 + (plane * scan.axial_rays + ray / scan.tangential_rays) * 2;
  for (int end = 0; end < 2; ++end) {
    p.at[3 * end] = heights + end;
    p.at[3 * end + 1] = line + 2 * end;
    p.at[3 * end + 2] = line + 2 * end + 1;
  }
  return p;
}

// One of a tube's lines, in mm.
template <typename D>
struct Segment {
  Vec3<D> start, end;
};

template <typename T>
struct LorWalk {
  RayWalk<T> ray;
  T low, high;                   // the part of the axis between the ends, in slabs
  T tof_position, tof_per_slab;  // mm from the line's middle, at slab ray.middle and from one slab to the next
};

// Voxel size and centre, and voxels per mm.
template <typename D>
struct LorBox {
  Vec3<D> voxel_size, center, per_mm;
};

template <typename D>
JAXCT_HD LorBox<D> make_box(const Vec3<D>& voxel_size, const Vec3<D>& center) {
  return {voxel_size, center, {{D(1) / voxel_size[0], D(1) / voxel_size[1], D(1) / voxel_size[2]}}};
}

template <typename D>
JAXCT_HD Segment<D> in_voxels(const Segment<D>& s, const LorBox<D>& box) {
  return {(s.start - box.center) * box.per_mm, (s.end - box.center) * box.per_mm};
}

// `s` in voxels from the grid's middle.
template <typename T, typename D>
JAXCT_HD LorWalk<T> make_lor_walk(const LorScan& scan, const Segment<D>& s, const Vec3<D>& voxel_size, int axis) {
  const Vec3<D> direction = s.end - s.start;
  const int i = axis, j = i == 2 ? 0 : i + 1, k = j == 2 ? 0 : j + 1;
  const D di = pick(direction.c, i), from = pick(s.start.c, i), to = pick(s.end.c, i), inverse = D(1) / di;
  const D slope_j = pick(direction.c, j) * inverse, slope_k = pick(direction.c, k) * inverse;
  const D per_slab = norm(direction * voxel_size) * inverse, middle = scan.middle<D>(i);
  LorWalk<T> walk;
  walk.ray.axis = i;
  walk.ray.minor_a = j;
  walk.ray.minor_b = k;
  walk.ray.middle = static_cast<T>(middle);
  walk.ray.a = static_cast<T>(scan.middle<D>(j) + pick(s.start.c, j) - from * slope_j);
  walk.ray.b = static_cast<T>(scan.middle<D>(k) + pick(s.start.c, k) - from * slope_k);
  walk.ray.slope_a = static_cast<T>(slope_j);
  walk.ray.slope_b = static_cast<T>(slope_k);
  walk.ray.step = static_cast<T>(abs_of(per_slab));
  walk.ray.ascending = di > D(0);
  walk.ray.origin = T(0);
  walk.low = static_cast<T>(min_of(from, to) + middle);
  walk.high = static_cast<T>(max_of(from, to) + middle);
  walk.tof_position = static_cast<T>(D(-0.5) * (from + to) * per_slab);
  walk.tof_per_slab = static_cast<T>(per_slab);
  return walk;
}

// The slabs of a walk that its stencil can touch, between the ends.
template <typename T>
JAXCT_HD IndexRange slabs_between(const LorWalk<T>& walk, const VoxelBox& box) {
  const IndexRange inside = slabs_in(walk.ray, box);
  if (inside.empty()) return inside;
  const auto first = static_cast<Real<T>>(inside.begin), last = static_cast<Real<T>>(inside.end);
  const int32_t low = floor_index(clamp(value_of(walk.low) + Real<T>(0.5), first, last));
  const int32_t high = floor_index(clamp(value_of(walk.high) + Real<T>(0.5), first, last));
  return {low, min_of(high + 1, inside.end)};
}

// The part of slab k between the ends.
template <typename T>
JAXCT_HD SlabPart<T> part_between(const LorWalk<T>& walk, T k) {
  const T edge = k - T(0.5);
  return {clamp(walk.low - edge, T(0), T(1)), clamp(walk.high - edge, T(0), T(1))};
}

template <typename T>
JAXCT_HD T tof_position(const LorWalk<T>& walk, int32_t k) {
  return multiply_add(walk.tof_per_slab, static_cast<T>(k) - walk.ray.middle, walk.tof_position);
}

// The box of all voxels.
JAXCT_HD VoxelBox whole_grid(const LorScan& scan) {
  return {{0, 0, 0}, {static_cast<int32_t>(scan.nz), static_cast<int32_t>(scan.ny), static_cast<int32_t>(scan.nx)}};
}

JAXCT_HD Strides strides_of(const LorScan& scan) { return {{scan.ny * scan.nx, scan.nx, 1}}; }

// Models of a tube: `walks` of them are summed and divided by their number, each made from kLines of its lines. A walk
// goes through `slabs`, in each of which it touches cells: visit(voxel, weight in mm).
struct LorLine {
  static constexpr int kLines = 1;
  template <typename T>
  using Walk = LorWalk<T>;

  JAXCT_HD static int64_t walks(const LorScan& scan) { return scan.rays(); }
  JAXCT_HD static int64_t line(const LorScan&, int64_t walk, int) { return walk; }

  template <typename T, typename D>
  JAXCT_HD static LorWalk<T> make(const LorScan& scan, const Segment<D> (&lines)[1], const LorBox<D>& grid) {
    const Segment<D> s = in_voxels(lines[0], grid);
    return make_lor_walk<T>(scan, s, grid.voxel_size, dominant_axis(s.end - s.start));
  }
  template <typename T>
  JAXCT_HD static const LorWalk<T>& line_of(const LorWalk<T>& walk) {
    return walk;
  }
  template <typename T>
  JAXCT_HD static IndexRange slabs(const LorWalk<T>& walk, const VoxelBox& box) {
    return slabs_between(walk, box);
  }
};

// Where a line crosses slab k, and how much of it: the cells are (cell_a + 0|1, cell_b + 0|1).
template <typename T>
JAXCT_HD Crossing<T> cross_slab(const LorWalk<T>& walk, int32_t k) {
  const T at = static_cast<T>(k), offset = at - walk.ray.middle;
  const T a = multiply_add(walk.ray.slope_a, offset, walk.ray.a);
  const T b = multiply_add(walk.ray.slope_b, offset, walk.ray.b);
  const int32_t cell_a = floor_index(a), cell_b = floor_index(b);
  const SlabPart<T> part = part_between(walk, at);
  return {cell_a,
          cell_b,
          {a - static_cast<T>(cell_a), b - static_cast<T>(cell_b), walk.ray.slope_a, walk.ray.slope_b, part.begin,
           part.end}};
}

// A slab that an end lies in counts in proportion.
struct LorJoseph : LorLine {
  template <typename T, typename Visit>
  JAXCT_HD static void visit_slab(const LorScan&, const LorWalk<T>& walk, const VoxelBox& box, const Strides& strides,
                                  int32_t k, Visit&& visit) {
    const Crossing<T> at = cross_slab(walk, k);
    const T length = (at.slab.end - at.slab.begin) * walk.ray.step;
    const T a1 = at.slab.fraction_a, b1 = at.slab.fraction_b;
    const T weight_a[2] = {(T(1) - a1) * length, a1 * length}, weight_b[2] = {T(1) - b1, b1};
    visit_cells(walk.ray, box, strides, k, at.cell_a, at.cell_b,
                [&](int i, int j, int64_t voxel) { visit(voxel, weight_a[i] * weight_b[j]); });
  }
};

struct LorSiddon : LorLine {
  template <typename T, typename Visit>
  JAXCT_HD static void visit_slab(const LorScan&, const LorWalk<T>& walk, const VoxelBox& box, const Strides& strides,
                                  int32_t k, Visit&& visit) {
    const Crossing<T> at = cross_slab(walk, k);
    for_cells(walk.ray, box, strides, k, at.cell_a, at.cell_b, Siddon::stencil(at.slab),
              [&](int64_t voxel, T weight) { visit(voxel, weight * walk.ray.step); });
  }
};

// Distance driven: in each slab the part of the tube's rectangle that a cell covers. The rectangle lies between the
// tube's first line and its last, which are those of two opposite corners. Slabs are transaxial ones whatever the
// slope, so that the rectangle is not seen from its edge.
struct LorDistanceDriven {
  static constexpr int kLines = 2;

  template <typename T>
  struct Walk {
    LorWalk<T> middle;
    T a[2], slope_a[2], b[2], slope_b[2];  // of the two lines, at middle.ray.middle
  };

  // A tube is no thinner than this, in voxels.
  static constexpr double kThinnest = 1e-3;

  JAXCT_HD static int64_t walks(const LorScan&) { return 1; }
  JAXCT_HD static int64_t line(const LorScan& scan, int64_t, int i) { return i == 0 ? 0 : scan.rays() - 1; }

  template <typename T, typename D>
  JAXCT_HD static Walk<T> make(const LorScan& scan, const Segment<D> (&lines)[2], const LorBox<D>& grid) {
    const Segment<D> corners[2] = {in_voxels(lines[0], grid), in_voxels(lines[1], grid)};
    const Segment<D> middle = {D(0.5) * (corners[0].start + corners[1].start),
                               D(0.5) * (corners[0].end + corners[1].end)};
    const Vec3<D> d = middle.end - middle.start;
    const int axis = abs_of(d[1]) > abs_of(d[2]) ? 1 : 2;
    Walk<T> walk;
    walk.middle = make_lor_walk<T>(scan, middle, grid.voxel_size, axis);
    JAXCT_UNROLL
    for (int i = 0; i < 2; ++i) {
      // Edges in z are those of the middle of the face: which diagonal the corners lie on must not matter.
      const Segment<D> level = {{{corners[i].start[0], middle.start[1], middle.start[2]}},
                                {{corners[i].end[0], middle.end[1], middle.end[2]}}};
      const RayWalk<T> side = make_lor_walk<T>(scan, corners[i], grid.voxel_size, axis).ray;
      const RayWalk<T> height = make_lor_walk<T>(scan, level, grid.voxel_size, axis).ray;
      // Of minor axes, z is the first along x and the second along y.
      walk.a[i] = select(axis == 2, height.a, side.a);
      walk.slope_a[i] = select(axis == 2, height.slope_a, side.slope_a);
      walk.b[i] = select(axis == 2, side.b, height.b);
      walk.slope_b[i] = select(axis == 2, side.slope_b, height.slope_b);
    }
    return walk;
  }
  template <typename T>
  JAXCT_HD static const LorWalk<T>& line_of(const Walk<T>& walk) {
    return walk.middle;
  }

  template <typename T>
  JAXCT_HD static IndexRange slabs(const Walk<T>& walk, const VoxelBox& box) {
    const RayWalk<T>& ray = walk.middle.ray;
    const auto walkable = [](const T& x) { return abs_of(value_of(x)) < Real<T>(1e9); };
    if (!walkable(walk.a[0]) || !walkable(walk.a[1]) || !walkable(walk.b[0]) || !walkable(walk.b[1])) return {0, 0};
    const auto first = static_cast<Real<T>>(pick(box.begin, ray.axis)),
               last = static_cast<Real<T>>(pick(box.end, ray.axis));
    const int32_t low = floor_index(clamp(value_of(walk.middle.low) + Real<T>(0.5), first, last));
    const int32_t high = floor_index(clamp(value_of(walk.middle.high) + Real<T>(0.5), first, last));
    return {low, min_of(high + 1, pick(box.end, ray.axis))};
  }

  template <typename T>
  JAXCT_HD static Box<T> shadow(const T (&at)[2], const T (&slope)[2], T offset) {
    const T p = multiply_add(slope[0], offset, at[0]), q = multiply_add(slope[1], offset, at[1]);
    const T middle = T(0.5) * (p + q) + T(0.5), half = T(0.5) * max_of(abs_of(q - p), T(kThinnest));
    return {middle - half, middle + half};
  }

  template <typename T, typename Visit>
  JAXCT_HD static void visit_slab(const LorScan& scan, const Walk<T>& walk, const VoxelBox&, const Strides& strides,
                                  int32_t k, Visit&& visit) {
    const RayWalk<T>& ray = walk.middle.ray;
    const T at = static_cast<T>(k), offset = at - ray.middle;
    const Box<T> a = shadow(walk.a, walk.slope_a, offset), b = shadow(walk.b, walk.slope_b, offset);
    const IndexRange range_a = a.range(static_cast<int32_t>(scan.size(ray.minor_a)));
    const IndexRange range_b = b.range(static_cast<int32_t>(scan.size(ray.minor_b)));
    if (range_a.empty() || range_b.empty()) return;
    const SlabPart<T> part = part_between(walk.middle, at);
    const T density = (part.end - part.begin) * ray.step / ((a.end - a.begin) * (b.end - b.begin));
    const int64_t stride_a = pick(strides.axis, ray.minor_a), stride_b = pick(strides.axis, ray.minor_b);
    for (int32_t i = range_a.begin; i < range_a.end; ++i) {
      const T row = density * a.weight(i);
      const int64_t base = k * pick(strides.axis, ray.axis) + i * stride_a;
      for (int32_t j = range_b.begin; j < range_b.end; ++j) visit(base + j * stride_b, row * b.weight(j));
    }
  }
};

JAXCT_NAMESPACE_END
