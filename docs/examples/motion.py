"""A motion that was never there, undone by the projections: rigid motion of every view, estimated from measured data.

The middle rows of the walnut that comes with jaxct are a measured fan-beam sinogram of a still object. It is handed
over with a wrong story, in which the object drifted by up to 2 mm and turned by up to 2 degrees. From there the motion
is estimated, by Gauss-Newton on knots over the views; the right answer is none. Prints what remains, draws motion.png.

python docs/examples/motion.py [FILE]
"""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxct
from jaxct import calibration
from jaxct.geometry import poses
from jaxct.plot import grey_window

KNOTS = 8
# Columns of a motion.
UNITS = {"y": "mm", "x": "mm", "rotation": "degrees"}
# How to solve with pixels of what binning: plain least squares draws from furthest, the ramp's weighting sees finest.
STAGES = {
    4: {"num_iters": 12, "volume_iters": 30, "ramp_power": 0.0},
    2: {"num_iters": 8, "volume_iters": 15, "ramp_power": 0.5},
    1: {"num_iters": 6, "volume_iters": 10, "ramp_power": 1.0},
}


class Scan:
    """The plane of the orbit, ``binning`` pixels to one, every ``step``-th view, for motions given by their knots."""

    def __init__(self, binning: int = 1, step: int = 1):
        scan = jaxct.io.open_scan(jaxct.io.WALNUT)
        cone, views = scan.geometry, np.asarray(scan.line_integrals().values, np.float32)[::step]
        middle, cols = views.shape[1] // 2, views.shape[2] // binning
        self.sinogram = jnp.asarray(views[:, middle - 1 : middle + 1].mean(1).reshape(-1, cols, binning).mean(-1))
        self.beam = jaxct.FanBeam(
            cone.angles[::step],
            source_origin_distance=cone.source_origin_distance,
            source_detector_distance=cone.source_detector_distance,
            detector_shape=(cols,),
            pixel_size=cone.pixel_size[1] * binning,
        )
        self.grid = jaxct.io.suggest_grid(self.beam)

    def geometry(self, knots: jax.Array) -> jaxct.ConeVectors:
        """Knots (n, 3) are joined by straight lines from the first view to the last."""
        y, x, degrees = jax.vmap(self.interpolate, in_axes=1)(knots)
        return poses.move_object(self.beam, translation=jnp.stack([y, x], -1), rotation=jnp.deg2rad(degrees))

    def interpolate(self, values: jax.Array) -> jax.Array:
        places = jnp.linspace(0, values.size - 1, self.beam.num_views)
        return jnp.interp(places, jnp.arange(values.size), values)


def gauge(num_knots: int) -> np.ndarray:
    """Motions, (4, 3 knots), that no projection can tell from none: those of the object as a whole, and its size.

    An object that is nearer to the source in all views is a larger one for all that they show.
    """
    angle = np.linspace(0, 2 * np.pi, num_knots)
    zero, one = np.zeros(num_knots), np.ones(num_knots)
    motions = [(one, zero, zero), (zero, one, zero), (zero, zero, one), (np.cos(angle), -np.sin(angle), zero)]
    return np.stack([np.stack(motion, -1).ravel() for motion in motions])


def basis(num_knots: int) -> np.ndarray:
    """What is left: an orthonormal basis (3 knots - 4, 3 knots) of all motions but those."""
    return np.linalg.svd(gauge(num_knots))[2][4:]


def wrong_motion(num_knots: int) -> np.ndarray:
    """Slow oscillations, shape (knots, 3), of up to 2 mm and 2 degrees."""
    t = np.linspace(0, 1, num_knots)[:, None]
    waves = np.sin(2 * np.pi * (np.array([0.8, 1.3, 1.0]) * t + np.array([0.1, 0.6, 0.35])))
    B = basis(num_knots)  # noqa: N806
    waves = (B.T @ (B @ waves.ravel())).reshape(waves.shape)
    largest = np.abs(waves).max(0)
    # y and x by the same factor: by two the motion would no longer be free of the gauge.
    return 2 * waves / [max(largest[:2]), max(largest[:2]), largest[2]]


def estimate(start: np.ndarray, stages: Iterable[tuple[Scan, dict[str, Any]]]) -> np.ndarray:
    """Knots of the motion that explains the projections, from far away with large pixels, then with small ones."""
    B = basis(len(start))  # noqa: N806
    free = jnp.asarray(B @ start.ravel(), jnp.float32)
    for scan, options in stages:
        geometry = lambda free, scan=scan: scan.geometry((free @ B).reshape(start.shape))  # noqa: E731
        free = calibration.calibrate(geometry, free, scan.sinogram, scan.grid, **options).parameters
    return (np.asarray(free) @ B).reshape(start.shape)


def rms(motion: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(motion**2, axis=0))


def report(motions: dict[str, np.ndarray], scan: Scan) -> None:
    pixel = float(scan.grid.voxel_size[0])
    print(f"root mean square over the knots; a pixel of the image is {pixel:.3f} mm")
    for name, knots in motions.items():
        shift, turn = np.sqrt(np.mean(knots[:, :2] ** 2)), rms(knots)[2]
        each = ", ".join(
            f"{key} {value:.3f} {unit}" for (key, unit), value in zip(UNITS.items(), rms(knots), strict=True)
        )
        print(f"  {name:40} {each}: {shift / pixel:.2f} pixels, {turn:.2f} degrees")


def draw(motions: dict[str, np.ndarray], images: dict[str, np.ndarray], scan: Scan) -> Figure:
    figure = Figure(figsize=(12.5, 4.4), layout="constrained")
    axes = figure.subplot_mosaic([["shift", *images], ["turn", *images]], width_ratios=[1.3] + [1] * len(images))
    views = np.linspace(0, scan.beam.num_views - 1, KNOTS)
    for (name, knots), style in zip(motions.items(), (":", "-", "--"), strict=True):
        for values, key, color in zip(knots.T, UNITS, ("tab:blue", "tab:orange", "tab:green"), strict=True):
            panel = axes["turn" if key == "rotation" else "shift"]
            panel.plot(views, values, style, color=color, label=name if key == "rotation" else None)
    for name, color in (("y", "tab:blue"), ("x", "tab:orange")):
        axes["shift"].plot([], color=color, label=name)
    axes["shift"].set(ylabel="shift (mm)", title="supposed motion of the object")
    axes["shift"].tick_params(labelbottom=False)
    axes["shift"].legend(fontsize=8, loc="lower left", ncols=2)
    axes["turn"].set(xlabel="view", ylabel="rotation (degrees)", ylim=(-2.2, 4.2))
    axes["turn"].legend(fontsize=8, loc="upper left")
    (bottom, left), (top, right) = scan.grid.bounds()
    high = max(grey_window(image)[1] for image in images.values())
    for name, image in images.items():
        extent = (left, right, bottom, top)
        picture = axes[name].imshow(image, cmap="gray", origin="lower", extent=extent, vmin=0, vmax=high)
        axes[name].set(xlabel="x (mm)", title=name)
        axes[name].tick_params(labelleft=name == next(iter(images)))
    axes[next(iter(images))].set_ylabel("y (mm)")
    figure.colorbar(picture, ax=[axes[name] for name in images], shrink=0.7, label="attenuation (1/mm)")
    return figure


def reconstruct(scan: Scan, knots: np.ndarray) -> np.ndarray:
    A = jaxct.Projector(scan.geometry(jnp.asarray(knots, jnp.float32)), scan.grid)  # noqa: N806
    return np.asarray(jaxct.reconstruct.cgls(A, scan.sinogram, num_iters=15).volume)


def main(target: Path) -> None:
    start = time.perf_counter()
    scans = {binning: Scan(binning) for binning in STAGES}
    stages = [(scans[binning], options) for binning, options in STAGES.items()]
    wrong = wrong_motion(KNOTS)
    still = np.zeros_like(wrong)
    motions = {
        "wrong": wrong,
        "estimated from the wrong one": estimate(wrong, stages),
        "estimated from the published geometry": estimate(still, stages),
    }
    report({**motions, "difference of the two estimates": np.subtract(*list(motions.values())[1:])}, scans[1])
    shown = {"wrong motion": wrong, "estimated motion": motions["estimated from the wrong one"], "published": still}
    images = {name: reconstruct(scans[1], knots) for name, knots in shown.items()}
    draw(motions, images, scans[1]).savefig(target, dpi=70)
    print(f"wall time {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
