"""The iterative methods of the command line, and which of its options each of them takes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxct import reconstruct
from jaxct.projection import Projector
from jaxct.reconstruct import LoopOptions, Result

# In units of the weight from which on the image is constant.
TV_WEIGHT = 1e-3
SUBSETS = 10


@dataclasses.dataclass(frozen=True)
class Settings:
    """Options that some methods take, as typed; None where they were not."""

    damping: float | None = None
    relaxation: float | None = None
    tv_weight: float | None = None
    subsets: int | None = None
    non_negative: bool | None = None

    def given(self) -> dict[str, Any]:
        """Those that were typed, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclasses.dataclass(frozen=True)
class Method:
    """An algorithm, what it takes of :class:`Settings`, and its iterations where nobody says."""

    solve: Callable[..., Result]
    takes: tuple[str, ...]
    iters: int = 20

    def __call__(
        self,
        A: Projector,  # noqa: N803
        data: jax.Array,
        settings: Settings,
        *,
        num_iters: int,
        loop: LoopOptions,
    ) -> Result:
        """Options become arguments; one that the method does not take is a mistake of the caller."""
        given = settings.given()
        arguments: dict[str, Any] = {name: given[name] for name in ("damping", "relaxation") if name in given}
        if given.get("non_negative"):
            arguments["lower"] = 0.0
        if "subsets" in self.takes:
            arguments["num_subsets"] = given.get("subsets", min(SUBSETS, A.out_shape[0]))
        if "tv_weight" in self.takes:
            spacing = np.asarray(A.grid.voxel_size) / np.min(A.grid.voxel_size)
            # Relative, so that one number suits scans of any size, attenuation and number of views.
            unit = reconstruct.constant_tv_weight(A, data, spacing=spacing)
            arguments |= {"tv_weight": given.get("tv_weight", TV_WEIGHT) * unit, "spacing": spacing}
        return self.solve(A, data, num_iters=num_iters, **arguments, **loop)


METHODS = {
    "cgls": Method(reconstruct.cgls, ("damping",)),
    "lsqr": Method(reconstruct.lsqr, ("damping",)),
    "lsmr": Method(reconstruct.lsmr, ("damping",)),
    "landweber": Method(reconstruct.landweber, ("relaxation", "non_negative")),
    "sirt": Method(reconstruct.sirt, ("relaxation", "non_negative")),
    "sart": Method(reconstruct.sart, ("relaxation", "non_negative")),
    "os-sart": Method(reconstruct.os_sart, ("relaxation", "non_negative", "subsets")),
    "tv": Method(reconstruct.pdhg, ("tv_weight", "non_negative")),
    "spdhg": Method(reconstruct.spdhg, ("tv_weight", "non_negative", "subsets")),
    "admm-tv": Method(reconstruct.admm_tv, ("tv_weight", "non_negative")),
    "dip": Method(reconstruct.dip, (), iters=500),
}
