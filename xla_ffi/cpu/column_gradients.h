#pragma once
// Gradients of the separable footprint with respect to the geometry, in 3-D, where every view's detector rows are
// stacked along z: column by column, a column's voxels together, along lines (lines.h).
//
// A column's part of <projections, A volume> is sum_c weight(c) * P_c, where P_c is what its voxels meet of detector
// column c once they are spread over the rows. Detectors that tilt move voxels by as much as they are away from the
// middle slice: hence the moments along z.
#include "core/separable_footprint.h"
#include "cpu/gradient_problem.h"
#include "cpu/lines.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

template <typename T>
class ColumnGradient {
 public:
  using Model = SeparableFootprint;

  ColumnGradient(const Scan& scan, const View<T>& view, const T* y)
      : scan_(scan),
        view_(view),
        y_(y),
        weighted_(scan.cols, scan.rows),
        shadow_(scan.cols, scan.rows),
        buffers_(3, scan.rows),
        down_(rows_run_down(view)) {
    if (!*this) return;
    for (int64_t r = 0; r < scan.rows; ++r)
      for (int64_t c = 0; c < scan.cols; ++c)
        weighted_[c][r] = y[data_row(r) * scan.cols + c] * obliquity(view, data_row(r), c);
  }

  explicit operator bool() const { return weighted_ && shadow_ && buffers_; }

  // slices, and slices times their distance from the middle.
  void add_column(T y, T x, const T* slices, const T* raised, View<T>& to) const {
    auto column = Model::make_column(scan_, view_, view_.beam, y, x);
    if (!(column.scale > T(0))) return;
    column = upwards(scan_, column);
    const auto num_rows = static_cast<T>(scan_.rows), num_slices = static_cast<T>(scan_.nz);
    const IndexRange cols = column.column.range(static_cast<int32_t>(scan_.cols));
    const IndexRange rows = {floor_index(clamp(column.edge, T(0), num_rows)),
                             ceil_index(clamp(column.edge + column.slope * num_slices, T(0), num_rows))};
    if (cols.empty() || rows.empty()) return;
    T *const flat = buffers_[0], *const steep = buffers_[1], *const met = buffers_[2];
    const auto nz = static_cast<int32_t>(scan_.nz);
    spread<Model>(column.edge, column.slope, slices, nz, rows,
                  [=](int32_t r, Lanes<T> value) { store(value, flat + r); });
    spread<Model>(column.edge, column.slope, raised, nz, rows,
                  [=](int32_t r, Lanes<T> value) { store(value, steep + r); });
    for (int32_t r = rows.begin; r < rows.end; r += kLanes<T>) store(Lanes<T>(T(0)), met + r);

    Moments<T> sum = {T(0), T(0)}, by_shape[4] = {};
    T lower[4], upper[4];
    column.column.below_by(static_cast<T>(cols.begin), lower);
    for (int32_t c = cols.begin; c < cols.end; ++c) {
      const T weight = column.scale * column.column.weight(c);
      const Moments<T> here = meet(flat, steep, weight, rows, weighted_[c], shadow_[c], met);
      column.column.below_by(static_cast<T>(c + 1), upper);
      for (int i = 0; i < 4; ++i) {
        by_shape[i] = by_shape[i] + here * (column.scale * (upper[i] - lower[i]));
        lower[i] = upper[i];
      }
      sum = sum + here * weight;
    }
    clear_around(rows, met);
    pull(column, {{T(0), y, x}}, sum, by_shape, move_edges(column.edge, column.slope, slices, met, rows), to);
  }

  void finish(View<double>& sums) const {
    gradient_of_obliquity(scan_, view_, y_, sums,
                          [&](int64_t row, int64_t col) { return shadow_[col][data_row(row)]; });
  }

 private:
  // Changes of the rows' edges (voxels' lower and upper ends) by 1, by s and by s^2, s from the middle slice.
  struct EdgeMoments {
    T zeroth, first, second;
  };

  int64_t data_row(int64_t row) const { return down_ ? scan_.rows - 1 - row : row; }

  // A detector column: what the voxels meet there. Adds to their shadow and to what is met in all columns.
  static Moments<T> meet(const T* flat, const T* steep, T weight, IndexRange rows, const T* weighted, T* shadow,
                         T* met) {
    Lanes<T> sum(T(0)), along_z(T(0));
    const Lanes<T> factor(weight);
    for (int32_t r = rows.begin; r < rows.end; r += kLanes<T>) {
      const Lanes<T> y = load_lanes(weighted + r), x = load_lanes(flat + r);
      sum = sum + y * x;
      along_z = along_z + y * load_lanes(steep + r);
      store(load_lanes(shadow + r) + factor * x, shadow + r);
      store(load_lanes(met + r) + factor * y, met + r);
    }
    return {sum_lanes(sum), sum_lanes(along_z)};
  }

  // Where two voxels meet, a row goes from the one to the other.
  EdgeMoments move_edges(T edge, T slope, const T* slices, const T* met, IndexRange rows) const {
    using Number = Lanes<T>;
    Number zeroth(T(0)), first(T(0)), second(T(0));
    const Number low(rows.begin - 1), high(rows.end), middle(T(0.5) * static_cast<T>(scan_.nz));
    const bool near = slope * static_cast<T>(kLanes<T>) < static_cast<T>(kWindow<T> - 2);
    for (int32_t e = 0; e <= scan_.nz; e += kLanes<T>) {
      const Number number(lane_numbers<T>() + e);
      const Index<Number> row = floor_index(clamp(Number(edge) + Number(slope) * number, low, high));
      const int32_t base = row[0];
      const Number value = near ? look_up(met + base, row - base) : gather(met, row);
      const Number gain = (load_lanes(slices + e - 1) - load_lanes(slices + e)) * value;
      const Number s = number - middle;
      zeroth = zeroth + gain;
      first = first + gain * s;
      second = second + gain * s * s;
    }
    return {sum_lanes(zeroth), sum_lanes(first), sum_lanes(second)};
  }

  void pull(const AxialColumn<Trapezoid<T>, T>& column, const Vec3<T>& q, Moments<T> sum, Moments<T> (&by_shape)[4],
            EdgeMoments edges, View<T>& to) const {
    const T across = view_.across(q), depth = view_.depth(q), along = view_.along(q);
    const T m = magnification(view_, view_.beam, across, depth);
    // A voxel's weight is area_ratio * m^2 / (its extent in rows * area of the shadow).
    to.area_ratio += sum.sum / view_.area_ratio;
    const T half_area = T(0.5) / column.column.area();
    for (int i = 0; i < 4; ++i) by_shape[i] = by_shape[i] + sum * (i < 2 ? half_area : -half_area);
    Model::pull_shadow(view_, view_.beam, q, by_shape, to);
    edges.first -= sum.sum / column.slope;
    edges.second -= T(2) * sum.along_z / column.slope;
    // Edges are at row_middle - row_shift + along * m; counted downwards they move the other way.
    const T up = down_ ? T(-1) : T(1), rise = view_.along.slope[0];
    to.row_shift -= up * edges.zeroth;
    pull_affine(q, Moments<T>{edges.zeroth, edges.first} * (up * m), to.along);
    const Moments<T> by_m =
        Moments<T>{along * edges.zeroth + rise * edges.first, along * edges.first + rise * edges.second} * up;
    pull_magnification(view_, view_.beam, q, by_m + sum * (T(2) / m), to);
  }

  const Scan& scan_;
  const View<T>& view_;
  const T* y_;
  const Lines<T> weighted_, shadow_, buffers_;
  const bool down_;
};

// A range of the volume's rows of columns, on one view.
template <typename T>
bool gradient_of_columns(const GradientProblem<T>& p, const Lines<T>& slices, const Lines<T>& raised, int64_t v,
                         IndexRange lines, View<double>& sums) {
  const ColumnGradient<T> view(p.scan, p.views[v], p.projections + v * p.scan.pixels());
  if (!view) return false;
  for (int64_t y = lines.begin; y < lines.end; ++y) {
    View<T> part = {};
    for (int64_t x = 0; x < p.scan.nx; ++x)
      view.add_column(relative<T>(y, p.scan.ny), relative<T>(x, p.scan.nx), slices[y * p.scan.nx + x],
                      raised[y * p.scan.nx + x], part);
    add_to(sums, part);
  }
  view.finish(sums);
  return true;
}

}  // namespace loops
JAXCT_NAMESPACE_END
