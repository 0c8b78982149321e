"""How often a scan measures each line, and so what each of its rays counts."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxct import weights
from jaxct.geometry import ConeBeam, FanBeam, ParallelBeam
from jaxct.weights import TURN, CircularGeometry

Redundancy = Literal["complete", "short scan", "offset detector", "offset detector if displaced"]

# A detector whose middle lies further than this fraction of its width from the axis is taken for a half-fan set-up,
# nearer ones for a centred detector with a little misalignment.
_DISPLACED = 0.05


def view_weights(geometry: CircularGeometry, redundancy: Redundancy) -> jax.Array:
    """Quadrature, redundancy and scale of every view and column: (views, cols), or (views, 1) if columns are alike."""
    if redundancy == "offset detector if displaced":
        complete, offset = (view_weights(geometry, r) for r in ("complete", "offset detector"))
        return jnp.where(_is_half_fan(geometry), offset, complete)
    if isinstance(geometry, ParallelBeam):
        return _parallel_weights(geometry, redundancy)
    demagnification = geometry.source_origin_distance / geometry.source_detector_distance
    step = weights.angular_weights(geometry.angles)[:, None] * demagnification[..., None]
    if redundancy == "complete":
        return step / 2
    if redundancy == "short scan":
        return step * weights.short_scan_weights(geometry.angles, weights.fan_angles(geometry))
    return step * weights.offset_detector_weights(weights.fan_angles(geometry))


def _parallel_weights(geometry: ParallelBeam, redundancy: Redundancy) -> jax.Array:
    if redundancy == "offset detector":
        share = weights.offset_detector_weights(weights.column_positions(geometry))
        return weights.angular_weights(geometry.angles)[:, None] * share
    # Lines come back after half a turn: views of the same direction share its weight.
    return weights.angular_weights(geometry.angles, TURN / 2)[:, None]


def choose_redundancy(
    geometry: CircularGeometry, short_scan: bool, limited_angle: bool, offset_detector: bool | None
) -> Redundancy:
    """Which rays measure the same line, from the caller's flags and, where it is concrete, the geometry."""
    parallel = isinstance(geometry, ParallelBeam)
    if parallel and short_scan:
        raise ValueError("short_scan=True is for fan and cone beams: parallel rays are complete after half a turn")
    if offset_detector and (short_scan or limited_angle):
        raise ValueError("offset_detector=True needs a full turn: it excludes short_scan=True and limited_angle=True")
    if offset_detector:
        return "offset detector"
    if short_scan or (limited_angle and not parallel):
        return "short scan"
    if offset_detector is False or limited_angle:
        return "complete"
    if not is_concrete(geometry):
        return "offset detector if displaced"
    with jax.ensure_compile_time_eval():
        return "offset detector" if _is_half_fan(geometry) else "complete"


def _is_half_fan(geometry: CircularGeometry) -> jax.Array:
    """A displaced detector that sees every line in a full turn, though not twice."""
    positions = weights.column_positions(geometry)
    width = geometry.detector_shape[-1] * geometry.pixel_size[-1]
    displaced = jnp.abs(jnp.mean(positions)) > _DISPLACED * width
    return displaced & ~weights.is_open_arc(geometry.angles)


def is_concrete(geometry: CircularGeometry) -> bool:
    """Whether the geometry's values are known now: none of its leaves is traced."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(geometry))


def check_coverage(geometry: CircularGeometry, redundancy: Redundancy, limited_angle: bool) -> None:
    """Refuse a concrete geometry that leaves lines unmeasured, and say which argument is for it."""
    with jax.ensure_compile_time_eval():
        if redundancy == "offset detector":
            _check_offset(geometry)
        elif limited_angle:
            return
        elif isinstance(geometry, ParallelBeam):
            _check_half_turn(geometry)
        elif redundancy == "short scan":
            _check_short_scan(geometry)
        else:
            _check_full_turn(geometry)


def _check_half_turn(geometry: ParallelBeam) -> None:
    if weights.is_open_arc(geometry.angles, TURN / 2):
        raise ValueError("angles do not cover half a turn: pass limited_angle=True to reconstruct from what there is")


def _check_full_turn(geometry: FanBeam | ConeBeam) -> None:
    if weights.is_open_arc(geometry.angles):
        raise ValueError(
            f"angles cover only {float(weights.scan_arc(geometry.angles)[1]):.4g} rad, not a full turn: pass "
            "short_scan=True (pi + the fan angle or more), or limited_angle=True for less"
        )


def _check_short_scan(geometry: FanBeam | ConeBeam) -> None:
    arc = float(weights.scan_arc(geometry.angles)[1])
    needed = np.pi + 2 * float(jnp.max(jnp.abs(weights.fan_angles(geometry))))
    one_step = arc / geometry.num_views
    if arc < needed - one_step:
        raise ValueError(
            f"angles cover {arc:.4g} rad, less than the pi + fan angle = {needed:.4g} rad of a short scan: "
            "pass limited_angle=True to reconstruct from what there is"
        )


def _check_offset(geometry: CircularGeometry) -> None:
    if weights.is_open_arc(geometry.angles):
        raise ValueError("offset_detector=True needs a full turn, but angles leave a gap")
    positions = weights.column_positions(geometry)
    low, high = float(jnp.max(positions[..., 0])), float(jnp.min(positions[..., -1]))
    if not low < 0 < high:
        raise ValueError(
            f"detector_offset moves the detector off the rotation axis (columns from {low:g} to {high:g} mm)"
        )
