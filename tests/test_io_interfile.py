"""Interfile sinograms and volumes in STIR's dialect: read as the header says, written so that they come back, refused
by key and file."""

import dataclasses

import numpy as np
import pytest

from jaxct import ParallelBeam, Projector, VolumeGrid
from jaxct.geometry.lors import SinogramLORs
from jaxct.io import SinogramHeader, load_volume, open_scan, open_sinograms, pet_file_kind, save_sinograms, save_volume
from jaxct.io import volume as volume_module
from jaxct.reconstruct import mlem
from tests.data import data_path

VIEWS, BINS, SEGMENTS = 4, 5, (3, 2, 2)
LIGHT_MM_PER_PS = 0.299792458


def sinogram_header(**changes):
    """Three rings, segments 0, -1, +1 in this order, no arc correction."""
    values = {
        "name of data file": "x.s",
        "originating system": "Some Scanner",
        "!type of data": "PET",
        "imagedata byte order": "LITTLEENDIAN",
        "!PET data type": "Emission",
        "applied corrections": "{None}",
        "!number format": "float",
        "!number of bytes per pixel": 4,
        "number of dimensions": 4,
        "matrix axis label [4]": "segment",
        "!matrix size [4]": 3,
        "matrix axis label [3]": "view",
        "!matrix size [3]": VIEWS,
        "matrix axis label [2]": "axial coordinate",
        "!matrix size [2]": "{ 3,2,2}",
        "matrix axis label [1]": "tangential coordinate",
        "!matrix size [1]": BINS,
        "minimum ring difference per segment": "{ 0,-1,1}",
        "maximum ring difference per segment": "{ 0,-1,1}",
        "Scanner parameters": "",
        "Number of rings": 3,
        "Number of detectors per ring": 2 * VIEWS,
        "Inner ring diameter (cm)": 60,
        "Average depth of interaction (cm)": 0.7,
        "Distance between rings (cm)": 0.5,
        "Default bin size (cm)": 0.3,
        "View offset (degrees)": 0,
        "effective central bin size (cm)": 0.3,
        "number of time frames": 1,
        "image duration (sec)[1]": 12.5,
        **changes,
    }
    lines = [f"{key} := {value}" for key, value in values.items() if value is not None]
    return "\n".join(["!INTERFILE  :=", "; a comment := that is none of the keys", *lines, "!END OF INTERFILE :="])


def write(folder, stored, **changes):
    (folder / "x.hs").write_text(sinogram_header(**changes))
    stored.tofile(folder / "x.s")
    return folder / "x.hs"


def segments(dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 100, (VIEWS, planes, BINS)).astype(dtype) for planes in SEGMENTS]


def in_file(parts):
    """The bytes of a data file, in the parts' own byte order."""
    return np.frombuffer(b"".join(p.tobytes() for p in parts), np.uint8)


# ---- the data


def test_projections_are_views_planes_bins_in_the_order_of_the_segments(tmp_path):
    parts = segments()
    projections, header = open_sinograms(write(tmp_path, in_file(parts)))
    assert projections.shape == header.shape == (VIEWS, sum(SEGMENTS), BINS)
    np.testing.assert_array_equal(projections, np.concatenate(parts, axis=1))
    assert np.asarray(projections).dtype == projections.dtype == np.float32


def test_planes_may_come_before_views(tmp_path):
    parts = segments()
    changes = {
        "matrix axis label [3]": "axial coordinate",
        "!matrix size [3]": "{3,2,2}",
        "matrix axis label [2]": "view",
        "!matrix size [2]": VIEWS,
    }
    projections, _ = open_sinograms(write(tmp_path, in_file([p.swapaxes(0, 1) for p in parts]), **changes))
    np.testing.assert_array_equal(projections, np.concatenate(parts, axis=1))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("f4", "float"),
        ("f8", "float"),
        ("i2", "signed integer"),
        ("u1", "unsigned integer"),
        ("u4", "UNSIGNED INTEGER"),
    ],
)
def test_numbers_of_each_format_and_byte_order(tmp_path, order, kind, name):
    parts = segments(f"{order}{kind}")
    changes = {
        "imagedata byte order": "BIGENDIAN" if order == ">" else "LITTLEENDIAN",
        "!number format": name,
        "!number of bytes per pixel": kind[1:],
    }
    projections, _ = open_sinograms(write(tmp_path, in_file(parts), **changes))
    np.testing.assert_array_equal(projections, np.concatenate(parts, axis=1))
    assert projections.dtype == np.asarray(projections).dtype == np.dtype(kind)


def test_byte_order_is_big_endian_where_the_header_is_silent(tmp_path):
    parts = segments(">f4")
    projections, _ = open_sinograms(write(tmp_path, in_file(parts), **{"imagedata byte order": None}))
    np.testing.assert_array_equal(projections, np.concatenate(parts, axis=1))


@pytest.mark.parametrize("key", ["data offset in bytes[1]", "data offset in bytes"])
def test_data_begin_at_the_offset(tmp_path, key):
    parts = segments()
    stored = np.frombuffer(b"head" * 3 + in_file(parts).tobytes(), np.uint8)
    projections, _ = open_sinograms(write(tmp_path, stored, **{key: 12}))
    np.testing.assert_array_equal(projections, np.concatenate(parts, axis=1))


@pytest.mark.parametrize(
    ("key", "value", "factors"),
    [
        ("image scaling factor[1]", "0.5", (0.5, 0.5, 0.5)),
        ("image scaling factor[1]", "{0.5, 2, 1}", (0.5, 2, 1)),
        ("quantification units", "4", (4, 4, 4)),
    ],
)
def test_scaling_factors_turn_integers_into_float32(tmp_path, key, value, factors):
    parts = segments("<i2")
    changes = {"!number format": "signed integer", "!number of bytes per pixel": 2, key: value}
    projections, _ = open_sinograms(write(tmp_path, in_file(parts), **changes))
    assert projections.dtype == np.asarray(projections).dtype == np.float32
    expected = [p.astype(np.float32) * np.float32(f) for p, f in zip(parts, factors, strict=True)]
    np.testing.assert_array_equal(projections, np.concatenate(expected, axis=1))


@pytest.mark.parametrize(
    "key", [1, -1, slice(1, 3), slice(None, None, -1), [3, 0], (0, 2), (slice(2), slice(1, 4), -1), Ellipsis, (..., 0)]
)
def test_some_views_are_read_by_themselves(tmp_path, key):
    parts = segments()
    projections, _ = open_sinograms(write(tmp_path, in_file(parts)))
    np.testing.assert_array_equal(projections[key], np.concatenate(parts, axis=1)[key])


def test_data_that_are_cut_are_found_before_they_are_read(tmp_path):
    path = write(tmp_path, in_file(segments())[:-1])
    with pytest.raises(ValueError, match=r"x\.s: 559 bytes, but x\.hs promises 560"):
        open_sinograms(path)


# ---- time of flight

TOF = {
    "number of dimensions": 5,
    "matrix axis label [5]": "timing positions",
    "!matrix size [5]": 3,
    "TOF mashing factor": 5,
    "Maximum number of (unmashed) TOF time bins": 15,
    "Size of unmashed TOF time bins (ps)": 40,
    "TOF timing resolution (ps)": 400,
}


def test_tof_bins_are_the_last_axis_and_run_from_start_to_end(tmp_path):
    """STIR stores timing positions outermost, ascending towards the line's start."""
    frames = [[t + 10 * p for p in segments()] for t in range(3)]
    projections, header = open_sinograms(write(tmp_path, in_file([p for f in frames for p in f]), **TOF))
    assert projections.shape == header.shape == (VIEWS, sum(SEGMENTS), BINS, 3)
    expected = np.stack([np.concatenate(f, axis=1) for f in frames[::-1]], axis=-1)
    np.testing.assert_array_equal(projections, expected)
    np.testing.assert_array_equal(projections[1:3], expected[1:3])


def test_tof_times_are_lengths_along_the_line(tmp_path):
    _, header = open_sinograms(write(tmp_path, np.zeros(3 * 140, np.float32), **TOF))
    assert header.num_tof_bins == 3
    assert header.tof_bin_width == pytest.approx(5 * 40 * LIGHT_MM_PER_PS / 2)
    assert header.tof_sigma == pytest.approx(400 / 2.354820045 * LIGHT_MM_PER_PS / 2)


# ---- what the header says


def test_header_values_have_their_units(tmp_path):
    _, header = open_sinograms(write(tmp_path, in_file(segments()), **{"View offset (degrees)": 90}))
    assert header.planes_per_segment == SEGMENTS
    assert (header.num_rings, header.num_detectors) == (3, 8)
    assert header.ring_radius == pytest.approx(307)
    assert header.ring_spacing == pytest.approx(5)
    assert header.bin_size == pytest.approx(3)
    assert header.view_offset == pytest.approx(np.pi / 2)
    assert (header.duration, header.arc_corrected, header.scanner) == (12.5, False, "Some Scanner")
    assert header.keys["Inner ring diameter (cm)"] == "60"
    np.testing.assert_array_equal(header.ring_differences(), [[0, 0]] * 3 + [[-1, -1]] * 2 + [[1, 1]] * 2)


def test_planes_join_the_rings_of_their_difference():
    header = SinogramHeader(4, 5, SEGMENTS, (0, -1, 1), (0, -1, 1), num_rings=3, ring_spacing=5.0)
    rings = [[0, 0], [1, 1], [2, 2], [1, 0], [2, 1], [0, 1], [1, 2]]
    np.testing.assert_array_equal(header.ring_pairs(), rings)
    np.testing.assert_allclose(header.planes(), 5.0 * (np.array(rings) - 1))


def test_planes_of_several_ring_differences_are_half_a_ring_apart():
    """Span 3 of 4 rings: 7 planes of segment 0, 3 of segment 1 with ring differences 2 to 4."""
    header = SinogramHeader(4, 5, (7, 3), (-1, 2), (1, 4), num_rings=4, ring_spacing=2.0)
    planes = header.planes()
    np.testing.assert_allclose(planes[:7], np.repeat(np.arange(-3, 4)[:, None], 2, axis=1))
    np.testing.assert_allclose(planes[7:], [[-1 - 3, -1 + 3], [0 - 3, 0 + 3], [1 - 3, 1 + 3]])
    with pytest.raises(ValueError, match="min_ring_difference"):
        header.ring_pairs()


@pytest.mark.parametrize("arc_corrected", [True, False])
def test_lines_are_those_of_a_parallel_beam(arc_corrected):
    """Each line lies where a detector column of jaxct's parallel beam at its angle would see it, in its direction."""
    header = SinogramHeader(
        6, 7, (1,), (0,), (0,), num_detectors=24, ring_radius=40.0, bin_size=3.0, arc_corrected=arc_corrected,
        view_offset=0.1,
    )  # fmt: skip
    lines, s = header.lines(), header.distances()
    assert lines.shape == (6, 7, 2, 2)
    np.testing.assert_allclose(np.linalg.norm(lines, axis=-1), 40)
    beam = ParallelBeam(header.angles(), detector_shape=(7,)).to_vectors()
    np.testing.assert_allclose(
        np.einsum("vbec,vc->vbe", lines, beam.col_axis), np.stack([[s, s]] * 6).swapaxes(1, 2), atol=1e-4
    )
    along = lines[:, :, 1] - lines[:, :, 0]
    np.testing.assert_allclose(
        along / np.linalg.norm(along, axis=-1, keepdims=True), np.repeat(beam.direction[:, None], 7, axis=1), atol=1e-6
    )
    expected = np.arange(-3, 4) * 3.0 if arc_corrected else 40 * np.sin(np.arange(-3, 4) * np.pi / 24)
    np.testing.assert_allclose(s, expected)
    # 24 crystals have 12 views; pairs of them were added, so a view lies between its two.
    np.testing.assert_allclose(header.angles(), 0.1 + (np.arange(6) + 0.25) * np.pi / 6)


def test_geometry_that_the_header_does_not_know_is_asked_for():
    header = SinogramHeader(6, 7, (1,), (0,), (0,))
    for method, name in ((header.planes, "ring_spacing"), (header.lines, "ring_radius"), (header.distances, "num_det")):
        with pytest.raises(ValueError, match=name):
            method()
    with pytest.raises(ValueError, match="beyond the ring"):
        dataclasses.replace(header, ring_radius=5.0, bin_size=3.0, arc_corrected=True).lines()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_bins": 0}, "num_bins"),
        ({"min_ring_difference": (0, -1)}, "min_ring_difference: expected one for each of 3"),
        ({"max_ring_difference": (0, -2, 1)}, "none above max_ring_difference"),
    ],
)
def test_headers_that_do_not_fit_together_are_refused(change, message):
    header = SinogramHeader(4, 5, SEGMENTS, (0, -1, 1), (0, -1, 1))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(header, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix axis label [3]": "projection"}, "matrix axis label: expected .* got .*projection"),
        ({"!matrix size [3]": None}, r"x\.hs: matrix size\[3\]: missing"),
        ({"!matrix size [3]": "four"}, r"x\.hs: matrix size\[3\]: expected numbers, got 'four'"),
        ({"!matrix size [3]": "4.5"}, r"matrix size\[3\]: expected integers, got '4.5'"),
        ({"!matrix size [3]": "{2, 2}"}, r"matrix size\[3\]: expected one number"),
        ({"!matrix size [2]": "{3, 2}"}, "axial coordinate: 2 sizes for 3 segments"),
        ({"minimum ring difference per segment": "{0}"}, "minimum ring difference per segment: expected 3 numbers"),
        ({"!number format": "bit"}, "number format: expected one of"),
        ({"!number of bytes per pixel": 3}, "number of bytes per pixel: no float has 3"),
        ({"!number of bytes per pixel": None}, "number of bytes per pixel: missing"),
        ({"imagedata byte order": "VAX"}, "imagedata byte order: expected one of"),
        ({"image scaling factor[1]": "{1, 2}"}, r"image scaling factor\[1\]: expected 1 or 3"),
        ({"data offset in bytes[1]": -4}, "data offset in bytes"),
        ({"number of time frames": 2}, "number of time frames: expected 1, got 2"),
        ({"!matrix size [1]": 0}, r"x\.hs: num_views, num_bins"),
    ],
)
def test_keys_that_cannot_be_followed_are_named(tmp_path, change, message):
    path = write(tmp_path, in_file(segments()), **change)
    with pytest.raises(ValueError, match=message):
        open_sinograms(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.hs"):
        open_sinograms(tmp_path / "nothing.hs")
    path = write(tmp_path, in_file(segments()), **{"name of data file": "elsewhere/y.s"})
    with pytest.raises(FileNotFoundError, match=r"x\.hs: name of data file: no such file: .*elsewhere/y\.s"):
        open_sinograms(path)
    (tmp_path / "z.hs").write_text("[header]\nviews = 4\n")
    with pytest.raises(ValueError, match=r"z\.hs: not an Interfile header"):
        open_sinograms(tmp_path / "z.hs")


def test_spelling_of_keys_does_not_matter(tmp_path):
    parts = segments()
    text = sinogram_header()
    text = text.replace("!matrix size [3]", "%Matrix_Size  [ 3 ]").replace("{ 3,2,2}", "{3, \\\n 2,2 }")
    (tmp_path / "x.hs").write_bytes(b";\n" + text.replace("\n", "\r\n").encode() + b"\r\nOther := \xb5m\r\n")
    in_file(parts).tofile(tmp_path / "x.s")
    np.testing.assert_array_equal(open_sinograms(tmp_path / "x.hs").projections, np.concatenate(parts, axis=1))


def test_headers_of_sinograms_and_volumes_are_told_apart(tmp_path):
    assert pet_file_kind(write(tmp_path, in_file(segments()))) == "sinograms"
    save_volume(tmp_path / "v.hv", np.zeros((2, 3, 4)), VolumeGrid((2, 3, 4)))
    assert pet_file_kind(tmp_path / "v.hv") == "volume"


def test_a_ct_reader_says_who_reads_interfile(tmp_path):
    with pytest.raises(ValueError, match="open_sinograms"):
        open_scan(write(tmp_path, in_file(segments())))


# ---- writing

FULL = SinogramHeader(
    VIEWS,
    BINS,
    SEGMENTS,
    (0, -1, 1),
    (0, -1, 1),
    num_rings=3,
    num_detectors=8,
    ring_radius=335.0,
    ring_spacing=4.0625,
    bin_size=2.0445,
    arc_corrected=True,
    view_offset=-0.09,
    start_time=1.5,
    duration=613e-3,
    scanner="Some Scanner",
)
WITH_TOF = dataclasses.replace(FULL, num_tof_bins=3, tof_bin_width=25.0, tof_sigma=23.5)


@pytest.mark.parametrize("header", [FULL, WITH_TOF, SinogramHeader(2, 3, (1,), (0,), (0,))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8, np.int32])
def test_sinograms_come_back_as_they_were(tmp_path, header, dtype):
    values = np.random.default_rng(1).uniform(0, 200, header.shape).astype(dtype)
    save_sinograms(tmp_path / "y.hs", values, header)
    back = open_sinograms(tmp_path / "y.hs")
    np.testing.assert_array_equal(back.projections, values)
    assert back.projections.dtype == dtype
    for field in dataclasses.fields(header):
        if field.compare:
            value = getattr(header, field.name)
            wanted = pytest.approx(value, rel=1e-8) if isinstance(value, float) else value
            assert getattr(back.header, field.name) == wanted, field.name


def test_an_opened_file_can_be_written_again(tmp_path):
    first = open_sinograms(write(tmp_path, in_file(segments())))
    (tmp_path / "sub").mkdir()
    save_sinograms(tmp_path / "sub" / "y.hs", first.projections, first.header)
    np.testing.assert_array_equal(open_sinograms(tmp_path / "sub" / "y.hs").projections, first.projections)


def test_half_floats_are_stored_as_float32(tmp_path):
    values = np.random.default_rng(1).uniform(0, 2, FULL.shape).astype(np.float16)
    save_sinograms(tmp_path / "y.hs", values, FULL)
    np.testing.assert_array_equal(open_sinograms(tmp_path / "y.hs").projections, values.astype(np.float32))


def test_what_cannot_be_written_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"\.hs"):
        save_sinograms(tmp_path / "y.s", np.zeros(FULL.shape), FULL)
    with pytest.raises(ValueError, match="does not fit the header"):
        save_sinograms(tmp_path / "y.hs", np.zeros((1, 2, 3)), FULL)
    for dtype in (np.int64, bool, complex):
        with pytest.raises(ValueError, match="cannot be stored"):
            save_sinograms(tmp_path / "y.hs", np.zeros(FULL.shape, dtype), FULL)
    assert list(tmp_path.iterdir()) == []


# ---- volumes


def volume_header(**changes):
    values = {
        "name of data file": "v.v",
        "imagedata byte order": "LITTLEENDIAN",
        "!PET data type": "Image",
        "!number format": "float",
        "!number of bytes per pixel": 4,
        "number of dimensions": 3,
        "matrix axis label [1]": "x",
        "!matrix size [1]": 4,
        "scaling factor (mm/pixel) [1]": 2.5,
        "matrix axis label [2]": "y",
        "!matrix size [2]": 3,
        "scaling factor (mm/pixel) [2]": 2,
        "matrix axis label [3]": "z",
        "!matrix size [3]": 5,
        "scaling factor (mm/pixel) [3]": 3.27,
        **changes,
    }
    lines = [f"{key} := {value}" for key, value in values.items() if value is not None]
    return "\n".join(["!INTERFILE  :=", *lines, "!END OF INTERFILE :="])


def write_volume(folder, values, **changes):
    (folder / "v.hv").write_text(volume_header(**changes))
    values.tofile(folder / "v.v")
    return folder / "v.hv"


VALUES = np.arange(60, dtype=np.float32).reshape(5, 3, 4)


def test_a_volume_is_z_y_x_with_stir_s_middle(tmp_path):
    """The scanner's middle is the middle plane; the axis passes through voxel n // 2 of x (even) and y (odd)."""
    values, grid = load_volume(write_volume(tmp_path, VALUES))
    np.testing.assert_array_equal(values, VALUES)
    z, y, x = (np.asarray(c) for c in grid.coordinates())
    np.testing.assert_allclose(z, [-6.54, -3.27, 0, 3.27, 6.54], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(y, [-2, 0, 2], atol=1e-6)
    np.testing.assert_allclose(x, [-5, -2.5, 0, 2.5], atol=1e-6)


def test_first_pixel_offsets_place_x_and_y_and_shift_z(tmp_path):
    offsets = {f"first pixel offset (mm) [{k}]": v for k, v in ((1, -10), (2, 7), (3, 3.27))}
    grid = load_volume(write_volume(tmp_path, VALUES, **offsets)).grid
    z, y, x = (np.asarray(c) for c in grid.coordinates())
    np.testing.assert_allclose((x[0], y[0], z[2]), (-10, 7, 3.27), rtol=1e-6)


def test_volumes_are_scaled_as_a_whole_or_by_plane(tmp_path):
    path = write_volume(tmp_path, VALUES, **{"image scaling factor[1]": 0.5})
    np.testing.assert_array_equal(load_volume(path).values, 0.5 * VALUES)
    path = write_volume(tmp_path, VALUES, **{"image scaling factor[1]": "{1,2,3,4,5}"})
    values = load_volume(path).values
    np.testing.assert_array_equal(values, VALUES * np.arange(1, 6)[:, None, None])
    assert values.dtype == np.float32


def test_big_endian_integers_behind_an_offset(tmp_path):
    stored = np.frombuffer(b"12345678" + VALUES.astype(">i2").tobytes(), np.uint8)
    changes = {
        "imagedata byte order": "BIGENDIAN",
        "!number format": "signed integer",
        "!number of bytes per pixel": 2,
        "data offset in bytes[1]": 8,
    }
    values = load_volume(write_volume(tmp_path, stored, **changes)).values
    np.testing.assert_array_equal(values, VALUES)
    assert values.dtype == np.int16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number of dimensions": 2}, "number of dimensions: expected 3, got 2"),
        ({"matrix axis label [1]": "z"}, "matrix axis label: expected x, y, z, got z, y, z"),
        ({"!matrix size [2]": None}, r"v\.hv: matrix size\[2\]: missing"),
        ({"!matrix size [2]": 0}, r"v\.hv: matrix size, scaling factor"),
        ({"scaling factor (mm/pixel) [2]": -1}, r"v\.hv: matrix size, scaling factor"),
        ({"number of time frames": 3}, "number of time frames: expected 1, got 3"),
        ({"!matrix size [3]": 6}, r"v\.v: 240 bytes, but v\.hv promises 288"),
    ],
)
def test_volumes_that_cannot_be_followed_are_named(tmp_path, change, message):
    path = write_volume(tmp_path, VALUES, **change)
    with pytest.raises(ValueError, match=message):
        load_volume(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8, np.int16, np.int64, bool])
def test_a_written_volume_comes_back_with_its_grid(tmp_path, dtype):
    grid = VolumeGrid((3, 4, 5), voxel_size=(3.0, 2.0, 1.5), center=(10.0, -4.0, 0.3))
    volume = (np.arange(60).reshape(3, 4, 5) % 2).astype(dtype)
    save_volume(tmp_path / "v.hv", volume, grid, description="of := something\nin two lines")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v.hv", "v.v"]
    values, read = load_volume(tmp_path / "v.hv")
    np.testing.assert_array_equal(values, volume)
    assert read.shape == grid.shape
    np.testing.assert_allclose(read.voxel_size, grid.voxel_size, rtol=1e-6)
    np.testing.assert_allclose(read.center, grid.center, rtol=1e-5, atol=1e-5)


def test_a_failed_write_keeps_both_files(tmp_path, monkeypatch):
    grid = VolumeGrid((3, 4, 5))
    save_volume(tmp_path / "v.hv", np.ones((3, 4, 5)), grid)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fill_disk(path, *_):
        path.write_bytes(b"torn")
        path.with_name("v.part.v").write_bytes(b"torn")
        raise OSError("no space left")

    _, read = volume_module._FORMATS[(".hv",)]
    monkeypatch.setitem(volume_module._FORMATS, (".hv",), (fill_disk, read))
    with pytest.raises(OSError, match="space"):
        save_volume(tmp_path / "v.hv", np.zeros((3, 4, 5)), grid)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_images_are_refused_by_interfile(tmp_path):
    with pytest.raises(ValueError, match="3-D"):
        save_volume(tmp_path / "v.hv", np.zeros((4, 5)), VolumeGrid((4, 5)))
    assert list(tmp_path.iterdir()) == []


# ---- files of STIR


def test_sinograms_of_stir():
    projections, header = open_sinograms(data_path("pet_interfile_stir/smalllong.hs"))
    assert projections.shape == (64, 27, 75)
    assert header.arc_corrected
    assert header.bin_size == 3
    values = np.asarray(projections)
    np.testing.assert_array_equal(projections[10:12], values[10:12])
    # The object is near the axis: the sinogram's centre of mass is that of the bins.
    assert np.average(header.distances(), weights=values.sum(axis=(0, 1))) == pytest.approx(0, abs=15)
    planes = header.planes()
    np.testing.assert_allclose(planes[:, 0], planes[:, 1])
    np.testing.assert_allclose(planes[[0, -1], 0], [-13 * 3.27, 13 * 3.27], rtol=1e-6)


def test_sinograms_of_stir_reconstruct_on_their_lines():
    """A point source beside a cylinder becomes a point; lines a bin to either side explain the data less well."""
    projections, header = open_sinograms(data_path("pet_interfile_stir/smalllong.hs"))
    counts = projections[:, 13:14].clip(0)
    grid = VolumeGrid((1, 72, 72), voxel_size=(3.27, 3.0, 3.0))
    across = np.stack([np.sin(header.angles()), np.cos(header.angles())], axis=-1)[:, None, None]

    def reconstruct(shift):
        lors = SinogramLORs(header.lines() + shift * across, header.planes()[13:14])
        A = Projector(lors, grid)  # noqa: N806
        volume = mlem(A, counts, num_iters=10).volume
        return np.asarray(volume[0]), np.corrcoef(np.ravel(A(volume)), counts.ravel())[0, 1]

    image, fit = reconstruct(0.0)
    assert fit > 0.996
    assert max(reconstruct(shift)[1] for shift in (-header.bin_size, header.bin_size)) < fit - 0.001
    y, x = np.meshgrid(*(np.asarray(c) for c in grid.coordinates()[1:]), indexing="ij")
    cylinder = image[np.hypot(x - 21, y - 11) < 25]
    assert cylinder.std() < 0.05 * cylinder.mean()
    assert image[np.hypot(x - 89, y + 26) < 6].max() > 3 * cylinder.mean()
    assert image[(np.hypot(x - 89, y + 26) > 20) & (np.hypot(x - 21, y - 11) > 60)].max() < 0.5 * cylinder.mean()


def test_volume_of_stir():
    values, grid = load_volume(data_path("pet_interfile_stir/init.hv"))
    assert values.shape == grid.shape == (31, 60, 60)
    np.testing.assert_allclose(grid.voxel_size, [3.27, 4.44114, 4.44114], rtol=1e-6)
    np.testing.assert_allclose(grid.center, [0, -4.44114 / 2, -4.44114 / 2], rtol=1e-6)
    assert np.isfinite(values).all()


def test_header_of_span_1_without_its_data():
    """The scanner of the list-mode set: planes of segments -2 to 2, whose rings differ by just that."""
    with pytest.raises(FileNotFoundError, match="Siemens_mMR_seg2"):
        open_sinograms(data_path("pet_mmr_listmode/Siemens_mMR_seg2.hs"))
