"""Scans and volumes come back from disk as they were, formats are told by content, and bad files by one clear error."""

import h5py
import jax
import numpy as np
import pytest
import scipy.io

from jaxct import ConeBeam, FanBeam, ParallelBeam, VolumeGrid
from jaxct.io import WALNUT, Scan, load_volume, open_scan, save_scan, save_volume, suggest_grid
from jaxct.io import volume as volume_module
from jaxct.io.lazy import LazyArray
from tests.data import data_path

VIEWS, ROWS, COLS = 7, 5, 6


def cone():
    return ConeBeam(
        np.linspace(0, 5, VIEWS),
        source_origin_distance=np.linspace(50, 51, VIEWS),
        source_detector_distance=80.0,
        detector_shape=(ROWS, COLS),
        pixel_size=(0.5, 0.25),
        detector_offset=(0.1, -0.2),
        source_z=np.arange(VIEWS),
        detector="curved",
    )


def fan():
    return FanBeam(
        np.linspace(0, 5, VIEWS),
        source_origin_distance=50.0,
        source_detector_distance=80.0,
        detector_shape=(COLS,),
        pixel_size=0.5,
        detector_offset=0.75,
    )


def parallel():
    return ParallelBeam(np.linspace(0, 3, VIEWS), detector_shape=(ROWS, COLS), pixel_size=0.5)


GEOMETRIES = {
    "cone": cone,
    "fan": fan,
    "parallel": parallel,
    "cone vectors": lambda: cone().to_vectors(),
    "fan vectors": lambda: fan().to_vectors(),
    "parallel vectors": lambda: parallel().to_vectors(),
}


def stack(geometry, dtype=np.float32, frames=None):
    shape = geometry.projection_shape if frames is None else (frames, *geometry.detector_shape)
    return np.random.default_rng(0).uniform(1, 2000, shape).astype(dtype)


def assert_same_tree(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


# ---- jaxct's own layout


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_scan_comes_back_as_it_was(tmp_path, name):
    geometry = GEOMETRIES[name]()
    shape = (4,) * geometry.ndim
    scan = Scan(
        stack(geometry),
        geometry,
        grid=VolumeGrid(shape, voxel_size=0.3, center=1.5),
        title="Ein Prüfkörper",
        licence="CC0-1.0",
        attribution="somebody",
        source="somewhere",
        notes=("first", "second"),
    )
    save_scan(tmp_path / "scan.h5", scan)
    back = open_scan(tmp_path / "scan.h5")
    np.testing.assert_array_equal(back.projections, scan.projections)
    assert_same_tree(back.geometry, geometry)
    assert_same_tree(back.grid, scan.grid)
    for text in ("state", "title", "licence", "attribution", "source", "notes"):
        assert getattr(back, text) == getattr(scan, text)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.uint16, np.int32])
def test_numbers_keep_their_type(tmp_path, dtype):
    geometry = parallel()
    values = stack(geometry, dtype) % 200
    scan = Scan(values, geometry, "counts", stack(geometry, dtype, 3), stack(geometry, dtype, 2))
    save_scan(tmp_path / "scan.h5", scan, compress=False)
    back = open_scan(tmp_path / "scan.h5")
    for name in ("projections", "flats", "darks"):
        np.testing.assert_array_equal(getattr(back, name), getattr(scan, name))
        assert getattr(back, name).dtype == dtype


def test_float64_geometry_survives_in_float64(tmp_path):
    with jax.enable_x64(True):
        geometry = ParallelBeam(np.array([0.1, 1 / 3]), detector_shape=(3,))
        save_scan(tmp_path / "scan.h5", Scan(np.zeros((2, 3)), geometry))
        assert_same_tree(open_scan(tmp_path / "scan.h5").geometry, geometry)


def test_a_failed_write_leaves_no_file(tmp_path):
    class Unreadable:
        shape, dtype = parallel().projection_shape, np.dtype(float)

        def __array__(self, dtype=None, copy=None):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        save_scan(tmp_path / "scan.h5", Scan(Unreadable(), parallel()))
    assert list(tmp_path.iterdir()) == []


def test_a_newer_version_is_refused(tmp_path):
    save_scan(tmp_path / "scan.h5", Scan(stack(fan()), fan()))
    with h5py.File(tmp_path / "scan.h5", "a") as file:
        file.attrs["version"] = 99
    with pytest.raises(ValueError, match="version 99"):
        open_scan(tmp_path / "scan.h5")


def test_a_missing_entry_is_named(tmp_path):
    save_scan(tmp_path / "scan.h5", Scan(stack(fan()), fan()))
    with h5py.File(tmp_path / "scan.h5", "a") as file:
        del file["projections"]
    with pytest.raises(ValueError, match="projections"):
        open_scan(tmp_path / "scan.h5")


# ---- lazy reading


@pytest.mark.parametrize("views", [slice(None), slice(1, 6, 2), slice(None, None, -1), [4, 0, 0], np.array([2])])
def test_some_views_of_a_scan(tmp_path, views):
    geometry = cone()
    values = stack(geometry)
    save_scan(tmp_path / "scan.h5", Scan(values, geometry))
    scan = open_scan(tmp_path / "scan.h5", views=views)
    np.testing.assert_array_equal(scan.projections, values[views])
    assert_same_tree(scan.geometry, geometry[views])


@pytest.mark.parametrize(
    "key",
    [
        2,
        -1,
        slice(1, 4),
        (slice(None), 3),
        (0, slice(None), slice(None, None, -1)),
        (slice(None), [3, 0], -2),
        (1, 2, 3),
        (slice(3, 3),),
    ],
)
@pytest.mark.parametrize("flip", [False, True])
def test_indexing_a_stack_on_disk(tmp_path, key, flip):
    values = stack(parallel())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["stack"] = values
    lazy = LazyArray(tmp_path / "x.h5", "stack", flip_rows=flip)
    expected = values[:, ::-1] if flip else values
    assert (lazy.shape, lazy.ndim, lazy.size, len(lazy)) == (expected.shape, 3, expected.size, VIEWS)
    np.testing.assert_array_equal(lazy[key], expected[key])
    np.testing.assert_array_equal(np.asarray(lazy, np.float64), expected)


def test_a_stack_on_disk_refuses_too_many_indices(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["stack"] = np.zeros((2, 3))
    lazy = LazyArray(tmp_path / "x.h5", "stack")
    with pytest.raises(IndexError):
        lazy[0, 0, 0]
    with pytest.raises(IndexError):
        lazy[2]


# ---- other formats


def write_data_exchange(path, pixel=None, **changes):
    raw = np.random.default_rng(1).integers(100, 60000, (VIEWS, ROWS, COLS)).astype(np.uint16)
    entries = {
        "exchange/data": raw,
        "exchange/data_white": raw[:2] + 5,
        "exchange/data_dark": raw[:3] // 100,
        "exchange/theta": np.linspace(0, 180, VIEWS),
        "measurement/sample/name": "Tooth",
        **changes,
    }
    with h5py.File(path, "w") as file:
        for name, value in entries.items():
            if value is not None:
                file[name] = value
        for axis, (size, units) in (pixel or {}).items():
            file[f"measurement/instrument/detector/{axis}_pixel_size"] = size
            file[f"measurement/instrument/detector/{axis}_pixel_size"].attrs["units"] = units
    return raw


def test_data_exchange(tmp_path):
    raw = write_data_exchange(tmp_path / "x.h5")
    scan = open_scan(tmp_path / "x.h5")
    assert scan.state == "counts"
    assert scan.title == "Tooth"
    np.testing.assert_array_equal(scan.projections, raw[:, ::-1])
    np.testing.assert_array_equal(scan.flats, raw[:2, ::-1] + 5)
    np.testing.assert_array_equal(scan.darks, raw[:3, ::-1] // 100)
    np.testing.assert_allclose(scan.geometry.angles, np.linspace(0, np.pi, VIEWS), rtol=1e-6)
    np.testing.assert_array_equal(scan.geometry.pixel_size, 1)
    assert any("no pixel size" in note for note in scan.notes)


def test_data_exchange_with_a_single_flat_and_dark(tmp_path):
    frame = np.arange(ROWS * COLS).reshape(ROWS, COLS)
    raw = write_data_exchange(tmp_path / "x.h5", **{"exchange/data_white": frame + 5, "exchange/data_dark": frame})
    scan = open_scan(tmp_path / "x.h5")
    assert scan.projections.shape == raw.shape
    np.testing.assert_array_equal(scan.flats, frame[None, ::-1] + 5)
    np.testing.assert_array_equal(scan.darks, frame[None, ::-1])


def test_data_exchange_with_pixel_size_in_its_units(tmp_path):
    write_data_exchange(tmp_path / "x.h5", pixel={"x": (0.65, "um"), "y": (1.3e-6, "m")})
    np.testing.assert_allclose(open_scan(tmp_path / "x.h5").geometry.pixel_size, [1.3e-3, 0.65e-3], rtol=1e-6)


@pytest.mark.parametrize("theta", [None, np.linspace(0, 180, VIEWS + 1)])
def test_data_exchange_without_fitting_angles_is_refused(tmp_path, theta):
    write_data_exchange(tmp_path / "x.h5", **{"exchange/theta": theta})
    with pytest.raises(ValueError, match="theta"):
        open_scan(tmp_path / "x.h5")


CHALLENGE = {
    "angles": np.arange(VIEWS) * 0.5,
    "distanceSourceOrigin": 410.66,
    "distanceSourceDetector": 553.74,
    "pixelSizePost": 0.2,
    "projectName": "htc2022_01a_",
}


def assert_challenge(scan, sinogram):
    np.testing.assert_allclose(np.asarray(scan.projections), sinogram)
    assert scan.licence == "CC-BY-4.0"
    assert scan.title == "htc2022_01a"
    assert "zenodo" in scan.attribution
    assert scan.geometry.detector_shape == (COLS,)
    np.testing.assert_allclose(scan.geometry.angles, np.deg2rad(CHALLENGE["angles"]), rtol=1e-6)
    np.testing.assert_allclose(scan.geometry.source_detector_distance, 553.74)
    np.testing.assert_allclose(scan.geometry.pixel_size, 0.2)


def test_challenge_file_of_matlab_5(tmp_path):
    sinogram = stack(fan(), np.float64)
    content = {"CtDataLimited": {"type": "2d", "sinogram": sinogram, "parameters": CHALLENGE}}
    scipy.io.savemat(tmp_path / "x.mat", content)
    assert_challenge(open_scan(tmp_path / "x.mat"), sinogram)
    np.testing.assert_allclose(open_scan(tmp_path / "x.mat", views=[3, 1]).projections, sinogram[[3, 1]])


def test_challenge_file_of_matlab_73(tmp_path):
    """MATLAB 7.3 is HDF5 behind 512 bytes of its own, with transposed arrays and text as 16-bit characters."""
    sinogram = stack(fan(), np.float64)
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        file["CtDataFull/sinogram"] = sinogram.T
        for name, value in CHALLENGE.items():
            text = isinstance(value, str)
            stored = np.array([[ord(c)] for c in value], np.uint16) if text else np.atleast_2d(value).T
            file[f"CtDataFull/parameters/{name}"] = stored
            file[f"CtDataFull/parameters/{name}"].attrs["MATLAB_class"] = np.bytes_("char" if text else "double")
    assert_challenge(open_scan(tmp_path / "x.mat"), sinogram)


def test_matlab_file_of_something_else_is_told_apart(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"head": np.eye(3)})
    with pytest.raises(ValueError, match="head"):
        open_scan(tmp_path / "x.mat")


@pytest.mark.parametrize("name", ["ta", "tb"])
def test_measured_challenge_files(name):
    scan = open_scan(data_path(f"htc2022_fan/htc2022_{name}_full.mat"))
    assert scan.geometry.projection_shape == (721, 560)
    assert scan.line_integrals().values.dtype == np.float32
    np.testing.assert_allclose(suggest_grid(scan.geometry).voxel_size, 0.1483223, rtol=1e-5)


def test_bundled_walnut_keeps_its_licence_and_equals_its_original():
    scan = open_scan(WALNUT)
    assert scan.licence == "CC-BY-4.0"
    assert "Meaney" in scan.attribution
    assert "10.5281/zenodo.6986012" in scan.attribution
    assert scan.grid.shape == (128, 128, 128)
    original = open_scan(data_path("walnut_cone/walnut_cone_128_120v.h5"))
    np.testing.assert_array_equal(scan.projections, original.projections)
    assert_same_tree(scan.geometry, original.geometry)


def test_extract_rows_run_towards_plus_z_and_its_centre_is_an_offset(tmp_path):
    values = stack(cone())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["projections"], file["angles"] = values, np.linspace(0, 6, VIEWS)
        about = {"sod_mm": 20.0, "sdd_mm": 50.0, "pixel_u_mm": 0.5, "pixel_v_mm": 0.25}
        file.create_group("geometry").attrs.update({**about, "u_center_px": 3.5, "v_center_px": 1.0})
        file.attrs["licence"] = "CC-BY-4.0"
    scan = open_scan(tmp_path / "x.h5")
    np.testing.assert_array_equal(scan.projections, values[:, ::-1])
    # The stored row 1 and column 3.5 lie on the axis at z = 0: after the flip that is row 3.
    rows, cols = ((np.array([3, 3.5]) - [2, 2.5]) * [0.25, 0.5] + np.asarray(scan.geometry.detector_offset)).tolist()
    assert (rows, cols) == (0, 0)


@pytest.mark.parametrize("content", [b"", b"not a scan", b"\x89HDF\r\n\x1a\n but truncated"])
def test_files_of_other_kinds_are_refused(tmp_path, content):
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.h5"):
        open_scan(tmp_path / "x.h5")


def test_hdf5_of_something_else_is_told_apart(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["weather"] = 1.0
    with pytest.raises(ValueError, match="weather"):
        open_scan(tmp_path / "x.h5")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.h5"):
        open_scan(tmp_path / "nothing.h5")
    with pytest.raises(ValueError, match="not a file"):
        open_scan(tmp_path)


# ---- scans


def test_line_integrals_by_state():
    geometry = fan()
    truth = np.random.default_rng(0).uniform(0, 2, geometry.projection_shape)
    counts = 1000 * np.exp(-truth) + 10
    flats, darks = np.full((2, COLS), 1010.0), np.full((1, COLS), 10.0)
    for scan in (
        Scan(truth, geometry),
        Scan(np.exp(-truth), geometry, "transmission"),
        Scan(counts, geometry, "counts", flats, darks),
    ):
        values, guarded = scan.line_integrals()
        np.testing.assert_allclose(values, truth, atol=1e-5)
        assert int(guarded) == 0


def test_counts_without_flats_need_a_background():
    geometry = fan()
    counts = np.full(geometry.projection_shape, 500.0)
    counts[:, 3:] = 250.0
    scan = Scan(counts, geometry, "counts")
    with pytest.raises(ValueError, match="flats"):
        scan.line_integrals()
    np.testing.assert_allclose(scan.line_integrals(background=(slice(3),)).values[:, 3:], np.log(2), rtol=1e-6)


def test_selecting_views():
    scan = Scan(stack(cone()), cone()).select(slice(1, 3))
    assert scan.projections.shape == scan.geometry.projection_shape == (2, ROWS, COLS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": "sinogram"}, "state"),
        ({"projections": np.zeros((VIEWS, COLS))}, "projections"),
        ({"flats": np.zeros((2, COLS))}, "flats"),
        ({"darks": np.zeros((2, ROWS, COLS + 1))}, "darks"),
        ({"grid": VolumeGrid((4, 4))}, "grid"),
    ],
)
def test_a_scan_that_does_not_fit_together_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Scan(stack(cone()), cone()).replace(**change)


def test_line_integrals_that_are_not_finite_are_refused():
    values = stack(fan())
    values[2, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        Scan(values, fan()).line_integrals()


# ---- volumes

GRIDS = {
    "3-D": VolumeGrid((3, 4, 5), voxel_size=(0.5, 0.25, 0.125), center=(10.0, -2.0, 0.5)),
    "2-D": VolumeGrid((4, 5), voxel_size=(0.25, 0.125), center=(-2.0, 0.5)),
    "one slice": VolumeGrid((1, 4, 5), voxel_size=0.5),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".tif", ".h5"])
def test_a_volume_comes_back_with_its_grid(tmp_path, ending, grid):
    volume = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    save_volume(tmp_path / f"v{ending}", volume, grid, description="walnut")
    values, read = load_volume(tmp_path / f"v{ending}")
    np.testing.assert_array_equal(values, volume)
    assert values.dtype == np.float32
    assert read.shape == grid.shape
    np.testing.assert_allclose(read.voxel_size, grid.voxel_size, rtol=1e-6)
    np.testing.assert_allclose(read.center, grid.center, rtol=1e-6, atol=1e-6)


def test_npy_keeps_the_values_alone(tmp_path):
    volume = np.ones((3, 4, 5))
    save_volume(tmp_path / "v.npy", volume, GRIDS["3-D"])
    values, grid = load_volume(tmp_path / "v.npy")
    np.testing.assert_array_equal(values, volume)
    assert grid is None


def test_nifti_places_voxels_where_the_grid_does(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    grid = GRIDS["3-D"]
    save_volume(tmp_path / "v.nii", np.arange(60.0).reshape(grid.shape), grid, description="d" * 200)
    image = nibabel.load(tmp_path / "v.nii")
    z, y, x = grid.coordinates()
    world = image.affine @ [4, 2, 1, 1]
    np.testing.assert_allclose(world[:3], [x[4], y[2], z[1]], rtol=1e-6)
    assert image.get_fdata()[4, 2, 1] == np.arange(60.0).reshape(grid.shape)[1, 2, 4]
    assert image.header.get_xyzt_units()[0] == "mm"


def test_nifti_from_elsewhere_is_turned_to_increasing_axes(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    values = np.arange(24.0).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, 2.0, 3.0, 1.0])), tmp_path / "v.nii")
    read, grid = load_volume(tmp_path / "v.nii")
    np.testing.assert_array_equal(read, values[::-1].T)
    np.testing.assert_allclose(grid.voxel_size, [3, 2, 1])
    np.testing.assert_allclose(grid.center, [4.5, 2.0, -0.5])
    oblique = np.eye(4)
    oblique[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    nibabel.save(nibabel.Nifti1Image(values, oblique), tmp_path / "o.nii")
    with pytest.raises(ValueError, match="oblique"):
        load_volume(tmp_path / "o.nii")


@pytest.mark.parametrize(("unit", "factor"), [("unknown", 1), ("mm", 1), ("meter", 1000), ("micron", 0.001)])
def test_nifti_lengths_are_read_in_mm(tmp_path, unit, factor):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4)), np.diag([1.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "v.nii")
    grid = load_volume(tmp_path / "v.nii").grid
    np.testing.assert_allclose(grid.voxel_size, np.array([3, 2, 1]) * factor, rtol=1e-6)
    np.testing.assert_allclose(grid.center, np.array([4.5, 2.0, 0.5]) * factor, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8, np.int16, np.int64, bool])
@pytest.mark.parametrize("ending", [".nii", ".tif", ".h5"])
def test_volumes_of_other_types_keep_their_values(tmp_path, dtype, ending):
    volume = (np.arange(60).reshape(3, 4, 5) % 2).astype(dtype)
    save_volume(tmp_path / f"v{ending}", volume, GRIDS["3-D"])
    np.testing.assert_array_equal(load_volume(tmp_path / f"v{ending}").values, volume)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".tif", ".h5", ".npy"])
def test_a_failed_write_keeps_the_volume_before_it(tmp_path, monkeypatch, ending):
    """The disk is full when the file is complete but for its last bytes."""
    path = tmp_path / f"v{ending}"
    save_volume(path, np.ones((3, 4, 5)), GRIDS["3-D"])
    before = path.read_bytes()

    def fill_disk(target, *_):
        target.write_bytes(b"torn")
        raise OSError("no space left")

    endings, (_, read) = next((e, f) for e, f in volume_module._FORMATS.items() if ending in e)
    monkeypatch.setitem(volume_module._FORMATS, endings, (fill_disk, read))
    with pytest.raises(OSError, match="space"):
        save_volume(path, np.zeros((3, 4, 5)), GRIDS["3-D"])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_volumes_that_cannot_be_written_are_refused(tmp_path):
    grid = GRIDS["3-D"]
    with pytest.raises(ValueError, match="volume"):
        save_volume(tmp_path / "v.nii", np.zeros((3, 4, 6)), grid)
    with pytest.raises(TypeError, match="complex"):
        save_volume(tmp_path / "v.nii", np.zeros(grid.shape, complex), grid)
    with pytest.raises(ValueError, match=r"v\.foo"):
        save_volume(tmp_path / "v.foo", np.zeros(grid.shape), grid)
    with pytest.raises(FileNotFoundError):
        load_volume(tmp_path / "nothing.nii")
    assert list(tmp_path.iterdir()) == []


# ---- grids


def test_suggested_grid_has_the_resolution_at_the_axis():
    geometry = ConeBeam(
        np.linspace(0, 6, 20, endpoint=False),
        source_origin_distance=100,
        source_detector_distance=250,
        detector_shape=(10, 20),
        pixel_size=(0.5, 0.25),
    )
    grid = suggest_grid(geometry)
    np.testing.assert_allclose(grid.voxel_size, 0.1, rtol=1e-6)
    assert grid.shape == (20, 20, 20)
    assert suggest_grid(geometry, voxel_size=0.2).shape == (10, 10, 10)
    assert suggest_grid(geometry, shape=(4, 5, 6)).shape == (4, 5, 6)
    assert_same_tree(suggest_grid(geometry.to_vectors()).shape, grid.shape)
    np.testing.assert_allclose(suggest_grid(geometry.to_vectors()).voxel_size, 0.1, rtol=1e-5)
    with pytest.raises(ValueError, match="voxel_size"):
        suggest_grid(geometry, voxel_size=0.0)


def test_suggested_grid_follows_an_offset_detector_and_a_helix():
    common = {"source_origin_distance": 100, "source_detector_distance": 200, "detector_shape": (10, 20)}
    angles = np.arange(60) * 2 * np.pi / 60
    half_fan = ConeBeam(angles, **common, pixel_size=2.0, detector_offset=(6.0, 16.0))
    grid = suggest_grid(half_fan)
    assert grid.shape == (10, 36, 36)
    half_turn = (angles / 2 + 1.5 * np.pi) % (2 * np.pi)  # passes through zero
    assert suggest_grid(ConeBeam(half_turn, **common, pixel_size=2.0, detector_offset=(6.0, 16.0))).shape[-1] == 20
    np.testing.assert_allclose(grid.center, [3, 0, 0])
    helix = ConeBeam(angles, **common, pixel_size=2.0, source_z=np.linspace(-30, 50, 60))
    grid = suggest_grid(helix)
    assert grid.shape == (90, 20, 20)
    np.testing.assert_allclose(grid.center, [10, 0, 0], atol=1e-5)
