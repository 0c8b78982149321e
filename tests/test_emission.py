"""Solvers that know nothing of PET reach the most probable image of counts, with attenuation, blur and background."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxct
from jaxct import priors
from jaxct.data_fit import Poisson
from jaxct.operators import Diagonal, GaussianBlur
from jaxct.reconstruct._poisson import log_likelihood
from jaxct.reconstruct.map_em import map_em
from jaxct.reconstruct.minimize import minimize
from jaxct.reconstruct.mlem import mlem
from jaxct.reconstruct.spdhg import spdhg


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def scan():
    """Attenuated, blurred counts of a disc with a hot spot, and a background."""
    grid = jaxct.VolumeGrid((12, 12))
    beam = jaxct.ParallelBeam(np.linspace(0, np.pi, 18, endpoint=False), detector_shape=(18,))
    y, x = np.mgrid[-5.5:6, -5.5:6]
    projector = jaxct.Projector(beam, grid)
    attenuation = np.exp(-np.asarray(projector(0.05 * (x**2 + y**2 < 30))))
    A = Diagonal(attenuation) @ projector @ GaussianBlur(grid, 0.5)  # noqa: N806
    image = 5.0 * (x**2 + y**2 < 30) + 15.0 * ((x - 2) ** 2 + (y + 1) ** 2 < 3)
    background = np.full(A.out_shape, 3.0)
    return A, np.random.default_rng(0).poisson(A(image) + background).astype(float), background


def penalty(x):
    return 0.05 * priors.quadratic(x)


CURVATURE = 0.05 * priors.pair_curvature((12, 12))


def test_lbfgs_in_the_scale_of_em_is_faster_than_map_em_and_arrives(scan):
    """With ``x = scale u`` and ``scale^2 = x_0 / s`` the Hessian of the likelihood is about the identity."""
    A, counts, background = scan  # noqa: N806
    start = mlem(A, counts, num_iters=2, background=background).volume
    scale = jnp.sqrt(start / A.T(jnp.ones(A.out_shape)))
    fit = Poisson(A @ Diagonal(scale), counts, background)

    def objective(u, fit, scale):
        return fit(u) + penalty(scale * u)

    arguments = {"optimizer": optax.lbfgs(), "lower": 0.0, "args": (fit, scale)}
    by_lbfgs = minimize(objective, start / scale, num_iters=30, **arguments).history["objective"]
    options = {"prior": penalty, "curvature": CURVATURE, "background": background}
    by_em = -map_em(A, counts, num_iters=1500, init=start, **options).history["objective"]
    least = float(by_em[-1])
    assert by_lbfgs[-1] - least < 1e-3
    assert by_lbfgs[-1] < by_em[100]


def test_spdhg_arrives_at_the_most_likely_image_and_total_variation_costs_what_it_should(scan):
    A, counts, background = scan  # noqa: N806

    def cost(x, weight):
        return float(weight * priors.total_variation(x) - log_likelihood(counts, A(x) + background))

    most_likely = mlem(A, counts, num_iters=3000, background=background).volume
    options = {"num_subsets": 6, "fit": "kullback_leibler", "background": background, "lower": 0.0}
    found = spdhg(A, counts, num_iters=300, tv_weight=0.0, **options).volume
    assert cost(found, 0.0) - cost(most_likely, 0.0) < 0.2
    smooth = spdhg(A, counts, num_iters=300, tv_weight=0.5, **options).volume
    assert cost(smooth, 0.5) < min(cost(most_likely, 0.5), cost(found, 0.5)) - 1
