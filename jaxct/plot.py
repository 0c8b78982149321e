"""Pictures of volumes: orthogonal slices in mm, several reconstructions side by side in one grey window."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxct.geometry import VolumeGrid

_DARK, _LIGHT = "#101010", "#e8e8e8"


class _Section(NamedTuple):
    """A slice normal to one axis of a 3-D volume: its name, that axis, and the axes shown down and across."""

    name: str
    normal: int | None
    down: int
    across: int


_SECTIONS_3D = (_Section("axial", 0, 1, 2), _Section("coronal", 1, 0, 2), _Section("sagittal", 2, 0, 1))
_SECTIONS_2D = (_Section("image", None, 0, 1),)


def plot_slices(
    volumes: ArrayLike | Mapping[str, ArrayLike],
    grid: VolumeGrid,
    *,
    at: tuple[float, ...] | None = None,
    window: tuple[float, float] | None = None,
    title: str = "",
    caption: str = "",
) -> Any:
    """Orthogonal slices through volumes on one grid, a row of pictures for each.

    Axes are in mm with y and z upwards, all volumes share one grey window, and each row starts with a scale bar.

    Args:
        volumes: one volume ``(z, y, x)`` or image ``(y, x)``, or several by name.
        grid: where their voxels lie.
        at: the world point (z, y, x) in mm that the slices pass through; the grid's middle if None.
        window: attenuation drawn black and white, in 1/mm; if None, wide enough for the :func:`grey_window` of each.
        title: above the pictures.
        caption: below them, for the attribution.

    Returns:
        A matplotlib ``Figure``, not bound to any display.

    Raises:
        ValueError: where a volume does not fit the grid, or the point lies outside it.
        ImportError: without matplotlib.
    """
    figure_class = _matplotlib_figure()
    named = {name: _checked(name, v, grid) for name, v in _by_name(volumes).items()}
    low, high = _common_window(named.values()) if window is None else window
    index = _index(grid, at)
    sections = _sections(grid)
    widths, heights = _panel_sizes(grid, sections)
    size = (sum(widths) + 2.8, len(named) * (max(heights) + 0.65) + 0.7)
    figure = figure_class(figsize=size, dpi=150, facecolor=_DARK, layout="constrained")
    axes = figure.subplots(len(named), len(sections), squeeze=False, width_ratios=widths)
    for row, (name, volume) in zip(axes, named.items(), strict=True):
        for ax, section in zip(row, sections, strict=True):
            picture = _draw(ax, volume, grid, section, index, (low, high))
            ax.set_title(_heading(name, section, grid, index), color=_LIGHT, fontsize=9)
        _scale_bar(row[0], grid, sections[0])
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, pad=0.01)
    bar.set_label("attenuation (1/mm)", color=_LIGHT, fontsize=8)
    bar.ax.tick_params(colors=_LIGHT, labelsize=7)
    if title:
        figure.suptitle(title, color=_LIGHT, fontsize=12)
    if caption:
        figure.supxlabel(caption, color="#a0a0a0", fontsize=7, wrap=True)
    return figure


def save_slices(
    path: str | os.PathLike, volumes: ArrayLike | Mapping[str, ArrayLike], grid: VolumeGrid, **options: Any
) -> None:
    """:func:`plot_slices`, written as a picture (PNG, PDF, SVG ..., by the name's ending)."""
    figure = plot_slices(volumes, grid, **options)
    figure.savefig(path, facecolor=figure.get_facecolor())


def grey_window(volume: ArrayLike) -> tuple[float, float]:
    """Attenuation drawn black and white: 0, and what one voxel in 500 of the object exceeds.

    The object is taken to be what attenuates at least a quarter as much as the brightest hundredth of the voxels
    typically does; so much air around a small object changes nothing.
    """
    values = np.asarray(volume, np.float32).ravel()
    values = values[np.isfinite(values)]
    values = values[:: max(values.size // 2_000_000, 1)]
    if values.size == 0:
        return 0.0, 1.0
    bright = np.median(values[values >= np.percentile(values, 99)])
    object_values = values[values > bright / 4]
    high = float(np.percentile(object_values, 99.8)) if object_values.size else float(values.max())
    return (0.0, high) if high > 0 else (float(values.min()), float(values.max()) + 1e-12)


def _common_window(volumes: Iterable[np.ndarray]) -> tuple[float, float]:
    lows, highs = zip(*map(grey_window, volumes), strict=True)
    return min(lows), max(highs)


def _matplotlib_figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("matplotlib is needed to draw: pip install 'jaxct[plot]'") from error
    return Figure


def _by_name(volumes: Any) -> Mapping[str, Any]:
    if not isinstance(volumes, Mapping):
        return {"": volumes}
    if not volumes:
        raise ValueError("volumes: nothing to draw")
    return volumes


def _checked(name: str, volume: Any, grid: VolumeGrid) -> np.ndarray:
    values = np.asarray(volume, np.float32)
    if values.shape != grid.shape:
        raise ValueError(f"volumes: {name or 'the volume'} has shape {values.shape}, the grid {grid.shape}")
    return values


def _index(grid: VolumeGrid, at: tuple[float, ...] | None) -> tuple[int, ...]:
    middle = tuple(n // 2 for n in grid.shape)
    if at is None:
        return middle
    if len(at) != grid.ndim:
        raise ValueError(f"at: expected {grid.ndim} coordinates, got {at}")
    index = tuple(int(i) for i in np.rint(np.asarray(grid.to_index(np.asarray(at, np.float32)))))
    if not all(0 <= i < n for i, n in zip(index, grid.shape, strict=True)):
        raise ValueError(f"at: {at} lies outside the grid")
    return index


def _sections(grid: VolumeGrid) -> tuple[_Section, ...]:
    """The slices worth drawing: of a volume a few voxels thin, only the broad one."""
    if grid.ndim == 2:
        return _SECTIONS_2D
    lengths = np.asarray(grid.shape) * np.asarray(grid.voxel_size)
    broad = lengths > 0.02 * lengths.max()
    return tuple(s for s in _SECTIONS_3D if broad[s.down] and broad[s.across]) or _SECTIONS_3D


def _panel_sizes(grid: VolumeGrid, sections: tuple[_Section, ...]) -> tuple[list[float], list[float]]:
    """Width and height of the panels in inches: to scale with one another, the widest 3.6 inches."""
    lengths = np.asarray(grid.shape) * np.asarray(grid.voxel_size)
    scale = 3.6 / max(lengths[s.across] for s in sections)
    return [float(lengths[s.across] * scale) for s in sections], [float(lengths[s.down] * scale) for s in sections]


def _draw(
    ax: Any, volume: np.ndarray, grid: VolumeGrid, section: _Section, index: tuple[int, ...], window: tuple
) -> Any:
    image = volume if section.normal is None else np.take(volume, index[section.normal], axis=section.normal)
    low, high = (np.asarray(corner) for corner in grid.bounds())
    extent = (low[section.across], high[section.across], low[section.down], high[section.down])
    ax.tick_params(colors="#a0a0a0", labelsize=7)
    names = "zyx"[-grid.ndim :]
    ax.set_xlabel(f"{names[section.across]} (mm)", color="#a0a0a0", fontsize=8)
    ax.set_ylabel(f"{names[section.down]} (mm)", color="#a0a0a0", fontsize=8)
    for spine in ax.spines.values():
        spine.set_color("#404040")
    return ax.imshow(
        image, cmap="gray", origin="lower", extent=extent, vmin=window[0], vmax=window[1], interpolation="bicubic"
    )


def _heading(name: str, section: _Section, grid: VolumeGrid, index: tuple[int, ...]) -> str:
    if section.normal is None:
        return name
    position = float(grid.coordinates()[section.normal][index[section.normal]])
    place = f"{section.name}, {'zyx'[section.normal]} = {position:.1f} mm"
    return f"{name}: {place}" if name else place


def _scale_bar(ax: Any, grid: VolumeGrid, section: _Section) -> None:
    """A bar of 1, 2 or 5 times a power of ten mm, about a quarter of the picture wide."""
    low, high = (np.asarray(corner, float) for corner in grid.bounds())
    width = high[section.across] - low[section.across]
    decade = 10 ** np.floor(np.log10(width / 4))
    length = decade * max(m for m in (1, 2, 5) if m * decade <= width / 4 * 1.001)
    x, y = low[section.across] + 0.05 * width, low[section.down] + 0.05 * (high - low)[section.down]
    ax.plot([x, x + length], [y, y], color=_LIGHT, linewidth=2.5, solid_capstyle="butt")
    ax.annotate(
        f"{length:g} mm", (x + length / 2, y), xytext=(0, 4), textcoords="offset points",
        color=_LIGHT, fontsize=8, ha="center",
    )  # fmt: skip
