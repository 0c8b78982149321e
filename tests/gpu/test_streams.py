"""Calls that overlap do not disturb each other: several operators in one program, and several threads at once."""

from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from tests.gpu.tools import DIRECTIONS, SOME, SOME_OPERATORS, data_for, gpu, on, operator

REPEATS = 20


@pytest.mark.parametrize("case", SOME, ids=str)
def test_operators_in_one_program(case):
    """They depend on nothing of each other, so XLA may run them side by side."""
    chosen = [(d, operator(d, case, model)) for c, model in SOME_OPERATORS if c is case for d in DIRECTIONS]
    inputs = [data_for(direction, case, seed=i) for i, (direction, _) in enumerate(chosen)]
    alone = [np.asarray(on(gpu(), jax.jit(project), a)) for (_, project), a in zip(chosen, inputs, strict=True)]
    together = jax.jit(lambda *arrays: [project(a) for (_, project), a in zip(chosen, arrays, strict=True)])
    for _ in range(REPEATS):
        for got, wanted in zip(on(gpu(), together, *inputs), alone, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("case", SOME, ids=str)
def test_threads(case):
    """Every thread calls its own operator, again and again, with several calls under way."""
    chosen = [(d, operator(d, case, model)) for c, model in SOME_OPERATORS if c is case for d in DIRECTIONS]
    inputs = [data_for(direction, case, seed=i) for i, (direction, _) in enumerate(chosen)]
    programs = [jax.jit(project) for _, project in chosen]
    alone = [np.asarray(on(gpu(), program, a)) for program, a in zip(programs, inputs, strict=True)]

    def call(program, array):
        results = [on(gpu(), program, array) for _ in range(REPEATS)]
        return [np.asarray(result) for result in results]

    with ThreadPoolExecutor(len(programs)) as pool:
        for results, wanted in zip(pool.map(call, programs, inputs), alone, strict=True):
            for got in results:
                np.testing.assert_array_equal(got, wanted)
