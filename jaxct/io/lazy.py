"""A dataset on disk that is read only where it is indexed."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxct.io._require import require


class LazyArray:
    """A stack of projections in an HDF5 file: ``stack[10:20]`` and ``stack[:, row]`` read a part, ``np.asarray`` all.

    The file is opened for each read and closed again, so that nothing is left open. Indices are integers, slices and
    one-dimensional integer arrays, which act on each axis by itself.

    Args:
        path: the file.
        dataset: the dataset's name in it.
        views: which entries of the first axis to keep (slice or integers); all if None.
        flip_rows: whether the stored rows run towards -z and are to be reversed (3-D stacks).
    """

    def __init__(self, path: Path, dataset: str, *, views: Any = None, flip_rows: bool = False):
        self._path, self._dataset = Path(path), dataset
        with require("h5py", "io").File(path, "r") as file:
            stored = file[dataset]
            self.dtype = stored.dtype
            self._axes = [np.arange(n) for n in stored.shape]
        if views is not None:
            self._axes[0] = np.atleast_1d(self._axes[0][views])
        if flip_rows and len(self._axes) == 3:
            self._axes[1] = self._axes[1][::-1]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis) for axis in self._axes)

    @property
    def ndim(self) -> int:
        return len(self._axes)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > self.ndim:
            raise IndexError(f"too many indices: {len(keys)} for a stack of {self.ndim} axes")
        keys = (*keys, *[slice(None)] * (self.ndim - len(keys)))
        wanted = [axis[k] for axis, k in zip(self._axes, keys, strict=True)]
        boxes = [_box(np.atleast_1d(w)) for w in wanted]
        with require("h5py", "io").File(self._path, "r") as file:
            block = file[self._dataset][tuple(box for box, _ in boxes)]
        block = block[np.ix_(*[inside for _, inside in boxes])]
        return block.reshape([len(w) for w in wanted if w.ndim])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = self[:]
        return values if dtype is None else values.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"LazyArray({self._path.name}:{self._dataset}, {self.dtype}{list(self.shape)})"


def _box(index: np.ndarray) -> tuple[slice, np.ndarray]:
    """The smallest evenly stepped slice that holds these indices, and where they lie in it."""
    if len(index) == 0:
        return slice(0, 0), index
    low, high = int(index.min()), int(index.max())
    steps = np.abs(np.diff(index))
    step = int(steps[0]) if len(steps) and steps[0] > 0 and (steps == steps[0]).all() else 1
    return slice(low, high + 1, step), (index - low) // step
