"""The efficiencies of a PETSIRD file: of detection bins, and of pairs of modules that share them by symmetry."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Efficiencies:
    """Efficiencies of coincidences: calibration x first detection bin x second x pair of bins in their modules.

    Attributes:
        calibration: the factor of the whole scanner.
        bins: the efficiency of each detection bin, by type of module; empty where all are 1.
        pairs: for types (first, second) the row of ``values`` for each pair of modules, -1 where they are not in
            coincidence, and ``values`` (symmetry groups, bins of a first module, bins of a second); empty where all
            are 1.
        bins_per_module: the number of detection bins in a module of each type.
    """

    calibration: float
    bins: tuple[np.ndarray, ...]
    pairs: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]
    bins_per_module: tuple[int, ...]

    def __call__(self, kinds: tuple[int, int], detections: np.ndarray) -> np.ndarray:
        """The efficiency of coincidences ``(events, 2)`` of detection bins in modules of these types, ``(events,)``."""
        result = np.full(len(detections), self.calibration)
        first, second = detections.T
        if self.bins:
            result = result * self.bins[kinds[0]][first] * self.bins[kinds[1]][second]
        if self.pairs:
            groups, values = self.pairs[kinds]
            first_module, first_bin = np.divmod(first, self.bins_per_module[kinds[0]])
            second_module, second_bin = np.divmod(second, self.bins_per_module[kinds[1]])
            group = groups[first_module, second_module]
            result = result * np.where(group < 0, 0.0, values[np.maximum(group, 0), first_bin, second_bin])
        return result


def read_efficiencies(scanner: Any) -> Efficiencies | None:
    """The efficiencies of ``petsird``'s scanner; None where it has none.

    Raises:
        ValueError: where their numbers do not fit the scanner's modules.
    """
    told = scanner.detection_efficiencies
    if told is None:
        return None
    modules = [len(r.transforms) for r in scanner.scanner_geometry.replicated_modules]
    per_module = tuple(
        len(r.object.detecting_elements.transforms) * (len(e.edges) - 1)
        for r, e in zip(scanner.scanner_geometry.replicated_modules, scanner.event_energy_bin_edges, strict=True)
    )
    bins = tuple(np.asarray(b, np.float64) for b in told.detection_bin_efficiencies or ())
    for kind, values in enumerate(bins):
        if len(values) != modules[kind] * per_module[kind]:
            raise ValueError(
                f"detection_bin_efficiencies: {len(values)} for the {modules[kind] * per_module[kind]} detection bins "
                f"of modules of type {kind}"
            )
    if not bins and not told.module_pair_efficiencies_vectors and not told.calibration_factor:
        return None
    pairs = {}
    for first, row in enumerate(told.module_pair_efficiencies_vectors or ()):
        for second, vector in enumerate(row):
            groups = _groups(told.module_pair_sgidlut[first][second], (modules[first], modules[second]))
            values = np.zeros((max(int(groups.max()) + 1, 1), per_module[first], per_module[second]))
            for entry in vector:
                if entry.sgid < len(values):
                    values[entry.sgid] = entry.values
            pairs[first, second] = groups, values
    return Efficiencies(float(told.calibration_factor), bins, pairs, per_module)


def _groups(table: list[list[int]], shape: tuple[int, int]) -> np.ndarray:
    """The symmetry group of each pair of modules; -1 where the table, which may be triangular, has none."""
    groups = np.full(shape, -1)
    for first, row in enumerate(table):
        groups[first, : len(row)] = row
    return groups
