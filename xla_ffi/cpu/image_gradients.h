#pragma once
// Gradients of the separable footprint with respect to the geometry, of a single image: column by column, in as many
// views at a time as a register holds, and a tile at a time, within which sums are kept in the numbers' own precision.
//
// What a footprint gains is pulled back as rarely as can be. Of a parallel beam all columns of a view cast one shadow,
// moved: it is pulled back once for a tile, and of each column the shift alone. Otherwise columns have corners in
// common: what all four gain is gathered at a corner, and pulled back there.
#include "core/separable_footprint.h"
#include "cpu/gradient_problem.h"
#include "cpu/image_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// As many views as a register holds: their pixels, and what footprints meet of them.
template <typename T>
class ImagePixels {
 public:
  using Number = Lanes<T>;
  using Mask = decltype(Number() > Number());

  // Of a footprint of height 1: its sum over the pixels, and what moving its break points is worth.
  struct Meeting {
    Number sum;
    Climb<Number> climb;
  };

  // Of the pixels that a footprint has.
  struct Span {
    Index<Number> first;
    Number end;
    Mask seen;
  };

  ImagePixels(const Scan& scan, const View<T>* views, int n, const T* y)
      : scan_(scan),
        views_(views),
        n_(n),
        y_(y),
        parallel_(views->beam == Beam::kParallel),
        width_(scan.cols + kTaps),
        weighted_((n + 1) * width_),
        shadow_(parallel_ ? 0 : (n + 1) * width_) {
    if (!*this) return;
    // Beyond the last view there is one more, of zeros, that takes what the others of a register cast.
    for (int v = 0; v < kLanes<T>; ++v) {
      of_view_[v] = weighted_.get() + min_of(v, n) * width_;
      cast_[v] = shadow_.get() + (parallel_ ? 0 : min_of(v, n) * width_);
    }
    for (int v = 0; v < n; ++v)
      for (int64_t c = 0; c < scan.cols; ++c)
        weighted_.get()[v * width_ + c] = y[v * scan.cols + c] * obliquity(views[v], 0, c);
  }

  explicit operator bool() const { return weighted_ && shadow_; }

  JAXCT_HD Span span(Number begin, Number end, Mask there) const {
    const Number low(T(0)), high(scan_.cols);
    const Mask seen = there & (end > low) & (high > begin);
    // What is not seen falls beyond the detector, whatever it is.
    return {select(seen, floor_index(clamp(begin, low, high)), beyond()), min_of(end, high), seen};
  }

  // The shadow is that of `scaled` such footprints, and is cast where beams are not parallel.
  template <bool kCast>
  JAXCT_HD Meeting meet(const Trapezoid<Number>& shape, Number shift, const Span& span, Number scaled) const {
    const Number zero(T(0));
    Meeting met = {zero, {zero, zero, zero, zero}};
    for (Index<Number> first = span.first;;) {
      const Number edge = Number(first) - shift;
      Number y[kTaps], weights[kTaps];
      load(first, y);
      shape.weights(edge, weights);
      if constexpr (kCast) cast_shadow(first, scaled, weights);
      for (int k = 0; k < kTaps; ++k) met.sum = met.sum + weights[k] * y[k];
      collect_climb(shape, edge, y, met.climb);
      first = min_of(first + kTaps, beyond());
      if (!any_of((span.end > Number(first)) & span.seen)) return met;
    }
  }

  void add_to(View<double>* sums, const View<Number>& part) const {
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

  Index<Number> beyond() const { return Index<Number>(static_cast<int32_t>(scan_.cols)); }

  JAXCT_HD static void collect_climb(const Trapezoid<Number>& shape, Number first, const Number (&y)[kTaps],
                                     Climb<Number>& to) {
    // At each edge the pixel before it gains what the next one loses.
    const auto add_edge = [&](int k, Number gain) { to = to + shape.climb(first + Number(T(k))) * gain; };
    add_edge(1, y[0] - y[1]);
    add_edge(2, y[1] - y[2]);
    // As in Trapezoid::weights: most begin in the first and end before the fourth, where they have all of their area.
    if (!any_of(max_of(first - shape.t0, shape.t3 - (first + Number(T(3)))) > Number(T(0)))) {
      to = to + Climb<Number>{y[2], y[2], y[2], y[2]};
      return;
    }
    add_edge(0, -y[0]);
    add_edge(3, y[2] - y[3]);
    add_edge(4, y[3]);
  }

  JAXCT_HD void load(Index<Number> first, Number (&y)[kTaps]) const {
    const T* from[kLanes<T>];
    for (int v = 0; v < kLanes<T>; ++v) from[v] = of_view_[v] + first[v];
    load_transposed(from, y);
  }

  JAXCT_HD void cast_shadow(Index<Number> first, Number scaled, const Number (&weights)[kTaps]) const {
    Number values[kTaps];
    T added[kLanes<T>][kTaps];
    for (int k = 0; k < kTaps; ++k) values[k] = scaled * weights[k];
    store_transposed(values, added[0]);
    for (int v = 0; v < kLanes<T>; ++v) {
      T* to = cast_[v] + first[v];
      (Quad<T>::load(to) + Quad<T>::load(added[v])).store(to);
    }
  }

  const Scan& scan_;
  const View<T>* views_;
  const int n_;
  const T* y_;
  const bool parallel_;
  const int64_t width_;
  const Scratch<T> weighted_, shadow_;
  const T* of_view_[kLanes<T>];
  T* cast_[kLanes<T>];
};

// Columns of a tile along either axis, at most.
constexpr int64_t kImageTile = 32;

// By t0 to t3, of shadows whose weights are in proportion to 1 / area; `whole` is what all that they meet is worth.
template <typename T>
JAXCT_HD void by_break_points(const Trapezoid<T>& shape, const Climb<T>& climb, T whole, T (&by)[4]) {
  const T area = shape.area(), by_area = T(0.5) * whole / select(area > T(0), area, T(1));
  climb.by_break_points(by);
  for (int i = 0; i < 4; ++i) by[i] = i < 2 ? by[i] + by_area : by[i] - by_area;
}

template <typename T>
class ParallelImageGradient {
 public:
  using Model = SeparableFootprint;
  using Number = Lanes<T>;

  ParallelImageGradient(const Scan& scan, const View<Number>& view, const ImagePixels<T>& pixels)
      : scan_(scan),
        view_(view),
        pixels_(pixels),
        middle_(Model::make_column(scan, view, Beam::kParallel, Number(T(0)), Number(T(0)))) {}

  void add_tile(const Rectangle& r, const T* image, View<double>* sums) const {
    TileSums tile = {};
    for (int64_t row = r.y_begin; row < r.y_end; ++row) add_row(r, row, image + row * scan_.nx, tile);
    const Number zero(T(0)), scale = middle_.scale, whole = tile.met.sum * scale;
    View<Number> part = {};
    part.area_ratio = whole / view_.area_ratio;
    part.across.slope = {{zero, scale * tile.shift_y, scale * tile.shift_x}};
    Number by_shape[4];
    by_break_points(middle_.column, tile.met.climb * scale, whole, by_shape);
    Model::pull_shadow(view_, Beam::kParallel, {{zero, zero, zero}}, by_shape, part);
    pixels_.add_to(sums, part);
  }

 private:
  using Pixels = ImagePixels<T>;

  // What all columns meet; and what moving a column's shadow is worth, times its y and x.
  struct TileSums {
    typename Pixels::Meeting met;
    Number shift_y, shift_x;
  };

  // In passes, as in ViewBlock.
  void add_row(const Rectangle& r, int64_t row, const T* values, TileSums& to) const {
    const Number y(relative<T>(row, scan_.ny)), zero(T(0));
    const auto there = middle_.scale > zero;
    Number shifts[kImageTile];
    typename Pixels::Span spans[kImageTile];
    const auto n = static_cast<int>(r.width());
    for (int i = 0; i < n; ++i) {
      shifts[i] = view_.across.slope[1] * y + view_.across.slope[2] * Number(relative<T>(r.x_begin + i, scan_.nx));
      spans[i] = pixels_.span(middle_.column.begin() + shifts[i], middle_.column.end() + shifts[i], there);
    }
    Number by_row = zero;
    for (int i = 0; i < n; ++i) {
      const auto& span = spans[i];
      if (!any_of(span.seen)) continue;
      const Number x(relative<T>(r.x_begin + i, scan_.nx));
      const Number value = select(span.seen, Number(values[r.x_begin + i]), zero);
      const auto met = pixels_.template meet<false>(middle_.column, shifts[i], span, zero);
      const Number by_shift = (met.climb.fall - met.climb.rise) * value;
      to.met = {to.met.sum + met.sum * value, to.met.climb + met.climb * value};
      to.shift_x = to.shift_x + by_shift * x;
      by_row = by_row + by_shift;
    }
    to.shift_y = to.shift_y + by_row * y;
  }

  const Scan& scan_;
  const View<Number>& view_;
  const Pixels& pixels_;
  const AxialColumn<Trapezoid<Number>, Number> middle_;
};

// Derivatives by the across and depth values of points along x, and times x.
template <typename Number>
struct RowDerivatives {
  ColumnDerivatives<Number> sum, along_x;

  void add(Number x, const ColumnDerivatives<Number>& by) {
    sum = {sum.across + by.across, sum.depth + by.depth};
    along_x = {along_x.across + by.across * x, along_x.depth + by.depth * x};
  }

  void pull(Number y, View<Number>& to) const {
    const Vec3<Number> q = {{Number(0), y, Number(0)}};
    pull_affine(q, sum.across, to.across);
    pull_affine(q, sum.depth, to.depth);
    to.across.slope[2] = to.across.slope[2] + along_x.across;
    to.depth.slope[2] = to.depth.slope[2] + along_x.depth;
  }
};

template <typename T, Beam kBeam>
class FanImageGradient {
 public:
  using Model = SeparableFootprint;
  using Number = Lanes<T>;

  FanImageGradient(const Scan& scan, const View<Number>& view, const ImagePixels<T>& pixels)
      : scan_(scan), view_(view), pixels_(pixels) {}

  void add_tile(const Rectangle& r, const T* image, View<double>* sums) const {
    View<Number> part = {};
    Corner above[kImageTile + 1], below[kImageTile + 1];
    Corner *low = above, *high = below;
    place_corners(r, r.y_begin, low);
    for (int64_t row = r.y_begin; row < r.y_end; ++row) {
      place_corners(r, row + 1, high);
      add_row(r, row, image + row * scan_.nx, low, high, part);
      pull_corners(r, row, low, part);
      std::swap(low, high);
    }
    pull_corners(r, r.y_end, low, part);
    part.area_ratio = part.area_ratio / view_.area_ratio;
    pixels_.add_to(sums, part);
  }

 private:
  struct Corner {
    Number column, by;
  };

  // Corner (i, j) is the first of column (i, j).
  Vec3<Number> corner(int64_t row, int64_t col) const {
    return {{Number(0), Number(relative<T>(row, scan_.ny) - T(0.5)), Number(relative<T>(col, scan_.nx) - T(0.5))}};
  }

  void place_corners(const Rectangle& r, int64_t row, Corner* corners) const {
    for (int64_t col = r.x_begin; col <= r.x_end; ++col, ++corners)
      *corners = {SectionColumns<Number>{view_, kBeam, corner(row, col)}(Number(0), Number(0)), Number(0)};
  }

  void pull_corners(const Rectangle& r, int64_t row, const Corner* corners, View<Number>& to) const {
    const Number middle = view_.col_middle + Number(0.5);
    RowDerivatives<Number> derivatives = {};
    for (int64_t col = r.x_begin; col <= r.x_end; ++col, ++corners) {
      const Vec3<Number> q = corner(row, col);
      derivatives.add(q[2], split_column(view_, kBeam, q, corners->column - middle, corners->by, to));
    }
    derivatives.pull(corner(row, 0)[1], to);
  }

  struct Footprint {
    AxialColumn<Trapezoid<Number>, Number> column;
    typename ImagePixels<T>::Span span;
  };

  // In passes, as in ViewBlock: the operations of one column after the other would be too long a chain.
  void add_row(const Rectangle& r, int64_t row, const T* values, Corner* low, Corner* high, View<Number>& to) const {
    const Number y(relative<T>(row, scan_.ny)), zero(T(0));
    Footprint footprints[kImageTile];
    const auto n = static_cast<int>(r.width());
    auto left = CornerShadow::edge(low->column, high->column);
    for (int i = 0; i < n; ++i) {
      const auto right = CornerShadow::edge(low[i + 1].column, high[i + 1].column);
      Footprint& f = footprints[i];
      f.column = Model::make_column(scan_, view_, kBeam, y, Number(relative<T>(r.x_begin + i, scan_.nx)), left, right);
      f.span = pixels_.span(f.column.column.begin(), f.column.column.end(), f.column.scale > zero);
      left = right;
    }
    RowDerivatives<Number> by_magnification = {};
    for (int i = 0; i < n; ++i, ++low, ++high) {
      const Number x(relative<T>(r.x_begin + i, scan_.nx));
      const auto& [column, span] = footprints[i];
      if (!any_of(span.seen)) continue;
      const Number scaled = select(span.seen, column.scale * Number(values[r.x_begin + i]), zero);
      const auto met = pixels_.template meet<true>(column.column, zero, span, scaled);
      const Number whole = select(span.seen, scaled * met.sum, zero);
      Number by_shape[4], by_corner[4];
      by_break_points(column.column, met.climb * scaled, whole, by_shape);
      const Number p[4] = {low[0].column, high[0].column, low[1].column, high[1].column};
      Model::pull_break_points(p, by_shape, by_corner);
      for (int k = 0; k < 4; ++k) {
        Corner& corner = (k % 2 == 0 ? low : high)[k / 2];
        corner.by = corner.by + by_corner[k];
      }
      to.area_ratio = to.area_ratio + whole;
      by_magnification.add(x, split_magnification(view_, kBeam, Vec3<Number>{{zero, y, x}}, whole, to));
    }
    by_magnification.pull(y, to);
  }

  const Scan& scan_;
  const View<Number>& view_;
  const ImagePixels<T>& pixels_;
};

// A range of the image's rows, on a block of views.
template <typename T>
bool gradient_of_image(const GradientProblem<T>& p, int64_t block, IndexRange rows, View<double>* sums) {
  const int64_t first = block * kLanes<T>;
  const auto n = static_cast<int>(min_of(p.scan.views - first, int64_t{kLanes<T>}));
  const View<Lanes<T>> packed = pack_views(p.views + first, n);
  const ImagePixels<T> pixels(p.scan, p.views + first, n, p.projections + first * p.scan.cols);
  if (!pixels) return false;
  const auto add_tiles = [&](const auto& gradient) {
    for (int64_t y = rows.begin; y < rows.end; y += kImageTile)
      for (int64_t x = 0; x < p.scan.nx; x += kImageTile)
        gradient.add_tile({y, min_of(y + kImageTile, int64_t{rows.end}), x, min_of(x + kImageTile, p.scan.nx)},
                          p.volume, sums);
  };
  if (packed.beam == Beam::kParallel)
    add_tiles(ParallelImageGradient<T>(p.scan, packed, pixels));
  else if (packed.beam == Beam::kCone)
    add_tiles(FanImageGradient<T, Beam::kCone>(p.scan, packed, pixels));
  else
    add_tiles(FanImageGradient<T, Beam::kCurvedCone>(p.scan, packed, pixels));
  pixels.finish(sums);
  return true;
}

}  // namespace loops
JAXCT_NAMESPACE_END
