#pragma once
// Gradients of the separable footprint with respect to the geometry, of a single image: column by column, in as many
// views at a time as a register holds.
#include "core/separable_footprint.h"
#include "cpu/gradient_problem.h"
#include "cpu/image_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

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
        parallel_(packed_.beam == Beam::kParallel),
        width_(scan.cols + kTaps),
        weighted_((n + 1) * width_),
        shadow_(parallel_ ? 0 : n * width_) {
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
      if (parallel_)
        gradient_of_parallel_obliquity(views_[v], sums[v]);
      else
        gradient_of_obliquity(scan_, views_[v], y_ + v * scan_.cols, sums[v],
                              [&](int64_t, int64_t col) { return shadow_.get()[v * width_ + col]; });
  }

 private:
  static constexpr int kTaps = 4;

  void add_column(const AxialColumn<Trapezoid<Number>, Number>& column, const Vec3<Number>& q, Number value,
                  View<Number>& to) const {
    const Number low(T(0)), high(scan_.cols), zero(T(0));
    const Index<Number> beyond(static_cast<int32_t>(scan_.cols));
    const auto seen = (column.scale > zero) & (column.column.end() > low) & (high > column.column.begin());
    if (!any_of(seen)) return;
    const Number scaled = select(seen, value * column.scale, zero);
    Number sum = zero, by_shape[4] = {zero, zero, zero, zero};
    // What is not seen falls beyond the detector, whatever it is.
    Index<Number> first = select(seen, floor_index(clamp(column.column.begin(), low, high)), beyond);
    for (bool more = true; more;) {
      Number y[kTaps], weights[kTaps];
      load(first, y);
      column.column.weights(Number(first), weights);
      if (!parallel_) cast_shadow(first, scaled, weights);
      for (int k = 0; k < kTaps; ++k) sum = sum + weights[k] * y[k];
      collect_shape(column.column, Number(first), y, by_shape);
      first = min_of(first + kTaps, beyond);
      more = any_of((min_of(column.column.end(), high) > Number(first)) & seen);
    }
    // The weight is area_ratio * m / area of the shadow.
    const Number whole = select(seen, scaled * sum, zero);
    const Number by_area = select(seen, Number(T(0.5)) * whole / column.column.area(), zero);
    for (int i = 0; i < 4; ++i) by_shape[i] = select(seen, scaled * by_shape[i], zero) + (i < 2 ? by_area : -by_area);
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
  const bool parallel_;
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
