"""What memory and time a training step of MAPEM-Net takes, against its unrolls and the lines of response.

``python benchmarks/pet_training.py --help``. A process for each case: a volume of ``--size`` voxels a side, random
lines as in list mode, a step of Adam on the mean square of the difference to a phantom. ``temporary`` is what XLA's
plan of the step has beside arguments and results; ``peak`` the process' resident set at most, of which ``before`` was
there with operands and parameters before the step was compiled. The first run of the step is left out of the time.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import describe_machine, memory_mb


def measure(size: int, unrolls: int, lines: int, features: Sequence[int], remat: bool, repeats: int) -> dict[str, Any]:
    """One case, in this process. Without repeats the step is compiled, and not run."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx
    from pet import random_lines

    import jaxct

    lors = random_lines(lines)[0]
    grid = jaxct.VolumeGrid((size,) * 3, (128 / size, 256 / size, 256 / size))
    A = jaxct.Projector(lors, grid)  # noqa: N806
    truth = jaxct.phantoms.ball(50.0).rasterize(grid)
    expected = jax.jit(lambda A, x: A(x))(A, truth)  # noqa: N803
    background = jnp.full(expected.shape, 1.0)
    data = jax.random.poisson(jax.random.key(0), expected + background).astype(jnp.float32)
    scan = (A, data, background, truth)
    del expected
    make = lambda: jaxct.nn.MAPEMNet(unrolls, features=features, remat=remat, rngs=nnx.Rngs(0))  # noqa: E731
    graphdef, state = nnx.split(nnx.jit(make)())
    optimizer = optax.adam(1e-3)
    moments = jax.jit(optimizer.init)(state)

    def step(state: Any, moments: Any, scan: Any) -> tuple[Any, Any, jax.Array]:
        A, data, background, truth = scan  # noqa: N806

        def loss(state: Any) -> jax.Array:
            return jnp.mean((nnx.merge(graphdef, state)(A, data, background=background) - truth) ** 2)

        value, gradient = jax.value_and_grad(loss)(state)
        updates, moments = optimizer.update(gradient, moments, state)
        return optax.apply_updates(state, updates), moments, value

    before = memory_mb("VmRSS")
    start = time.perf_counter()
    compiled = jax.jit(step).lower(state, moments, scan).compile()
    record = {
        "size": size,
        "unrolls": unrolls,
        "lines": lines,
        "features": list(features),
        "remat": remat,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state)),
        "compile_s": time.perf_counter() - start,
        "temporary_mb": compiled.memory_analysis().temp_size_in_bytes / 1e6,
        "before_mb": before,
    }
    seconds = []
    for _ in range(repeats + 1 if repeats else 0):
        start = time.perf_counter()
        jax.block_until_ready(compiled(state, moments, scan))
        seconds.append(time.perf_counter() - start)
    return record | {"seconds": seconds[1:], "peak_mb": memory_mb("VmHWM") if seconds else None}


def cases(options: argparse.Namespace) -> list[tuple[int, int, bool, int]]:
    """Unrolls, lines, whether to recompute, repeats: each number of unrolls with the first number of lines, and each
    number of lines with the last number of unrolls; without recomputing, a plan alone."""
    unrolls = [(n, options.lines[0], True, options.repeats) for n in options.unrolls]
    lines = [(options.unrolls[-1], n, True, options.repeats) for n in options.lines[1:]]
    return [*unrolls, *lines, *((n, options.lines[0], False, 0) for n in options.unrolls)]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Every case in a process of its own; prints a line for each, and writes after each."""
    results: dict[str, Any] = {"machine": describe_machine(), "results": []}
    for unrolls, lines, remat, repeats in cases(options):
        case = json.dumps([options.size, unrolls, lines, options.features, remat, repeats])
        done = subprocess.run([sys.executable, __file__, "--case", case], stdout=subprocess.PIPE, text=True, check=True)
        results["results"].append(json.loads(done.stdout.splitlines()[-1]))
        print(_line(results["results"][-1]), flush=True)
        if options.output is not None:
            options.output.write_text(json.dumps(results, indent=1))
    return results


def _line(record: dict[str, Any]) -> str:
    kept = "recomputed" if record["remat"] else "kept"
    text = (
        f"{record['unrolls']:3} unrolls {record['lines']:9} lines {kept:11} temporary {record['temporary_mb']:8.0f} MB"
    )
    if not record["seconds"]:
        return text
    return (
        f"{text}  peak {record['peak_mb']:6.0f} MB, {record['before_mb']:.0f} before  {min(record['seconds']):7.2f} s"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and write the results."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, metavar="VOXELS")
    parser.add_argument("--unrolls", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--lines", type=int, nargs="+", default=[250_000, 1_000_000, 4_000_000])
    parser.add_argument("--features", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=Path, metavar="RESULTS.json")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(measure(*json.loads(options.case))))
        return 0
    run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
