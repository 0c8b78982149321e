"""Volumes in Interfile as STIR writes them: a header ``.hv`` beside the data ``.v``.

STIR's axes (z, y, x) are taken over as they are: z grows with the rings, and x and y are those of its sinograms (see
:func:`jaxct.io.open_sinograms`; y points down). Its voxels are numbered from -(n // 2) along x and y, so that
without a ``first pixel offset`` voxel n // 2 lies on the axis, half a voxel off the grid's middle where n is even.
Along z the offset is 0 for a volume whose middle is the scanner's, and a shift from there otherwise.
"""

from pathlib import Path

import numpy as np

from jaxct.geometry import VolumeGrid
from jaxct.io._interfile_keys import Keys, number_format

_AXES = ("x", "y", "z")


def read_volume(path: Path) -> tuple[np.ndarray, VolumeGrid]:
    """Values ``[z, y, x]``, scaled where the header says so, and their grid.

    Raises:
        FileNotFoundError: where the header or its data file does not exist.
        ValueError: naming file and key, for a header that is incomplete, has other axes or several frames, or data that
            are cut.
    """
    keys = Keys(path)
    shape, grid = _grid(keys)
    for key in ("number of time frames", "number of image data types"):
        if keys.integer(key, 1) != 1:
            raise ValueError(f"{path}: {key}: expected 1, got {keys.text(key)}")
    data, offset, dtype = keys.data_path(), keys.data_offset(), keys.dtype()
    count = int(np.prod(shape))
    keys.check_size(data, offset + count * dtype.itemsize)
    values = np.fromfile(data, dtype, count, offset=offset).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    scales = keys.scales(shape[0])
    if (scales == 1).all():
        return values, grid
    scaled = values * scales[:, None, None]
    return scaled if values.dtype == np.float64 else scaled.astype(np.float32), grid


def write_volume(path: Path, data: Path, name: str, values: np.ndarray, grid: VolumeGrid, description: str) -> None:
    """Write the header to ``path`` and the values to ``data``, which the header calls ``name``.

    Raises:
        ValueError: for a volume that is not 3-D.
    """
    if grid.ndim != 3:
        raise ValueError("volume: Interfile stores 3-D volumes; give a 2-D image a z axis of one slice")
    dtype = values.dtype.newbyteorder("<")
    np.ascontiguousarray(values, dtype).tofile(data)
    path.write_text("\n".join(_header_lines(name, grid, dtype, description)) + "\n", encoding="utf-8")


def _grid(keys: Keys) -> tuple[tuple[int, int, int], VolumeGrid]:
    if keys.integer("number of dimensions") != 3:
        raise ValueError(f"{keys.path}: number of dimensions: expected 3, got {keys.text('number of dimensions')}")
    axes = range(1, 4)
    labels = tuple(keys.text(f"matrix axis label[{k}]", axis).lower() for k, axis in zip(axes, _AXES, strict=True))
    if labels != _AXES:
        raise ValueError(f"{keys.path}: matrix axis label: expected x, y, z, got {', '.join(labels)}")
    shape = np.array([keys.integer(f"matrix size[{k}]") for k in axes])
    size = np.array([keys.number(f"scaling factor (mm/pixel)[{k}]") for k in axes])
    first = -(shape // 2) * size * (1, 1, 0)
    first = np.array([keys.number(f"first pixel offset (mm)[{k}]", f) for k, f in zip(axes, first, strict=True)])
    center = first + (shape - 1) / 2 * size * (1, 1, 0)
    try:
        grid = VolumeGrid(shape[::-1].tolist(), voxel_size=size[::-1], center=center[::-1])
    except ValueError as error:
        raise ValueError(f"{keys.path}: matrix size, scaling factor (mm/pixel): {error}") from error
    return grid.shape, grid  # type: ignore[return-value]


def _header_lines(name: str, grid: VolumeGrid, dtype: np.dtype, description: str) -> list[str]:
    shape = np.array(grid.shape[::-1])
    size, center = (np.asarray(v, np.float64)[::-1] for v in (grid.voxel_size, grid.center))
    first = center - (shape - 1) / 2 * size * (1, 1, 0)
    axes = [
        line
        for k in range(3)
        for line in (
            f"matrix axis label [{k + 1}] := {_AXES[k]}",
            f"!matrix size [{k + 1}] := {shape[k]}",
            f"scaling factor (mm/pixel) [{k + 1}] := {size[k]:.9g}",
            f"first pixel offset (mm) [{k + 1}] := {first[k]:.9g}",
        )
    ]
    return [
        "!INTERFILE  :=",
        *([f"; {' '.join(description.split())}"] if description else []),
        "!imaging modality := PT",
        f"name of data file := {name}",
        "!version of keys := STIR3.0",
        "!GENERAL DATA :=",
        "!GENERAL IMAGE DATA :=",
        "!type of data := PET",
        number_format(dtype)[0],
        "!PET STUDY (General) :=",
        "!PET data type := Image",
        "process status := Reconstructed",
        *number_format(dtype)[1:],
        "number of dimensions := 3",
        *axes,
        "number of time frames := 1",
        "!END OF INTERFILE :=",
    ]
