"""16-bit floating point is storage: sums are float32, and only the result is rounded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gpu.tools import DIRECTIONS, SOME_OPERATORS, data_for, gpu, on, operator
from tests.operators import adjoint_gap, relative_error

# Half the distance to the next number, relative.
ROUNDING = {jnp.float16: 2.0**-11, jnp.bfloat16: 2.0**-8}
HALVES = pytest.mark.parametrize("dtype", ROUNDING, ids=["float16", "bfloat16"])
EACH = pytest.mark.parametrize(("case", "model"), SOME_OPERATORS, ids=str)


@HALVES
@EACH
def test_only_the_result_is_rounded(case, model, dtype):
    for direction in DIRECTIONS:
        project, data = operator(direction, case, model), data_for(direction, case, dtype)
        got, single = on(gpu(), project, data), on(gpu(), project, data.astype(np.float32))
        assert got.dtype == dtype
        assert relative_error(got, single) <= ROUNDING[dtype] + 1e-5, direction


@HALVES
@EACH
def test_batches(case, model, dtype):
    for direction in DIRECTIONS:
        project, data = operator(direction, case, model), data_for(direction, case, dtype, batch=(5,))
        got = on(gpu(), jax.jit(jax.vmap(project)), data)
        alone = np.stack([on(gpu(), project, item).astype(np.float32) for item in data])
        # Sums that differ in their last bits can round to neighbouring numbers.
        assert relative_error(got, alone) <= ROUNDING[dtype], direction


@HALVES
@EACH
def test_adjoint(case, model, dtype):
    forward, back = (lambda a, d=direction: on(gpu(), operator(d, case, model), a) for direction in DIRECTIONS)
    gap = adjoint_gap(forward, back, data_for("forward", case, dtype, seed=3), data_for("back", case, dtype, seed=4))
    assert gap <= 2 * ROUNDING[dtype]


@HALVES
def test_gradients_have_the_dtype_of_the_data(dtype):
    case, model = SOME_OPERATORS[0]
    project, x = operator("forward", case, model), data_for("forward", case, dtype)
    assert on(gpu(), jax.grad(lambda x: jnp.sum(project(x).astype(jnp.float32) ** 2)), x).dtype == dtype


@EACH
def test_large_sums_do_not_overflow_in_fast_mode(case, model):
    """Data beyond half precision's range, and far below it: the working copy is scaled."""
    for direction in DIRECTIONS:
        data = data_for(direction, case)
        fast = operator(direction, case, model, precision="fast")
        plain = np.asarray(on(gpu(), fast, data))
        for scale in (2.0**40, 2.0**-40):
            np.testing.assert_array_equal(on(gpu(), fast, data * np.float32(scale)), plain * np.float32(scale))
        assert not np.asarray(on(gpu(), fast, 0 * data)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@EACH
def test_wild_values_leave_the_rest_alone_in_fast_mode(case, model, value):
    """They must not choose the scale of the working copy: all that they do not reach is as accurate as without them."""
    for direction in DIRECTIONS:
        data = data_for(direction, case)
        data[tuple(n // 2 for n in data.shape)] = value
        project, fast = operator(direction, case, model), operator(direction, case, model, precision="fast")
        wanted, got = (np.asarray(on(gpu(), f, data)) for f in (project, fast))
        finite = np.isfinite(wanted)
        assert finite.any(), direction
        assert not finite.all(), direction
        np.testing.assert_array_equal(np.isfinite(got), finite, err_msg=direction)
        assert np.abs(got[finite] - wanted[finite]).max() <= 2e-3 * np.abs(wanted[finite]).max(), direction


def test_float64_needs_x64_and_single_stays_single():
    case, model = SOME_OPERATORS[0]
    project = operator("forward", case, model)
    with jax.enable_x64(True):
        assert on(gpu(), project, data_for("forward", case, np.float64)).dtype == np.float64
        assert on(gpu(), project, data_for("forward", case, np.float32)).dtype == np.float32
