"""What do gradients in the geometry cost, in forward projections, and 64 geometries by vmap, in single calls?

``python benchmarks/transformations.py --help``. In one process, two compiled programs at a time take turns; ratios are
of neighbouring runs, so that what else the machine does meets both alike.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import describe_machine, time_once
from _workloads import WORKLOADS, Scan, geometry, grid

MODELS = ("joseph", "separable_footprint")
GRADIENTS = ("W1", "W2", "W3", "W5")
# Of a workload divided by so much: large, and small.
BATCHES = {"W1": (2, 16), "W2": (2, 16), "W3": (2, 8)}
COUNT = 64


def programs(scan: Scan, model: str) -> dict[str, Callable[[], Any]]:
    """Forward projection, and the gradients of what it is summed with."""
    import jax
    import jax.numpy as jnp

    import jaxct

    random = np.random.default_rng(0)
    setup = (geometry(scan), grid(scan))
    volume = jnp.asarray(random.normal(size=scan.shape), jnp.float32)
    weights = jnp.asarray(random.normal(size=scan.projection_shape), jnp.float32)

    def project(volume, setup):
        return jaxct.forward_project(volume, *setup, model=model)

    def loss(volume, setup):
        return jnp.vdot(project(volume, setup), weights)

    compiled = {
        "forward": jax.jit(project),
        "geometry": jax.jit(jax.grad(loss, 1)),
        "both": jax.jit(jax.grad(loss, (0, 1))),
        "tangent": jax.jit(lambda v, s: jax.jvp(lambda s: project(v, s), (s,), (jax.tree.map(jnp.ones_like, s),))[1]),
    }
    return {name: lambda f=f: jax.block_until_ready(f(volume, setup)) for name, f in compiled.items()}


def batch_programs(scan: Scan, model: str) -> dict[str, Callable[[], Any]]:
    """64 geometries, each moved a little, by one vmapped call and by 64; and their gradients in the shared volume."""
    import jax
    import jax.numpy as jnp

    import jaxct

    volume = jnp.asarray(np.random.default_rng(0).normal(size=scan.shape), jnp.float32)
    voxels = grid(scan)
    vectors = geometry(scan).to_vectors()
    moved = [jaxct.geometry.poses.move_object(vectors, translation=0.01 * i) for i in range(COUNT)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *moved)

    def project(setup):
        return jaxct.forward_project(volume, setup, voxels, model=model)

    def back(weights, setup):
        return jaxct.back_project(weights, setup, voxels, model=model)

    one, many = jax.jit(project), jax.jit(jax.vmap(project))
    back_one, back_many = jax.jit(back), jax.jit(jax.vmap(back, (None, 0)))
    weights = jnp.ones(scan.projection_shape, jnp.float32)
    return {
        "forward by vmap": lambda: jax.block_until_ready(many(stacked)),
        "forward, 64 calls": lambda: [jax.block_until_ready(one(g)) for g in moved],
        "back by vmap": lambda: jax.block_until_ready(back_many(weights, stacked)),
        "back, 64 calls": lambda: [jax.block_until_ready(back_one(weights, g)) for g in moved],
    }


def ratio(run: Callable[[], Any], unit: Callable[[], Any], rounds: int) -> dict[str, float]:
    """The median of ``run``'s time by that of the ``unit`` before and after it, and of both in seconds."""
    run(), unit()
    units, runs = [time_once(unit).seconds], []
    for _ in range(rounds):
        runs.append(time_once(run).seconds)
        units.append(time_once(unit).seconds)
    ratios = [2 * r / (before + after) for r, before, after in zip(runs, units[:-1], units[1:], strict=True)]
    return {"ratio": statistics.median(ratios), "seconds": statistics.median(runs), "unit": statistics.median(units)}


def measure_gradients(names: Sequence[str], models: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    records = []
    for name in names:
        for model in models:
            ready = programs(WORKLOADS[name].scan, model)
            for what in ("both", "geometry", "tangent"):
                few = rounds if what != "tangent" else 1
                records.append(
                    {"workload": name, "model": model, "what": what} | ratio(ready[what], ready["forward"], few)
                )
                print(line(records[-1]), flush=True)
    return records


def measure_batches(names: Sequence[str], models: Sequence[str], rounds: int) -> list[dict[str, Any]]:
    records = []
    for name in names:
        for factor in BATCHES.get(name, ()):
            scan = WORKLOADS[name].scan.scaled(factor)
            for model in models:
                ready = batch_programs(scan, model)
                for what in ("forward", "back"):
                    record = {"workload": f"{name} / {factor}", "model": model, "what": f"{what}, 64 geometries"}
                    records.append(record | ratio(ready[f"{what} by vmap"], ready[f"{what}, 64 calls"], rounds))
                    print(line(records[-1]), flush=True)
    return records


def line(record: dict[str, Any]) -> str:
    """A row of a Markdown table."""
    return "| {workload} | {model} | {what} | {ratio:.2f} | {seconds:.3f} | {unit:.3f} |".format(**record)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", default=GRADIENTS, choices=GRADIENTS)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--parts", nargs="+", default=("gradients", "batches"), choices=("gradients", "batches"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, metavar="RESULTS.json")
    options = parser.parse_args(arguments)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    print("| workload | model | what | ratio | s | unit, s |\n|---|---|---|---|---|---|")
    measures = {"gradients": measure_gradients, "batches": measure_batches}
    results = {
        "machine": describe_machine(),
        **{part: measures[part](options.workloads, options.models, options.rounds) for part in options.parts},
    }
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
