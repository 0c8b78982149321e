#pragma once
// Gradients of the separable footprint with respect to the geometry where every view's detector rows are stacked along
// z: column by column. In 3-D a column's voxels go together, along lines (lines.h); a single image's columns go one by
// one, in as many views at a time as a register holds.
//
// A column's part of <projections, A volume> is sum_c weight(c) * P_c, where P_c is what its voxels meet of detector
// column c once they are spread over the rows. Detectors that tilt move voxels by as much as they are away from the
// middle slice: hence the moments along z.
#include "core/separable_footprint.h"
#include "cpu/gradient_problem.h"
#include "cpu/image_loops.h"
#include "cpu/line_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// Of a view's obliquity: y, the projections; shadow(row, col), what is projected there without it.
template <typename T, typename Shadow>
void gradient_of_obliquity(const Scan& scan, const View<T>& view, const T* y, View<double>& sums, Shadow&& shadow) {
  for (int64_t row = 0; row < scan.rows; ++row) {
    View<T> part = {};
    for (int64_t col = 0; col < scan.cols; ++col)
      pull_obliquity(view, static_cast<T>(row), static_cast<T>(col), make_ray(view, row, col).direction,
                     y[row * scan.cols + col] * shadow(row, col), part);
    add_to(sums, part);
  }
}

// --- 3-D
// ---------------------------------------------------------------------------------------------------------------

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

// --- a single image
// ----------------------------------------------------------------------------------------------------

// As many views as a register holds.
template <typename T>
class ImageGradient {
 public:
  using Model = SeparableFootprint;
  using Number = Lanes<T>;

  ImageGradient(const Scan& scan, const View<T>* views, int n, const T* y)
      : scan_(scan),
        views_(views),
        n_(n),
        y_(y),
        packed_(pack_views(views, n)),
        width_(scan.cols + kTaps),
        weighted_((n + 1) * width_),
        shadow_(n * width_) {
    if (!*this) return;
    for (int v = 0; v < n; ++v)
      for (int64_t c = 0; c < scan.cols; ++c)
        weighted_.get()[v * width_ + c] = y[v * scan.cols + c] * obliquity(views[v], 0, c);
  }

  explicit operator bool() const { return weighted_ && shadow_; }

  void add_row(int64_t row, const T* values, View<double>* sums) const {
    View<Number> part = {};
    const Number y(relative<T>(row, scan_.ny));
    T x = relative<T>(int64_t{0}, scan_.nx);
    auto left = Model::make_edge(packed_, packed_.beam, y, Number(x - T(0.5)));
    for (int64_t i = 0; i < scan_.nx; ++i, x += T(1)) {
      const auto right = Model::make_edge(packed_, packed_.beam, y, Number(x + T(0.5)));
      add_column(Model::make_column(scan_, packed_, packed_.beam, y, Number(x), left, right),
                 {{Number(T(0)), y, Number(x)}}, Number(values[i]), part);
      left = right;
    }
    for (int v = 0; v < n_; ++v)
      for_numbers(sums[v], part, [v](double& sum, const Number& value) { sum += static_cast<double>(value[v]); });
  }

  void finish(View<double>* sums) const {
    for (int v = 0; v < n_; ++v)
      gradient_of_obliquity(scan_, views_[v], y_ + v * scan_.cols, sums[v],
                            [&](int64_t, int64_t col) { return shadow_.get()[v * width_ + col]; });
  }

 private:
  static constexpr int kTaps = 4;

  void add_column(const AxialColumn<Trapezoid<Number>, Number>& column, const Vec3<Number>& q, Number value,
                  View<Number>& to) const {
    const Number low(T(0)), high(scan_.cols), zero(T(0));
    const auto seen = (column.scale > zero) & (column.column.end() > low) & (high > column.column.begin());
    if (!any_of(seen)) return;
    const Number scaled = select(seen, value * column.scale, zero);
    Number sum = zero, by_shape[4] = {zero, zero, zero, zero};
    Index<Number> first = floor_index(clamp(column.column.begin(), low, high));
    for (bool more = true; more;) {
      Number y[kTaps], weights[kTaps];
      load(first, y);
      column.column.weights(Number(first), weights);
      cast_shadow(first, scaled, weights);
      for (int k = 0; k < kTaps; ++k) sum = sum + weights[k] * y[k];
      collect_shape(column.column, Number(first), y, by_shape);
      first = min_of(first + kTaps, Index<Number>(static_cast<int32_t>(scan_.cols)));
      more = any_of((min_of(column.column.end(), high) > Number(first)) & seen);
    }
    // The weight is area_ratio * m / area of the shadow.
    const Number whole = scaled * sum, by_area = Number(T(0.5)) * whole / column.column.area();
    for (int i = 0; i < 4; ++i) by_shape[i] = scaled * by_shape[i] + (i < 2 ? by_area : -by_area);
    to.area_ratio = to.area_ratio + whole / packed_.area_ratio;
    Model::pull_shadow(packed_, packed_.beam, q, by_shape, to);
    const Number m = magnification(packed_, packed_.beam, packed_.across(q), packed_.depth(q));
    pull_magnification(packed_, packed_.beam, q, whole / m, to);
  }

  // Adds what the pixels' part of a trapezoid gains from changes of its break points, pixels being worth y.
  static void collect_shape(const Trapezoid<Number>& shape, Number first, const Number (&y)[kTaps], Number (&to)[4]) {
    // At each edge the pixel before it gains what the next one loses.
    const auto add_edge = [&](int k, Number gain) {
      Number by[4];
      shape.below_by(first + Number(T(k)), by);
      for (int i = 0; i < 4; ++i) to[i] = to[i] + gain * by[i];
    };
    add_edge(1, y[0] - y[1]);
    add_edge(2, y[1] - y[2]);
    // As in Trapezoid::weights: most begin in the first and end before the fourth, where they have all of their area.
    if (!any_of(max_of(first - shape.t0, shape.t3 - (first + Number(T(3)))) > Number(T(0)))) {
      const Number half = Number(T(0.5)) * y[2];
      for (int i = 0; i < 4; ++i) to[i] = i < 2 ? to[i] - half : to[i] + half;
      return;
    }
    add_edge(0, -y[0]);
    add_edge(3, y[2] - y[3]);
    add_edge(4, y[3]);
  }

  void load(Index<Number> first, Number (&y)[kTaps]) const {
    const T* from[kLanes<T>];
    // Beyond the last view there is one of zeros.
    for (int v = 0; v < kLanes<T>; ++v) from[v] = weighted_.get() + min_of(v, n_) * width_ + (v < n_ ? first[v] : 0);
    load_transposed(from, y);
  }

  void cast_shadow(Index<Number> first, Number scaled, const Number (&weights)[kTaps]) const {
    Number values[kTaps];
    T added[kLanes<T>][kTaps];
    for (int k = 0; k < kTaps; ++k) values[k] = scaled * weights[k];
    store_transposed(values, added[0]);
    for (int v = 0; v < n_; ++v) {
      T* to = shadow_.get() + v * width_ + first[v];
      (Quad<T>::load(to) + Quad<T>::load(added[v])).store(to);
    }
  }

  const Scan& scan_;
  const View<T>* views_;
  const int n_;
  const T* y_;
  const View<Number> packed_;
  const int64_t width_;
  const Scratch<T> weighted_, shadow_;
};

// A range of the image's rows, on a block of views.
template <typename T>
bool gradient_of_image(const GradientProblem<T>& p, int64_t block, IndexRange rows, View<double>* sums) {
  const int64_t first = block * kLanes<T>;
  const auto n = static_cast<int>(min_of(p.scan.views - first, int64_t{kLanes<T>}));
  const ImageGradient<T> views(p.scan, p.views + first, n, p.projections + first * p.scan.cols);
  if (!views) return false;
  for (int64_t y = rows.begin; y < rows.end; ++y) views.add_row(y, p.volume + y * p.scan.nx, sums);
  views.finish(sums);
  return true;
}

}  // namespace loops
JAXCT_NAMESPACE_END
