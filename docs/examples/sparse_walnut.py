"""A walnut from 30 views: FDK, CGLS, total variation, a deep image prior, and a network that has never seen a walnut.

Every fourth view of the measured walnut that comes with jaxct, scored against FDK of all 120. The network, a 3-D U-Net
behind FDK, is trained on simulated scans of random shells and kernels. Prints the scores, draws sparse_walnut.png.

python docs/examples/sparse_walnut.py [FILE]
"""

import io
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

SHELL = 0.05  # attenuation of the walnut's shell in 1/mm
EVERY = 4
SEED = 0


class Scan(NamedTuple):
    """Some views, and FDK of all of them."""

    A: jaxct.Projector
    data: jax.Array
    full: jax.Array


def read_walnut(size: int, every: int = EVERY) -> Scan:
    """On ``size`` voxels across, from pixels binned to about as many. The reference is the mean of finer voxels."""
    scan = jaxct.io.open_scan(jaxct.io.WALNUT)
    views = np.asarray(scan.line_integrals().values, np.float32)
    pixels = views.shape[-1]
    binning = pixels // size
    binned = views.reshape(len(views), size, binning, size, binning).mean((2, 4))
    geometry = jaxct.ConeBeam(
        scan.geometry.angles,
        source_origin_distance=scan.geometry.source_origin_distance,
        source_detector_distance=scan.geometry.source_detector_distance,
        detector_shape=binned.shape[1:],
        pixel_size=scan.geometry.pixel_size * binning,
        detector_offset=scan.geometry.detector_offset,
    )
    voxel = np.asarray(scan.grid.voxel_size) * scan.grid.shape[1] / size
    fine = jaxct.VolumeGrid((pixels,) * 3, voxel_size=voxel / binning)
    full = jaxct.reconstruct.fdk(jnp.asarray(views), scan.geometry, fine, window="hann")
    full = full.reshape(size, binning, size, binning, size, binning).mean((1, 3, 5))
    A = jaxct.Projector(geometry[::every], jaxct.VolumeGrid((size,) * 3, voxel_size=voxel))  # noqa: N806
    return Scan(A, jnp.asarray(binned[::every]), full)


def fdk(scan: Scan) -> jax.Array:
    return jaxct.reconstruct.fdk(scan.data, scan.A.geometry, scan.A.grid, window="hann")


def cgls(scan: Scan) -> jax.Array:
    """Few iterations: with more the noise comes in."""
    return jaxct.reconstruct.cgls(scan.A, scan.data, num_iters=10).volume


def tv_weight(scan: Scan) -> jax.Array:
    return 1e-3 * jaxct.reconstruct.constant_tv_weight(scan.A, scan.data)


def total_variation(scan: Scan, num_iters: int = 200) -> jax.Array:
    return jaxct.reconstruct.pdhg(scan.A, scan.data, num_iters=num_iters, tv_weight=tv_weight(scan), lower=0.0).volume


def smooth_noise(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """Of unit variance, with structures of about ``scale`` voxels."""
    waves = np.fft.rfftn(rng.normal(size=(size,) * 3))
    squares = [np.fft.fftfreq(size) ** 2, np.fft.fftfreq(size) ** 2, np.fft.rfftfreq(size) ** 2]
    total = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    noise = np.fft.irfftn(waves * np.exp(-2 * (np.pi * scale) ** 2 * total), s=(size,) * 3, axes=(0, 1, 2))
    return noise / noise.std()


def random_nut(rng: np.random.Generator, size: int) -> np.ndarray:
    """A wrinkled shell with lumps inside, in units of the shell's attenuation."""
    middle = np.arange(size) - (size - 1) / 2
    axes = np.meshgrid(middle, middle, middle, indexing="ij")
    radii = size * rng.uniform(0.28, 0.44, 3)
    radius = np.sqrt(sum((a / r) ** 2 for a, r in zip(axes, radii, strict=True)))
    radius = radius * (1 + rng.uniform(0.01, 0.06) * smooth_noise(rng, size, size / rng.uniform(8, 24)))
    inner = 1 - rng.uniform(0.08, 0.2)
    shell = (radius < 1) & (radius > inner)
    lumps = smooth_noise(rng, size, size / rng.uniform(12, 30)) > rng.uniform(-0.5, 0.8)
    walls = np.abs(smooth_noise(rng, size, size / 8)) < rng.uniform(0, 0.08)
    inside = radius < inner - 0.03
    kernel = rng.uniform(0.3, 0.8) * (lumps & inside)
    return np.where(shell | (walls & inside), rng.uniform(0.85, 1.15), kernel).astype(np.float32)


class Synthetic(NamedTuple):
    """Volumes and their FDKs, in units of the shell's attenuation."""

    volumes: jax.Array
    fdk: jax.Array


def synthesise(scan: Scan, count: int, rng: np.random.Generator) -> Synthetic:
    """Noisy scans in the walnut's geometry, of voxels half as large as those that are reconstructed."""
    size = scan.A.grid.shape[0]
    fine = jaxct.VolumeGrid((2 * size,) * 3, voxel_size=scan.A.grid.voxel_size / 2)
    volumes, starts = [], []
    for _ in range(count):
        nut = random_nut(rng, 2 * size)
        exact = np.asarray(jaxct.forward_project(SHELL * nut, scan.A.geometry, fine))
        noisy = exact + rng.uniform(0.005, 0.02) * rng.normal(size=exact.shape)
        starts.append(fdk(scan._replace(data=jnp.asarray(noisy, jnp.float32))) / SHELL)
        volumes.append(nut.reshape(size, 2, size, 2, size, 2).mean((1, 3, 5)))
    return Synthetic(jnp.asarray(np.stack(volumes)), jnp.stack(starts))


class Corrected(nnx.Module):
    """What a U-Net adds to an FDK, which starts from nothing."""

    def __init__(self, features: tuple[int, ...], rngs: nnx.Rngs):
        self.net = nn.UNet(3, features=features, rngs=rngs)
        self.gain = nnx.Param(jnp.zeros(()))

    def __call__(self, volumes: jax.Array) -> jax.Array:
        return volumes + self.gain[...] * self.net(volumes[..., None])[..., 0]


@nnx.jit
def train_step(net: Corrected, optimizer: nnx.Optimizer, volume: jax.Array, start: jax.Array) -> jax.Array:
    value, gradients = nnx.value_and_grad(lambda net: jnp.mean((net(start) - volume) ** 2))(net)
    optimizer.update(net, gradients)
    return value


def train(data: Synthetic, num_steps: int, features: tuple[int, ...]) -> tuple[Corrected, list[float]]:
    """One volume a step."""
    net = Corrected(features, nnx.Rngs(SEED))
    schedule = optax.cosine_decay_schedule(2e-3, num_steps)
    optimizer = nnx.Optimizer(net, optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)), wrt=nnx.Param)
    rng, losses = np.random.default_rng(SEED), []
    for step in range(num_steps):
        i = rng.integers(len(data.volumes))
        losses.append(float(train_step(net, optimizer, data.volumes[i], data.fdk[i])))
        if (step + 1) % 50 == 0:
            print(f"  step {step + 1} of {num_steps}: loss {np.mean(losses[-50:]):.5f}", flush=True)
    return net, losses


def methods(net: Corrected, dip_iters: int) -> dict[str, Callable[[Scan], jax.Array]]:
    def deep_image_prior(scan: Scan) -> jax.Array:
        """It sees FDK: from noise it is still at 15 dB after 300 iterations."""
        network = nn.UNet(
            3, features=(8, 16, 32, 64), norm="instance", final_activation=nnx.softplus, rngs=nnx.Rngs(SEED)
        )
        return jaxct.reconstruct.dip(
            scan.A,
            scan.data,
            num_iters=dip_iters,
            network=network,
            input=fdk(scan),
            tv_weight=tv_weight(scan),
            key=jax.random.key(SEED),
        ).volume

    improve = nnx.jit(lambda net, volume: net(volume / SHELL) * SHELL)
    return {
        "FDK": fdk,
        "CGLS": cgls,
        "TV": total_variation,
        "DIP": deep_image_prior,
        "network": lambda scan: improve(net, fdk(scan)),
    }


def compare(scan: Scan, by: dict[str, Callable]) -> tuple[dict[str, jax.Array], dict[str, dict[str, float]]]:
    volumes, scores = {}, {}
    for name, reconstruct in by.items():
        start = time.perf_counter()
        volumes[name] = jax.block_until_ready(reconstruct(scan))
        scores[name] = {
            "PSNR": float(jaxct.metrics.psnr(volumes[name], scan.full, data_range=SHELL)),
            "SSIM": float(jaxct.metrics.ssim(volumes[name], scan.full, data_range=SHELL)),
            "seconds": time.perf_counter() - start,
        }
        print(f"{name:9}" + "  ".join(f"{key} {value:.3f}" for key, value in scores[name].items()), flush=True)
    return volumes, scores


def draw(scan: Scan, volumes: dict[str, jax.Array], scores: dict[str, dict[str, float]]) -> Figure:
    pictures = {"all views": scan.full, **volumes}
    figure = Figure(figsize=(2.3 * len(pictures), 5.0), layout="constrained")
    middle = scan.A.grid.shape[0] // 2
    for column, (name, volume) in zip(figure.subplots(2, len(pictures)).T, pictures.items(), strict=True):
        for panel, section in zip(column, (volume[middle], volume[:, middle]), strict=True):
            panel.imshow(section, cmap="gray", origin="lower", vmin=0, vmax=1.1 * SHELL)
            panel.set(xticks=[], yticks=[])
        column[0].set_title(name)
        if name in scores:
            column[1].set_xlabel(f"{scores[name]['PSNR']:.1f} dB, SSIM {scores[name]['SSIM']:.2f}", fontsize=9)
    return figure


def main(target: Path) -> None:
    start = time.perf_counter()
    scan = read_walnut(64)
    net, _ = train(synthesise(scan, 30, np.random.default_rng(SEED)), 240, (8, 16, 32, 64))
    print(f"a network of {nn.num_parameters(net)} parameters, trained by {time.perf_counter() - start:.0f} s")
    volumes, scores = compare(scan, methods(net, dip_iters=800))
    picture = io.BytesIO()
    draw(scan, volumes, scores).savefig(picture, dpi=60)
    Image.open(picture).convert("L").quantize(32).save(target, optimize=True)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
