#pragma once
// What a sinogram's planes share: a line, or a tube, in the transaxial plane, and the columns that it meets slab by
// slab.
#include "cpu/column_volume.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// In the transaxial plane, in voxels from the grid's middle.
struct TransaxialSegment {
  Vec3<double> start, end;  // z is 0

  Vec3<double> direction() const { return end - start; }
  int axis() const { return abs_of(direction()[2]) > abs_of(direction()[1]) ? 2 : 1; }
};

template <typename T>
struct TransaxialLine {
  int32_t begin, end;            // slabs
  double from, inverse, middle;  // z(k) = start + rise * (k - middle - from) * inverse
  double square_length;          // mm
  LorWalk<T> walk;
  T edge[2], slope[2];  // of a tube's two sides, across the walk's axis at its middle, in cells' edges

  int32_t slabs() const { return end - begin; }
  bool along_y() const { return walk.ray.axis == 1; }
};

template <typename T>
TransaxialLine<T> make_line(const LorScan& scan, const TransaxialSegment& s, const Vec3<double>& size) {
  const int axis = s.axis();
  const Vec3<double> d = s.direction();
  const double y = d[1] * size[1], x = d[2] * size[2];
  return {0,
          0,
          s.start[axis],
          1.0 / d[axis],
          scan.template middle<double>(axis),
          y * y + x * x,
          make_lor_walk<T>(scan, Segment<double>{s.start, s.end}, size, axis),
          {},
          {}};
}

inline IndexRange slabs_or_none(IndexRange slabs) { return slabs.empty() ? IndexRange{0, 0} : slabs; }

// Joseph's line: each slab has two columns, those that it runs between.
struct LineColumns {
  static constexpr int32_t kFirstEntry = 1;

  static int64_t lines(const LorScan& scan) { return scan.tangential_rays; }

  template <typename T>
  static TransaxialLine<T> make(const LorScan& scan, const TransaxialSegment* rays, const Vec3<double>& size) {
    TransaxialLine<T> line = make_line<T>(scan, rays[0], size);
    const IndexRange slabs = slabs_or_none(slabs_between(line.walk, whole_grid(scan)));
    line.begin = slabs.begin;
    line.end = slabs.end;
    return line;
  }

  // f(slab from the first on, number of the pair in it, first column, distance to the second, weights of both)
  template <typename T, typename F>
  static void for_pairs(const LorScan& scan, const ColumnVolume<T>& volume, const TransaxialLine<T>& line, F&& f) {
    constexpr int32_t kMargin = ColumnVolume<T>::kMargin;
    const RayWalk<T>& ray = line.walk.ray;
    const bool along_y = line.along_y();
    const T a0 = along_y ? ray.a : ray.b, slope = along_y ? ray.slope_a : ray.slope_b;
    const auto last = static_cast<int32_t>(along_y ? scan.nx : scan.ny);
    const int64_t next =
        along_y ? volume.column(0, 1) - volume.column(0, 0) : volume.column(1, 0) - volume.column(0, 0);
    for (int32_t k = line.begin; k < line.end; ++k) {
      const T at = static_cast<T>(k), a = multiply_add(slope, at - ray.middle, a0);
      const int32_t cell = floor_index(a), inside = max_of(-kMargin, min_of(cell, last));
      const SlabPart<T> part = part_between(line.walk, at);
      const T length = part.end - part.begin, far = (a - static_cast<T>(cell)) * length;
      f(k - line.begin, 0, along_y ? volume.column(k, inside) : volume.column(inside, k), next, length - far, far);
    }
  }
};

// A tube: each slab has the columns that it covers in part.
struct TubeColumns {
  static constexpr int32_t kFirstEntry = 0;

  static int64_t lines(const LorScan&) { return 1; }

  template <typename T>
  static TransaxialLine<T> make(const LorScan& scan, const TransaxialSegment* rays, const Vec3<double>& size) {
    const TransaxialSegment middle = {0.5 * (rays[0].start + rays[1].start), 0.5 * (rays[0].end + rays[1].end)};
    TransaxialLine<T> line = make_line<T>(scan, middle, size);
    const bool along_y = line.along_y();
    for (int i = 0; i < 2; ++i) {
      const Segment<double> side = {rays[i].start, rays[i].end};
      const RayWalk<T> ray = make_lor_walk<T>(scan, side, size, line.walk.ray.axis).ray;
      line.edge[i] = along_y ? ray.a : ray.b;
      line.slope[i] = along_y ? ray.slope_a : ray.slope_b;
      if (!(abs_of(line.edge[i]) < T(1e9))) return line;
    }
    const T last = static_cast<T>(along_y ? scan.ny : scan.nx);
    const int32_t low = floor_index(clamp(line.walk.low + T(0.5), T(0), last));
    const int32_t high = floor_index(clamp(line.walk.high + T(0.5), T(0), last));
    IndexRange slabs = {low, min_of(high + 1, static_cast<int32_t>(last))};
    while (!slabs.empty() && covered(scan, line, slabs.begin).empty()) ++slabs.begin;
    while (!slabs.empty() && covered(scan, line, slabs.end - 1).empty()) --slabs.end;
    slabs = slabs_or_none(slabs);
    line.begin = slabs.begin;
    line.end = slabs.end;
    return line;
  }

  template <typename T, typename F>
  static void for_pairs(const LorScan& scan, const ColumnVolume<T>& volume, const TransaxialLine<T>& line, F&& f) {
    const bool along_y = line.along_y();
    const int64_t next =
        along_y ? volume.column(0, 1) - volume.column(0, 0) : volume.column(1, 0) - volume.column(0, 0);
    for (int32_t k = line.begin; k < line.end; ++k) {
      const Box<T> shadow = shadow_of(line, k);
      const IndexRange cells = covered(scan, line, k);
      const SlabPart<T> part = part_between(line.walk, static_cast<T>(k));
      const T density = (part.end - part.begin) / (shadow.end - shadow.begin);
      int32_t pair = 0;
      for (int32_t i = cells.begin; pair == 0 || i < cells.end; i += 2, ++pair) {
        const T weight = i < cells.end ? density * shadow.weight(i) : T(0);
        const T next_weight = i + 1 < cells.end ? density * shadow.weight(i + 1) : T(0);
        f(k - line.begin, pair, along_y ? volume.column(k, i) : volume.column(i, k), next, weight, next_weight);
      }
    }
  }

 private:
  template <typename T>
  static Box<T> shadow_of(const TransaxialLine<T>& line, int32_t k) {
    return LorDistanceDriven::shadow(line.edge, line.slope, static_cast<T>(k) - line.walk.ray.middle);
  }

  template <typename T>
  static IndexRange covered(const LorScan& scan, const TransaxialLine<T>& line, int32_t k) {
    return shadow_of(line, k).range(static_cast<int32_t>(line.along_y() ? scan.nx : scan.ny));
  }
};

}  // namespace loops
JAXCT_NAMESPACE_END
