"""How many lines of response a second: random ones as in list mode, and the sinogram of a whole scanner.

``python benchmarks/pet.py --help``. One process; wall-clock seconds of compiled calls, from data on the device to data
on the device, the first call left out. Beside them stand the processor seconds, divided by the cores: what the call
would take if nobody else wanted them. W6 has a peer that does not install from a package index: its rates, of another
machine of two cores, are only quoted.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _common import available_cores, describe_machine, load_average

# Of libparallelproj 2.0 on two cores of an AMD EPYC (Zen 3), Joseph's model: lines a second, forward and back.
QUOTED = {"forward": 3.4e6, "back": 1.8e6}
MODELS = ("joseph", "siddon", "multi_ray", "distance_driven")


def random_lines(count: int) -> tuple[Any, Any, Any]:
    """W6: end points uniform on a cylinder of radius 300 mm, 128 mm long; a ball in 128 x 128 x 64 voxels of 2 mm."""
    import jaxct

    rng = np.random.default_rng(0)
    angle, z = rng.uniform(0, 2 * np.pi, (count, 2)), rng.uniform(-64, 64, (count, 2))
    ends = np.stack([z, 300 * np.sin(angle), 300 * np.cos(angle)], -1).astype(np.float32)
    grid = jaxct.VolumeGrid((64, 128, 128), 2.0)
    lors = jaxct.pet.LORs(ends[:, 0], ends[:, 1], widths=(4.0, 4.0))
    return lors, grid, jaxct.phantoms.ball(40.0).rasterize(grid)


def discovery_690(every: int, tof: bool) -> tuple[Any, Any, Any]:
    """All planes of every so many of its views, 49 x 180 x 180 voxels."""
    import jax.numpy as jnp

    import jaxct

    scanner = jaxct.pet.scanners.ge_discovery_690()
    grid = scanner.grid()
    return scanner.sinogram(tof=tof)[::every], grid, jnp.ones(grid.shape, jnp.float32)


def measure(run: Callable[[], Any], lines: int, repeats: int) -> dict[str, Any]:
    """Seconds of each run, and the rates that the medians make."""
    run()
    seconds, busy = [], []
    for _ in range(repeats):
        start, own = time.perf_counter(), time.process_time()
        run()
        seconds.append(time.perf_counter() - start)
        busy.append((time.process_time() - own) / available_cores())
    wall, alone = statistics.median(seconds), statistics.median(busy)
    return {
        "seconds": seconds,
        "processor_seconds": busy,
        "best_s": min(seconds),
        "median_s": wall,
        "lines_per_s": lines / wall,
        "lines_per_s_alone": lines / alone,
    }


def cases(size: str) -> dict[str, tuple[Any, Any, Any]]:
    """Geometry, grid and volume by title."""
    small = size == "small"
    return {
        "W6, random lines": random_lines(20_000 if small else 4_000_000),
        "GE Discovery 690, sinogram": discovery_690(288 if small else 9, tof=False),
        "GE Discovery 690, sinogram with time of flight": discovery_690(288 if small else 72, tof=True),
    }


def run(size: str, models: Sequence[str], repeats: int, output: Path | None) -> dict[str, Any]:
    """Every case and model; prints a line for each, and writes after each."""
    import jax

    import jaxct

    results: dict[str, Any] = {"machine": describe_machine(), "size": size, "quoted": QUOTED, "results": []}
    forward, back = jax.jit(lambda A, x: A(x)), jax.jit(lambda A, y: A.T(y))  # noqa: N803
    for title, (lors, grid, volume) in cases(size).items():
        for model in models:
            A = jaxct.Projector(lors, grid, model=model)  # noqa: N806
            data = forward(A, volume)
            lines = int(np.prod(data.shape)) // (lors.tof.num_bins if lors.tof else 1)
            runs = {"forward": (forward, volume), "back": (back, jax.numpy.ones_like(data))}
            for direction, (function, argument) in runs.items():
                call = lambda f=function, a=argument, A=A: jax.block_until_ready(f(A, a))  # noqa: E731, N803
                record = {"case": title, "model": model, "direction": direction, "lines": lines}
                results["results"].append(record | measure(call, lines, repeats))
                print(_line(results["results"][-1]), flush=True)
                _save(results, output)
    results["machine"]["load_average_after"] = load_average()
    _save(results, output)
    return results


def _line(record: dict[str, Any]) -> str:
    rates = f"{record['lines_per_s'] / 1e6:7.2f} M/s, alone {record['lines_per_s_alone'] / 1e6:7.2f} M/s"
    quoted = QUOTED[record["direction"]]
    peer = ""
    if record["case"].startswith("W6") and record["model"] == "joseph":
        peer = (
            f" ({record['lines_per_s'] / quoted:.1f} and {record['lines_per_s_alone'] / quoted:.1f} x the rate quoted)"
        )
    return f"{record['case']:48}{record['model']:16}{record['direction']:8}{record['median_s']:8.3f} s {rates}{peer}"


def _save(results: dict[str, Any], output: Path | None) -> None:
    if output is not None:
        output.write_text(json.dumps(results, indent=1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and write the results."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, metavar="RESULTS.json")
    options = parser.parse_args(arguments)
    run(options.size, options.models, options.repeats, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
