"""What the PET study found: curves of contrast recovery over noise, a table at equal noise, and two figures."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _pet_study_methods import METHODS
from _pet_study_scan import Phantom, Settings

from jaxct.pet import metrics

TARGETS = {"gray": "gray matter", "spheres": "spheres"}


class Curve(NamedTuple):
    """Of one method, an entry for each of its knob's values."""

    values: list[float]
    gray: list[float]
    spheres: list[float]
    std: list[float]
    realisations: int
    seconds: float  # the mean of a realisation, without the first, which compiles, where there are more


def result_path(folder: Path, method: str, realisation: int) -> Path:
    return folder / "results" / f"{method}-{realisation:03d}.npz"


def curves(folder: Path, settings: Settings, phantom: Phantom) -> dict[str, Curve]:
    """Of all methods of which two realisations are there, which a standard deviation needs."""
    found = {}
    for name, method in METHODS.items():
        paths = sorted((folder / "results").glob(f"{name}-[0-9]*.npz"))
        if len(paths) >= 2:
            means, seconds = (np.stack(parts) for parts in zip(*map(_load, paths), strict=True))
            found[name] = _curve(list(method.values(settings)), means, seconds, phantom)
    return found


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as stored:
        return stored["means"], stored["seconds"]


def _curve(values: list[float], means: np.ndarray, seconds: np.ndarray, phantom: Phantom) -> Curve:
    """``means``: (realisations, values, regions). They take the place of images, whose voxels are the regions."""
    gray, spheres, white = (labels[1] for labels in region_labels(phantom))
    truth = np.asarray(metrics.region_means(phantom.truth, phantom.regions))
    background = truth[white > 0].mean()

    def recovery(target: np.ndarray) -> list[float]:
        ratio = truth[target > 0].mean() / background
        return [
            float(metrics.contrast_recovery_coefficient(means[:, k], target, white, ratio)) for k in range(len(values))
        ]

    std = [float(metrics.background_std(means[:, k], white)) for k in range(len(values))]
    return Curve(values, recovery(gray), recovery(spheres), std, len(means), float(seconds[1:].mean()))


def region_labels(phantom: Phantom) -> list[tuple[str, np.ndarray]]:
    """Labels among all regions: 1, 2, ... for those of one kind, 0 for the others."""
    spheres, number = int(phantom.num_spheres), len(phantom.regions)
    bounds = {"gray": (0, 1), "spheres": (1, 1 + spheres), "white": (1 + spheres, number)}
    index = np.arange(number)
    return [(kind, np.where((index >= a) & (index < b), index - a + 1, 0)) for kind, (a, b) in bounds.items()]


def at_std(curve: Curve, target: str, level: float) -> float:
    """CRC where the curve crosses a standard deviation, by interpolation between neighbouring values of the knob; the
    highest where it does so more than once, NaN where it never does."""
    std, crc = np.asarray(curve.std), np.asarray(getattr(curve, target))
    found = [np.nan]
    for a, b, low, high in zip(std[:-1], std[1:], crc[:-1], crc[1:], strict=True):
        if min(a, b) <= level <= max(a, b):
            found.append(low if a == b else low + (high - low) * (level - a) / (b - a))
    return float(np.nanmax(found)) if len(found) > 1 else float("nan")


def levels(by_method: dict[str, Curve]) -> list[float]:
    """Three standard deviations that all curves cross, if there are such, else that the first one crosses."""
    low = max(min(c.std) for c in by_method.values())
    high = min(max(c.std) for c in by_method.values())
    if not low < high:
        first = next(iter(by_method.values()))
        low, high = min(first.std), max(first.std)
    return [float(x) for x in np.linspace(low, high, 5)[1:-1]]


def table(by_method: dict[str, Curve], stds: Sequence[float]) -> Iterator[str]:
    heads = [f"{kind} {100 * level:.1f} %" for kind in TARGETS for level in stds]
    yield f"{'CRC at STD':28}" + "".join(f"{head:>16}" for head in heads) + f"{'s each':>9}"
    for name, curve in by_method.items():
        cells = [at_std(curve, kind, level) for kind in TARGETS for level in stds]
        text = "".join(f"{'-' if np.isnan(c) else format(c, '.3f'):>16}" for c in cells)
        yield f"{METHODS[name].title:28}{text}{curve.seconds:9.1f}"


def write(folder: Path, settings: Settings, phantom: Phantom, stds: Sequence[float], facts: dict[str, Any]) -> None:
    """Curves, table and figures of what is in the folder."""
    by_method = curves(folder, settings, phantom)
    if not by_method:
        print("nothing to report: no method has two realisations")
        return
    stds = list(stds) or levels(by_method)
    record = {"facts": facts, "stds": stds, "curves": {name: c._asdict() for name, c in by_method.items()}}
    record["at_std"] = {
        name: {kind: [_number(at_std(c, kind, level)) for level in stds] for kind in TARGETS}
        for name, c in by_method.items()
    }
    (folder / "curves.json").write_text(json.dumps(record, indent=1))
    print("\n".join(table(by_method, stds)))
    for line in draw(folder, by_method, phantom, stds[len(stds) // 2]):
        print(line)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def draw(folder: Path, by_method: dict[str, Curve], phantom: Phantom, level: float) -> Iterator[str]:
    """Two figures.

    Yields:
        What was written, or why nothing was.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        yield "no figures: matplotlib is not installed"
        return
    for name, figure in {"curves": _curves(by_method), "images": _images(folder, by_method, phantom, level)}.items():
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=150)
        yield f"wrote {path.name}"


def _curves(by_method: dict[str, Curve]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, (kind, title) in zip(panels, TARGETS.items(), strict=True):
        for number, (name, curve) in enumerate(by_method.items()):
            style = {"marker": "osD^v"[number % 5], "markersize": 4, "color": f"C{number}"}
            panel.plot(100 * np.asarray(curve.std), getattr(curve, kind), label=METHODS[name].title, **style)
        panel.set(title=title, xlabel="STD in white matter, %", ylabel="CRC")
        panel.grid(alpha=0.3)
    panels[1].legend(fontsize=8)
    return figure


def _images(folder: Path, by_method: dict[str, Curve], phantom: Phantom, level: float) -> Any:
    """The plane with most of the spheres, of the first realisation; each method where its STD is nearest to a level."""
    from matplotlib.figure import Figure

    labels = dict(region_labels(phantom))
    spheres = np.asarray(phantom.regions)[labels["spheres"] > 0].sum(0)
    plane = int(spheres.sum((1, 2)).argmax())
    pictures = {"truth": phantom.truth[plane], "T1": phantom.t1[plane] / phantom.t1.max() * phantom.truth.max()}
    for name, curve in by_method.items():
        path = min((folder / "results").glob(f"{name}-[0-9]*.npz"))
        nearest = int(np.abs(np.asarray(curve.std) - level).argmin())
        with np.load(path) as stored:
            if "images" in stored:
                title = f"{METHODS[name].title}\n{METHODS[name].knob} {curve.values[nearest]:g}"
                pictures[title] = stored["images"][nearest, plane] / stored["scale"]
    columns = min(4, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(2.4 * columns, 3.0 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, (title, image) in zip(panels, pictures.items(), strict=False):
        panel.imshow(image, cmap="gray_r", origin="lower", vmin=0, vmax=float(phantom.truth.max()))
        panel.set_title(title, fontsize=9)
    return figure
