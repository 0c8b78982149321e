"""Few views and limited angles of measured discs: the Helsinki Tomography Challenge, by five kinds of reconstruction.

Fan-beam scans of acrylic discs with holes (Meaney, de Moura and Siltanen, Zenodo 10.5281/zenodo.6984868, CC-BY-4.0; the
folder is JAXCT_DATA/htc2022_fan), cut down to 180, 60 and 30 views, to 90 and 60 degrees. FBP, CGLS, total variation,
a deep image prior, and a network that has seen none but synthetic discs are scored against the organisers' segmentation
of the full scan, by the challenge's own measure. Prints the scores, draws helsinki.png.

python docs/examples/helsinki.py [FILE]
"""

import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from matplotlib.figure import Figure
from PIL import Image

import jaxct
from jaxct import nn

DATA = Path(os.environ.get("JAXCT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "htc2022_fan"
PUBLISHED_PIXEL = 0.1483223  # mm; 512 x 512 of them
ACRYLIC = 0.033  # 1/mm
SAMPLES = ("ta", "tb")
# Of views half a degree apart: all of a turn or the first of it, every so many.
SETTINGS = {
    "180 views": slice(0, 720, 4),
    "60 views": slice(0, 720, 12),
    "30 views": slice(0, 720, 24),
    "90 degrees": slice(0, 181, 2),
    "60 degrees": slice(0, 121, 2),
}
SEED = 0


class Disc(NamedTuple):
    """A scan of all views, the organisers' segmentation on our pixels, and what FBP makes of the whole scan."""

    beam: jaxct.FanBeam
    sinogram: jax.Array
    grid: jaxct.VolumeGrid
    segmentation: np.ndarray
    full: jax.Array


class Part(NamedTuple):
    """What a method is given."""

    A: jaxct.Projector
    data: jax.Array
    limited: bool


def read_disc(sample: str, size: int = 128) -> Disc:
    """``size`` divides 512; the detector's pixels are binned alike. The published images have +y upwards, ours not."""
    from scipy.io import loadmat

    scan = jaxct.io.open_scan(DATA / f"htc2022_{sample}_full.mat")
    binning = 512 // size
    grid = jaxct.VolumeGrid((size, size), voxel_size=binning * PUBLISHED_PIXEL)
    segmentation = loadmat(DATA / f"htc2022_{sample}_full_recon_fbp_seg.mat")["reconFullFbpSeg"][::-1]
    shares = segmentation.reshape(size, binning, size, binning).mean((1, 3))
    sinogram = scan.line_integrals().values[:720]
    sinogram = sinogram.reshape(720, -1, binning).mean(-1)
    beam = jaxct.FanBeam(
        scan.geometry.angles[:720],
        source_origin_distance=scan.geometry.source_origin_distance,
        source_detector_distance=scan.geometry.source_detector_distance,
        detector_shape=sinogram.shape[1:],
        pixel_size=scan.geometry.pixel_size * binning,
    )
    return Disc(beam, sinogram, grid, shares >= 0.5, jaxct.reconstruct.fbp(sinogram, beam, grid, window="hann"))


def take(disc: Disc, views: slice) -> Part:
    projector = jaxct.Projector(disc.beam[views], disc.grid)
    return Part(projector, disc.sinogram[views], limited=views.stop < 720)


def fbp(part: Part) -> jax.Array:
    return jaxct.reconstruct.fbp(part.data, part.A.geometry, part.A.grid, window="hann", limited_angle=part.limited)


def cgls(part: Part) -> jax.Array:
    """Few iterations: with more the noise comes in."""
    return jaxct.reconstruct.cgls(part.A, part.data, num_iters=12).volume


def total_variation(part: Part, num_iters: int = 500) -> jax.Array:
    weight = 2e-3 * jaxct.reconstruct.constant_tv_weight(part.A, part.data)
    return jaxct.reconstruct.pdhg(part.A, part.data, num_iters=num_iters, tv_weight=weight, lower=0.0).volume


def otsu(image: np.ndarray) -> np.ndarray:
    """Above the threshold that parts the histogram into two classes of the least variance (Otsu 1979)."""
    counts, edges = np.histogram(image, 256)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts), counts.sum()
    moments = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (moments[-1] * below / total - moments) ** 2 / (below * (total - below))
    return image > edges[1 + np.nanargmax(between)]


def score(image: jax.Array, disc: Disc) -> tuple[float, float]:
    """Matthews' correlation coefficient with the organisers' segmentation, and the relative error to the full FBP."""
    found = otsu(np.asarray(image))
    return float(jaxct.metrics.mcc(found, disc.segmentation)), float(jaxct.metrics.nrmse(image, disc.full))


class Synthetic(NamedTuple):
    """Images (n, y, x) and their FBPs, in units of acrylic's attenuation."""

    images: jax.Array
    fbp: jax.Array


def synthetic_disc(rng: np.random.Generator, grid: jaxct.VolumeGrid) -> np.ndarray:
    """A disc with holes, rounded ones and others, some of which run into each other; in 1/mm, on half the pixels."""
    y, x = np.meshgrid(*(np.asarray(axis) for axis in grid.coordinates()), indexing="ij")
    cy, cx, radius = *rng.uniform(-2, 2, 2), rng.uniform(32, 36)
    solid = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
    for _ in range(rng.integers(2, 16)):
        distance, angle, turn = 27 * np.sqrt(rng.uniform()), *rng.uniform(0, 2 * np.pi, 2)
        v, u = y - cy - distance * np.sin(angle), x - cx - distance * np.cos(angle)
        u, v = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
        half_width, half_height, power = *rng.uniform(1.5, 8, 2), rng.uniform(1.8, 5)
        solid &= np.abs(u / half_width) ** power + np.abs(v / half_height) ** power > 1
    return (ACRYLIC * solid).astype(np.float32)


def synthesise(disc: Disc, settings: dict[str, slice], count: int, rng: np.random.Generator) -> Synthetic:
    """Scans of ``count`` discs, each of one of the settings, by pixels half as large as ours, hardened and noisy."""
    size = disc.grid.shape[0]
    fine = jaxct.VolumeGrid((2 * size, 2 * size), voxel_size=disc.grid.voxel_size / 2)
    images, starts = [], []
    for i in range(count):
        part = take(disc, list(settings.values())[i % len(settings)])
        image = synthetic_disc(rng, fine)
        exact = np.asarray(jaxct.forward_project(image, part.A.geometry, fine))
        hardened = exact - rng.uniform(0, 0.04) * exact**2
        noisy = hardened + rng.uniform(0.003, 0.02) * rng.normal(size=exact.shape)
        starts.append(fbp(part._replace(data=jnp.asarray(noisy, jnp.float32))) / ACRYLIC)
        images.append(image.reshape(size, 2, size, 2).mean((1, 3)) / ACRYLIC)
    return Synthetic(jnp.asarray(np.stack(images)), jnp.stack(starts))


class Corrected(nnx.Module):
    """What a U-Net adds to an FBP, which starts from nothing."""

    def __init__(self, features: tuple[int, ...], rngs: nnx.Rngs):
        self.net = nn.UNet(2, features=features, rngs=rngs)
        self.gain = nnx.Param(jnp.zeros(()))

    def __call__(self, images: jax.Array) -> jax.Array:
        return images + self.gain[...] * self.net(images[..., None])[..., 0]


@nnx.jit
def train_step(net: Corrected, optimizer: nnx.Optimizer, batch: Synthetic) -> jax.Array:
    def loss(net: Corrected) -> jax.Array:
        return jnp.mean((net(batch.fbp) - batch.images) ** 2)

    value, gradients = nnx.value_and_grad(loss)(net)
    optimizer.update(net, gradients)
    return value


def train(discs: Synthetic, num_steps: int, features: tuple[int, ...], batch: int = 4) -> tuple[Corrected, list[float]]:
    net = Corrected(features, nnx.Rngs(SEED))
    schedule = optax.cosine_decay_schedule(2e-3, num_steps)
    optimizer = nnx.Optimizer(net, optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)), wrt=nnx.Param)
    rng, losses = np.random.default_rng(SEED), []
    for step in range(num_steps):
        chosen = rng.integers(len(discs.images), size=batch)
        losses.append(float(train_step(net, optimizer, jax.tree.map(lambda a, i=chosen: a[i], discs))))
        if (step + 1) % 50 == 0:
            print(f"  step {step + 1} of {num_steps}: loss {np.mean(losses[-50:]):.5f}", flush=True)
    return net, losses


def methods(net: Corrected, dip_iters: int) -> dict[str, Callable[[Part], jax.Array]]:
    def deep_image_prior(part: Part) -> jax.Array:
        options = {"features": (8, 16, 32, 64), "in_channels": 16, "final_activation": nnx.softplus}
        network = nn.UNet(2, **options, rngs=nnx.Rngs(SEED))
        key = jax.random.key(SEED)
        return jaxct.reconstruct.dip(part.A, part.data, num_iters=dip_iters, network=network, key=key).volume

    improve = nnx.jit(lambda net, image: net(image / ACRYLIC) * ACRYLIC)
    return {
        "FBP": fbp,
        "CGLS": cgls,
        "TV": total_variation,
        "DIP": deep_image_prior,
        "network": lambda part: improve(net, fbp(part)),
    }


Scores = dict[tuple[str, str, str], tuple[float, float]]


def compare(
    discs: dict[str, Disc], settings: dict[str, slice], by: dict[str, Callable]
) -> tuple[Scores, dict[tuple[str, str], jax.Array]]:
    """Scores by (sample, setting, method); images of the last sample by (setting, method)."""
    scores, images = {}, {}
    for sample, disc in discs.items():
        for setting, views in settings.items():
            part = take(disc, views)
            for method, reconstruct in by.items():
                start = time.perf_counter()
                image = images[setting, method] = jax.block_until_ready(reconstruct(part))
                scores[sample, setting, method] = score(image, disc)
                mcc, error = scores[sample, setting, method]
                seconds = time.perf_counter() - start
                print(f"{sample:4}{setting:12}{method:9} MCC {mcc:.4f}  error {error:.3f}  {seconds:.1f} s", flush=True)
    return scores, images


def draw(disc: Disc, sample: str, scores: Scores, images: dict[tuple[str, str], jax.Array]) -> Figure:
    settings, names = (list(dict.fromkeys(key[i] for key in images)) for i in (0, 1))
    figure = Figure(figsize=(1.9 * (1 + len(names)), 2.1 * len(settings)), layout="constrained")
    panels = figure.subplots(len(settings), 1 + len(names), squeeze=False)
    for row, setting in zip(panels, settings, strict=True):
        pictures = {"all 720 views": disc.full, **{name: images[setting, name] for name in names}}
        for panel, (name, image) in zip(row, pictures.items(), strict=True):
            panel.imshow(image, cmap="gray", origin="lower", vmin=0, vmax=1.25 * ACRYLIC)
            panel.set(xticks=[], yticks=[], title=name if setting == settings[0] else "")
            if (sample, setting, name) in scores:
                panel.set_xlabel(f"MCC {scores[sample, setting, name][0]:.3f}", fontsize=9)
        row[0].set_ylabel(setting)
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    discs = {sample: read_disc(sample) for sample in SAMPLES}
    rng = np.random.default_rng(SEED)
    print("scanning synthetic discs")
    synthetic = synthesise(discs["ta"], SETTINGS, 100, rng)
    net, _ = train(synthetic, 400, (8, 16, 32, 64))
    print(f"a network of {nn.num_parameters(net)} parameters, trained by {time.perf_counter() - start:.0f} s")
    scores, images = compare(discs, SETTINGS, methods(net, dip_iters=600))
    picture = io.BytesIO()
    draw(discs[SAMPLES[-1]], SAMPLES[-1], scores, images).savefig(picture, dpi=60)
    Image.open(picture).convert("L").quantize(32).save(target, optimize=True)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
