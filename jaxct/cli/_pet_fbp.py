"""Filtered back projection of PET sinograms: single-slice rebinning, bins of one size, and then as of any parallel
beam."""

import numpy as np

from jaxct import io
from jaxct.cli._pet_scan import Emission, ring_layout
from jaxct.geometry import ParallelBeam
from jaxct.pet import arc_correction, single_slice_rebinning
from jaxct.pet.sinograms import SinogramLayout


def parallel_sinograms(
    scan: Emission, factors: tuple[np.ndarray, ...], background: np.ndarray | None
) -> tuple[np.ndarray, ParallelBeam]:
    """Line integrals of the activity, (views, planes, bins), and their beam.

    Counts less the background, and what lines are worth, are summed over each slice's planes, and then divided.
    """
    if scan.sensitivity is not None or scan.lors.tof is not None:
        raise ValueError("--method: fbp is for sinograms without time of flight")
    counts = scan.data if background is None else scan.data - background
    worth = np.ones(scan.data.shape, np.float32)
    for factor in factors:
        worth = worth * factor
    header, layout = scan.header, scan.layout
    if layout is None and header is not None and header.arc_corrected:
        sums = [_by_slice(values, header) for values in (counts, worth)]
        return _ratio(*sums), _header_beam(header, sums[0].shape[1])
    if layout is None:
        assert header is not None, "events were refused"
        layout = ring_layout(header)
        planes = layout.planes_of_segments(header.min_ring_difference, header.max_ring_difference)
        counts, worth = (values[:, np.argsort(planes)] for values in (counts, worth))
    rebin = single_slice_rebinning(layout, mean=False)
    ratio = _ratio(*(np.asarray(rebin(values)) for values in (counts, worth)))
    return _equal_bins(ratio, layout)


def _equal_bins(ratio: np.ndarray, layout: SinogramLayout) -> tuple[np.ndarray, ParallelBeam]:
    flat = SinogramLayout(
        layout.scanner, layout.num_bins, 2 * layout.max_ring_difference + 1, layout.max_ring_difference, layout.mashing
    )
    defaults = layout.scanner.sinogram_defaults
    middle = np.diff(np.sort(layout.distances, axis=1), axis=1)[:, layout.num_bins // 2 - 1].mean()
    size = float(middle) if defaults is None or defaults.bin_size is None else defaults.bin_size
    correct = arc_correction(flat, size)
    rings = layout.scanner.rings
    beam = ParallelBeam(
        layout.angles,
        detector_shape=correct.out_shape[1:],
        pixel_size=(float(rings[-1] - rings[0]) / max(2 * (len(rings) - 1), 1) or size, size),
    )
    return np.asarray(correct(ratio)), beam


def _by_slice(values: np.ndarray, header: io.SinogramHeader) -> np.ndarray:
    """Planes of any tilt summed into slices half a ring apart."""
    assert header.ring_spacing
    middle = header.planes().mean(1)
    number = np.rint((middle - middle.min()) / (header.ring_spacing / 2)).astype(int)
    sums = np.zeros((values.shape[0], number.max() + 1, values.shape[2]), np.float32)
    for plane, slice_ in enumerate(number):
        sums[:, slice_] += values[:, plane]
    return sums


def _header_beam(header: io.SinogramHeader, planes: int) -> ParallelBeam:
    assert header.ring_spacing
    assert header.bin_size
    offset = ((header.num_bins - 1) / 2 - header.num_bins // 2) * header.bin_size
    return ParallelBeam(
        header.angles(),
        detector_shape=(planes, header.num_bins),
        pixel_size=(header.ring_spacing / 2, header.bin_size),
        detector_offset=(0.0, offset),
    )


def _ratio(counts: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Bins that nothing can be counted in, as in the gaps between blocks, are interpolated between their neighbours."""
    live = worth > 0
    ratio = np.where(live, counts / np.where(live, worth, 1), 0).astype(np.float32)
    if live.all():
        return ratio
    rows, flat_live = ratio.reshape(-1, ratio.shape[-1]), live.reshape(-1, ratio.shape[-1])
    bins = np.arange(rows.shape[1])
    for row, known in zip(rows, flat_live, strict=True):
        if known.any() and not known.all():
            row[~known] = np.interp(bins[~known], bins[known], row[known], left=0, right=0)
    return ratio
