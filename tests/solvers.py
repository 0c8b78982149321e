"""The iterative algorithms by name, with a small problem that suits each: to be listed here is to be tested."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from jaxct import priors, reconstruct
from jaxct.reconstruct.admm_tv import admm_tv
from jaxct.reconstruct.asd_pocs import asd_pocs
from jaxct.reconstruct.bsrem import bsrem
from jaxct.reconstruct.dictionary import dictionary_em
from jaxct.reconstruct.dip import dip
from jaxct.reconstruct.diprecon import diprecon
from jaxct.reconstruct.fista import fista
from jaxct.reconstruct.landweber import landweber
from jaxct.reconstruct.lsmr import lsmr
from jaxct.reconstruct.lsqr import lsqr
from jaxct.reconstruct.map_em import map_em
from jaxct.reconstruct.mlem import mlem
from jaxct.reconstruct.osem import osem
from jaxct.reconstruct.pdhg import pdhg
from jaxct.reconstruct.plug_and_play import plug_and_play
from jaxct.reconstruct.pwls import pwls
from jaxct.reconstruct.sart import os_sart, sart
from jaxct.reconstruct.spdhg import spdhg
from jaxct.reconstruct.svrg import svrg
from jaxct.reconstruct.transmission import mltr
from tests.matrix import COLS, ROWS
from tests.networks import TwoConvolutions, filled


@dataclass(frozen=True)
class Solver:
    """``run(A, data, num_iters=..., **options)``; the data are those of a positive image, with a little noise."""

    run: Callable[..., reconstruct.Result]
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, A: Any, data: Any, **options: Any) -> reconstruct.Result:  # noqa: N803
        return self.run(A, data, **{"num_iters": 6, **self.options, **options})

    def __repr__(self) -> str:
        return self.run.__name__


def mltr_of_line_integrals(A: Any, data: Any, **options: Any) -> reconstruct.Result:  # noqa: N803
    """Of the counts that they would leave of ten thousand."""
    return mltr(A, 1e4 * jnp.exp(-jnp.asarray(data)), blank=1e4, **options)


def weak_huber(x: Any) -> Any:
    """Of curvature 0.12 at most: two, for each of three neighbours."""
    return 0.02 * priors.huber(x, delta=0.1)


def weak_threshold(x: Any) -> Any:
    return priors.wavelet_threshold(x, 0.01)


ATOMS = np.random.default_rng(3).normal(size=(5, 2, 2))
# L-BFGS turns roundings, which differ from one way of running to the other, into other steps.
STEEPEST = optax.sgd(0.02)

SOLVERS = [
    Solver(reconstruct.cgls, {"damping": 0.1}),
    Solver(reconstruct.sirt, {"relaxation": 1.5, "lower": 0.0}),
    Solver(landweber, {"relaxation": 1.5, "lower": 0.0}),
    Solver(lsmr, {"damping": 0.1}),
    Solver(lsqr, {"damping": 0.1}),
    Solver(os_sart, {"num_subsets": 4, "order": "random", "lower": 0.0}),
    Solver(sart, {"relaxation": 0.5}),
    Solver(mlem, {"background": 0.02}),
    Solver(map_em, {"prior": weak_huber, "curvature": 0.12, "pull": 0.01, "target": 1.0}),
    Solver(dictionary_em, {"dictionary": ATOMS, "weight": 0.02, "sparsity": 2, "background": 0.02}),
    Solver(admm_tv, {"tv_weight": 0.02, "lower": 0.0}),
    Solver(asd_pocs, {"epsilon": 0.1, "num_subsets": 3}),
    Solver(fista, {"weight": 0.02, "lower": 0.0}),
    Solver(pdhg, {"tv_weight": 0.02, "lower": 0.0}),
    Solver(spdhg, {"num_subsets": 3, "tv_weight": 0.02, "lower": 0.0}),
    Solver(osem, {"num_subsets": 3, "order": "random"}),
    Solver(bsrem, {"num_subsets": 3, "prior": weak_huber, "order": "random"}),
    Solver(svrg, {"num_subsets": 3, "prior": weak_huber}),
    Solver(mltr_of_line_integrals),
    Solver(pwls, {"num_subsets": 3, "prior": weak_huber, "curvature": 0.12, "order": "random"}),
    Solver(plug_and_play, {"denoiser": weak_threshold, "lower": 0.0}),
    Solver(dip, {"network": filled(TwoConvolutions)}),
    Solver(
        diprecon, {"network": filled(TwoConvolutions), "prefit_iters": 3, "background": 0.02, "optimizer": STEEPEST}
    ),
]


def positive_problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix without negative weights, an image, and its data."""
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(ROWS, 6)) * (rng.uniform(size=(ROWS, 6)) < 0.5)
    matrix[np.arange(ROWS), np.arange(ROWS) % 6] += 1
    image = rng.uniform(0.5, 2, size=COLS)
    return matrix, image, matrix @ image.ravel() + rng.uniform(0, 0.05, size=ROWS)
