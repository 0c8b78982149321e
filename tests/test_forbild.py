"""The FORBILD head: in 3-D the published objects painted one over the other, in 2-D the published table."""

import jax
import numpy as np
import pytest

from jaxct.geometry import ParallelBeam, VolumeGrid
from jaxct.phantoms import forbild_head

SIN15, COS15 = np.sin(np.pi / 12), np.cos(np.pi / 12)
COS30 = np.cos(np.pi / 6)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def ellipsoid(center, semi_axes, axes=((1, 0, 0), (0, 1, 0), (0, 0, 1))):
    """Objects of the definition are functions of points (n, 3) in (x, y, z), in cm; the rows of ``axes`` are theirs."""
    return lambda p: ((((p - center) @ np.array(axes).T) / semi_axes) ** 2).sum(-1) <= 1


def elliptic_cylinder(center, semi_axes, length, axes):
    """Semi-axes along the first two axes, the length along the third."""

    def contains(p):
        q = (p - center) @ np.array(axes).T
        return (((q[:, :2] / semi_axes) ** 2).sum(-1) <= 1) & (np.abs(q[:, 2]) <= length / 2)

    return contains


def cone_along_y(center, radii, length):
    def contains(p):
        x, y, z = (p - center).T
        radius = radii[0] + (radii[1] - radii[0]) * (y / length + 0.5)
        return (np.abs(y) <= length / 2) & (x**2 + z**2 <= radius**2)

    return contains


def sinus_side(sign, a, b):
    x_axis = np.array((sign * 0.482963, 0.866025, 0.129410))
    z_axis = np.array((-sign * 0.258819, 0.0, 0.965926))
    return ellipsoid((sign * 1.9, 5.4, 0), (a * COS15, b * COS15, 3.0), (x_axis, np.cross(z_axis, x_axis), z_axis))


def plate(sign):
    axes = ((sign * COS30, 0.5, 0), (-0.5, sign * COS30, 0), (0, 0, 1))
    return elliptic_cylinder((sign * 4.3, 6.8, -1.0), (1.8, 0.24), 4.0, axes)


def right_ear(p):
    return ellipsoid((9.1, 0, 0), (4.2, 1.8, 1.8))(p) & (p[:, 0] < 9.1)


ANGLE = np.deg2rad(58.1)
OBJECTS = [  # in the order of the definition: later ones replace earlier ones
    (1.8, ellipsoid((0, 0, 0), (9.6, 12.0, 12.5))),
    (1.05, ellipsoid((0, 0, 0), (9.0, 11.4, 11.9))),
    (1.045, ellipsoid((0, -3.6, 0), (1.8, 3.6, 3.6))),
    (0.0, ellipsoid((0, 8.4, 0), (1.8, 3.0, 3.0))),
    (1.06, ellipsoid((-4.7, 4.3, 0.872), (2.0, 2.0, 2.0))),
    (1.06, ellipsoid((4.7, 4.3, 0.872), (2.0, 2.0, 2.0))),
    (1.0525, ellipsoid((-1.08, -9, 0), (0.4, 0.4, 0.4))),
    (1.0475, ellipsoid((1.08, -9, 0), (0.4, 0.4, 0.4))),
    (1.8, elliptic_cylinder((0, 3.6, 0), (1.2, 4.0), 0.482963, ((1, 0, 0), (0, 0.5, COS30), (0, -COS30, 0.5)))),
    (1.8, elliptic_cylinder((0, 9.6, 0), (0.525561, 2.0), 0.4, ((0, COS30, 0.5), (0, -0.5, COS30), (1, 0, 0)))),
    (1.8, sinus_side(-1, 1.206483, 0.420276)),
    (1.8, sinus_side(1, 1.2, 0.42)),
    (1.8, plate(-1)),
    (1.8, plate(1)),
    (
        1.055,
        ellipsoid(
            (6.393945, -6.393945, 0),
            (1.2, 0.42, 1.2),
            ((np.cos(ANGLE), np.sin(ANGLE), 0), (-np.sin(ANGLE), np.cos(ANGLE), 0), (0, 0, 1)),
        ),
    ),
    (1.8, cone_along_y((0, -11.15, -0.2), (0.5, 0.2), 1.5)),
    (1.8, cone_along_y((0, -11.15, 0.2), (0.5, 0.2), 1.5)),
    (1.8, right_ear),
]


def cavities():
    """317 centres, row by row: number of cavities in the rows at |y| = 0 .. 3 of the layers at |z| = 0 .. 3."""
    counts, spacing = [[9, 8, 8, 6], [8, 8, 7, 6], [8, 7, 7, 5], [6, 6, 5, 4]], 0.34641016151377546
    rows = [(y, z) for z in range(-3, 4) for y in range(-3, 4)]
    first = {(y, z): 8.8 if (y + z) % 2 == 0 else 8.6 for y, z in rows}
    return np.array(
        [(first[y, z] - 0.4 * n, y * spacing, z * spacing) for y, z in rows for n in range(counts[abs(z)][abs(y)])]
    )


def painted(points, ear=True):
    value = np.zeros(len(points))
    for v, contains in OBJECTS[: None if ear else -1]:
        value[contains(points)] = v
    if ear:
        for center in cavities():
            value[ellipsoid(center, 0.15)(points)] = 0.0
    return value


def sample(n, seed):
    """Random points everywhere, and denser around the small objects."""
    rng = np.random.default_rng(seed)
    boxes = [
        ((0, 0, 0), (10, 12.5, 13)),
        ((0, 7, 0), (6, 5, 4)),
        ((7.5, 0, 0), (3, 1.8, 1.8)),
        ((0, -11, 0), (1, 1.2, 1)),
        ((0, -9, 0), (1.6, 0.6, 0.6)),
    ]
    return np.concatenate([np.array(c) + (2 * rng.random((n, 3)) - 1) * half for c, half in boxes])


@pytest.mark.parametrize("ear", [True, False])
def test_the_3d_head_is_its_objects_painted_in_order(ear, x64):
    points = sample(6000, seed=ear)
    expected = painted(points, ear)
    assert {1.8, 1.05, 1.045, 0.0, 1.06, 1.0525, 1.0475, 1.055} <= set(expected)
    found = np.asarray(forbild_head(3, right_ear=ear)(10.0 * points[:, ::-1]))
    # The definition prints its axes and angles with six digits: points on a surface may fall on the other side of it.
    different = np.abs(found - expected) > 1e-9
    assert different.sum() <= 2


def test_there_are_as_many_cavities_as_published():
    assert len(cavities()) == 317
    assert forbild_head(3).shapes[-1].num_shapes == 317
    assert forbild_head(2).shapes[-1].num_shapes == 53


@pytest.mark.parametrize(
    ("point", "value"),
    [
        ((0.0, 11.7), 1.8),
        ((0.0, 12.1), 0.0),
        ((0.0, 1.0), 1.05),
        ((0.0, -3.6), 1.045),
        ((0.0, 7.0), 0.0),
        ((0.0, 9.6), 1.8),
        ((0.0, 3.6), 1.8),
        ((4.7, 4.3), 1.06),
        ((-4.7, 4.3), 1.06),
        ((-1.08, -9.0), 1.0525),
        ((1.08, -9.0), 1.0475),
        ((6.39395, -6.39395), 1.055),
        ((1.9, 5.4), 1.8),
        ((-4.3, 6.8), 1.8),
        ((0.0, -11.0), 1.8),
        ((0.0, -10.6), 1.8),
        ((0.0, -10.3), 1.05),
        ((6.0, 0.0), 0.0),
        ((6.2, 0.0), 1.8),
        ((9.3, 0.0), 1.8),
        ((-8.0, 0.0), 1.05),
    ],
)
def test_values_of_the_2d_head(point, value):
    found = forbild_head(2, scale=0.5)(10.0 * np.array(point)[::-1])
    assert float(found) == pytest.approx(0.5 * value, abs=1e-6)


def test_the_2d_head_is_the_central_slice(x64):
    points = sample(10000, seed=3)
    points[:, 2] = 0.0
    flat = np.asarray(forbild_head(2)(10.0 * points[:, 1::-1]))
    solid = painted(points)
    # The table replaces a few sections, a quarter of a millimetre at most, by ellipses.
    assert np.mean(np.abs(flat - solid) > 1e-9) < 4e-3


def test_left_ear_of_the_2d_head(x64):
    bare, dotted = forbild_head(2), forbild_head(2, left_ear=True)
    assert dotted.shapes[-1].num_shapes == 80
    dots = np.array([(-7.0, -1.0), (-7.0, -1.0 + 8 * 0.0357), (-6.76, 0.44), (-6.76, 0.44 + 8 * 0.025), (-6.84, -0.52)])
    np.testing.assert_allclose(bare(10.0 * dots[:, ::-1]), 1.05)
    np.testing.assert_allclose(dotted(10.0 * dots[:, ::-1]), 1.8)
    gaps = dots + np.array((0.0, 0.03))
    np.testing.assert_allclose(dotted(10.0 * gaps[:, ::-1]), 1.05)


def test_projections_and_raster_of_the_head_hold_the_same_mass():
    head = forbild_head(2, scale=0.02)
    sinogram = head.project(ParallelBeam([0.0, 0.8], detector_shape=(260,), pixel_size=1.0), oversample=4)
    image = head.rasterize(VolumeGrid((250, 200), 1.0))
    assert image.min() > -1e-6
    assert image.max() == pytest.approx(0.036, rel=1e-5)
    np.testing.assert_allclose(sinogram.sum(1), image.sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: forbild_head(4), ValueError, "ndim"),
        (lambda: forbild_head(3, left_ear=True), ValueError, "left_ear"),
        (lambda: forbild_head(scale=np.nan), ValueError, "scale"),
    ],
)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=name):
        call()
