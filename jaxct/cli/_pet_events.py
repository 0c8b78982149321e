"""Single events of PETSIRD files as what can be reconstructed."""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxct import io
from jaxct.cli._pet_scan import Emission
from jaxct.geometry import VolumeGrid
from jaxct.geometry.lors import TOF, ListMode, LORs
from jaxct.pet.scanners import Scanner
from jaxct.projection import Projector

# Of scanners with more pairs of crystals than this the sensitivity is a mean over as many drawn at random.
MOST_PAIRS = 4_000_000
_CHUNK = 1 << 17


def open_petsird(path: Path) -> Emission:
    """The prompts of a file whose modules share one time of flight."""
    scan = io.read_petsird(path)
    found, events = scan.scanner, scan.events
    tof = _tof(path, found)
    # Of one module no sensitivity is known, nor is it a line that a scanner takes.
    prompts = events.is_prompt & (found.module[events.start] != found.module[events.end])
    if not prompts.any():
        raise ValueError(f"{path}: no prompts in it")
    start, end = found.crystals[events.start[prompts]], found.crystals[events.end[prompts]]
    lors = LORs(start, end) if tof is None else ListMode(start, end, events.tof_bin[prompts], tof)
    scanner = Scanner.from_crystals(found.crystals, name=found.name or "PETSIRD")
    notes = [f"{np.count_nonzero(prompts)} prompts, {np.count_nonzero(~events.is_prompt)} delayeds"]
    if scan.movements:
        notes.append(f"{len(scan.movements)} movements of the bed or the modules are not applied")
    pairs = len(found.crystals) * (len(found.crystals) - 1) // 2
    if pairs > MOST_PAIRS:
        notes.append(f"the sensitivity is estimated from {MOST_PAIRS} of the {pairs} pairs of crystals")
    return Emission(
        scanner.name,
        np.ones(len(start), np.float32),
        lors,
        scanner.fit_grid(),
        factors=() if found.efficiencies is None else (events.efficiency[prompts],),
        scanner=scanner,
        sensitivity=lambda grid, model: _sensitivity(found, tof, grid, model),
        notes=tuple(notes),
    )


def _tof(path: Path, scanner: io.PetsirdScanner) -> TOF | None:
    found = {scanner.tof(*pair) for pair in scanner.tof_edges}
    if len(found) > 1:
        raise ValueError(f"{path}: the types of modules differ in time of flight: {found}; only one is reconstructed")
    (tof,) = found
    return None if tof is None else TOF(**tof._asdict())


def _sensitivity(scanner: io.PetsirdScanner, tof: TOF | None, grid: VolumeGrid, model: str) -> jax.Array:
    """``sum_i e_i a_i`` over all pairs i of crystals of different modules and all TOF bins, e being efficiencies."""
    total = jnp.zeros(grid.shape)
    for first, second, worth in _pairs(scanner):
        efficiency = worth * _efficiencies(scanner, first, second)
        lors = LORs(scanner.crystals[first], scanner.crystals[second], tof=tof)
        shape = (-1,) if tof is None else (-1, 1)
        values = jnp.broadcast_to(jnp.asarray(efficiency, jnp.float32).reshape(shape), lors.projection_shape)
        total = total + Projector(lors, grid, model=model).T(values)
    return total


def _pairs(scanner: io.PetsirdScanner) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """The larger and the smaller number of the crystals of each pair, a part at a time, and how many it stands for."""
    n = len(scanner.crystals)
    count = n * (n - 1) // 2
    drawn = count > MOST_PAIRS
    numbers = np.random.default_rng(0).integers(count, size=MOST_PAIRS) if drawn else np.arange(count)
    for low in range(0, len(numbers), _CHUNK):
        number = numbers[low : low + _CHUNK]
        # Pairs (1, 0), (2, 0), (2, 1), (3, 0) ... are numbered in this order.
        first = np.floor((1 + np.sqrt(1 + 8 * number.astype(np.float64))) / 2).astype(np.int64)
        second = number - first * (first - 1) // 2
        apart = scanner.module[first] != scanner.module[second]
        if apart.any():
            yield first[apart], second[apart], count / len(numbers)


def _efficiencies(scanner: io.PetsirdScanner, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of pairs of crystals, summed over their energy bins; 1 where the file has none."""
    if scanner.efficiencies is None:
        return np.ones(len(first))
    result = np.zeros(len(first))
    types = scanner.module_type
    begins = np.searchsorted(types, np.arange(types.max() + 1))
    for kind_a in range(len(begins)):
        for kind_b in range(kind_a + 1):
            chosen = np.flatnonzero((types[first] == kind_a) & (types[second] == kind_b))
            bins_a, bins_b = (len(scanner.energy_edges[kind]) - 1 for kind in (kind_a, kind_b))
            a, b = first[chosen] - begins[kind_a], second[chosen] - begins[kind_b]
            for energy_a in range(bins_a):
                for energy_b in range(bins_b):
                    detections = np.stack([a * bins_a + energy_a, b * bins_b + energy_b], axis=1)
                    result[chosen] += scanner.efficiencies((kind_a, kind_b), detections)
    return result
