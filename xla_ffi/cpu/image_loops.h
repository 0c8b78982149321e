#pragma once
// A single image: no lines to run along, so the inner loop is over the views of a block.
#include "cpu/axial_loops.h"

JAXCT_NAMESPACE_BEGIN
namespace loops {

// Four consecutive pixels.
template <typename T>
struct Quad {
  typedef T Vector __attribute__((vector_size(4 * sizeof(T))));
  Vector v;

  JAXCT_HD static Quad load(const T* p) {
    Quad q;
    std::memcpy(&q.v, p, sizeof q.v);
    return q;
  }
  JAXCT_HD void store(T* p) const { std::memcpy(p, &v, sizeof v); }

  JAXCT_HD Quad operator+(Quad other) const { return {v + other.v}; }
  JAXCT_HD Quad operator*(Quad other) const { return {v * other.v}; }
  JAXCT_HD Quad operator*(T scalar) const { return {v * scalar}; }
};

template <typename Model, typename T>
class ImageLoops : AxialLoops<Model, T> {
  using Base = AxialLoops<Model, T>;
  using Base::kBlock, Base::kTaps, Base::kTile, Base::num_blocks, Base::p, Base::packed, Base::views_of;

 public:
  explicit ImageLoops(const Problem<T>& problem) : Base(problem) {}

  bool forward(const Executor& executor) const {
    return Base::project_blocks(executor, [&](int64_t block, IndexRange band) { return forward_block(block, band); });
  }

  bool back(const Executor& executor) const {
    const int64_t width = p.scan.cols + kTaps;
    const Scratch<T> projections(p.scan.views * width);
    const Scratch<ViewBlock<Model, T>> blocks(num_blocks());
    if (!projections || !blocks) return false;
    Base::pack(blocks.get());
    std::atomic<bool> ok{true};
    parallel_for(executor, p.scan.views, [&](int64_t v) {
      T* values = projections.get() + v * width;
      std::memcpy(values, p.in + v * p.scan.cols, sizeof(T) * static_cast<size_t>(p.scan.cols));
      if (!scale(v, values)) ok = false;
    });
    parallel_for(executor, num_tiles(p.scan, kTile), [&](int64_t t) {
      if (!back_tile(tile_of(p.scan, kTile, t), blocks.get(), projections.get(), width)) ok = false;
    });
    return ok;
  }

 private:
  // f(view) for the views of a block; of a whole one without a loop.
  template <typename F>
  JAXCT_HD static void for_views(int n, F&& f) {
    if (n == kBlock) {
#pragma GCC unroll 16
      for (int v = 0; v < kBlock; ++v) f(v);
    } else {
      for (int v = 0; v < n; ++v) f(v);
    }
  }

  // By the obliquity of a view's pixels.
  bool scale(int64_t v, T* values) const {
    if (!Model::kObliquity) return true;
    const Obliquities<T> obliquities(p.scan, p.views[v]);
    if (obliquities) obliquities.scale(0, values);
    return static_cast<bool>(obliquities);
  }

  bool forward_block(int64_t block, IndexRange band) const {
    const int n = views_of(block);
    const int64_t width = p.scan.cols + kTaps;
    const Scratch<T> sums(n * width);
    const Scratch<Footprints<T>> footprints(kTile * kTile);
    if (!sums || !footprints) return false;
    const ViewBlock<Model, T> views = packed(block);
    for (int64_t t = 0; t < num_tiles(p.scan, kTile); ++t) {
      const Rectangle r = tile_of(p.scan, kTile, t);
      if (!Base::falls_on(r, band, block)) continue;
      Base::template with_footprints<true>(views, r, band, footprints.get(),
                                           [&] { forward_tile(r, footprints.get(), n, width, sums.get()); });
    }
    for (int v = 0; v < n; ++v) {
      T* values = sums.get() + v * width;
      const int64_t view = block * kBlock + v;
      if (!scale(view, values)) return false;
      std::memcpy(p.out + view * p.scan.cols + band.begin, values + band.begin,
                  sizeof(T) * static_cast<size_t>(band.end - band.begin));
    }
    return true;
  }

  void forward_tile(const Rectangle& r, const Footprints<T>* footprints, int n, int64_t width, T* sums) const {
    for (int64_t y = r.y_begin; y < r.y_end; ++y)
      for (int64_t x = r.x_begin; x < r.x_end; ++x) {
        const Footprints<T>& f = *footprints++;
        const T value = p.in[y * p.scan.nx + x];
        for_views(n, [&](int v) {
          T* to = sums + v * width + f.first[v];
          (Quad<T>::load(to) + Quad<T>::load(f.weights[v]) * value).store(to);
        });
      }
  }

  bool back_tile(const Rectangle& r, const ViewBlock<Model, T>* blocks, const T* projections, int64_t width) const {
    const Scratch<T> sums(kTaps * r.size());  // four a column, to be added
    const Scratch<Footprints<T>> footprints(r.size());
    if (!sums || !footprints) return false;
    const IndexRange all = {0, static_cast<int32_t>(p.scan.cols)};
    for (int64_t b = 0; b < num_blocks(); ++b)
      Base::template with_footprints<true>(blocks[b], r, all, footprints.get(), [&] {
        add_views(r, footprints.get(), views_of(b), projections + b * kBlock * width, width, sums.get());
      });
    const T* four = sums.get();
    for (int64_t y = r.y_begin; y < r.y_end; ++y)
      for (int64_t x = r.x_begin; x < r.x_end; ++x, four += kTaps)
        p.out[y * p.scan.nx + x] = (four[0] + four[1]) + (four[2] + four[3]);
    return true;
  }

  static void add_views(const Rectangle& r, const Footprints<T>* footprints, int n, const T* projections, int64_t width,
                        T* sums) {
    for (int64_t i = 0; i < r.size(); ++i) {
      const Footprints<T>& f = footprints[i];
      Quad<T> even = {}, odd = {};
      for_views(n, [&](int v) {
        Quad<T>& sum = v % 2 == 0 ? even : odd;
        sum = sum + Quad<T>::load(f.weights[v]) * Quad<T>::load(projections + v * width + f.first[v]);
      });
      (Quad<T>::load(sums + 4 * i) + (even + odd)).store(sums + 4 * i);
    }
  }
};

}  // namespace loops
JAXCT_NAMESPACE_END
