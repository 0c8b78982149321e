"""Drawing: every geometry draws what is there, to scale."""

import builtins

import numpy as np
import pytest

from jaxct.geometry import ConeBeam, FanBeam, VolumeGrid, trajectories

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

FAN = {"source_origin_distance": 100.0, "source_detector_distance": 150.0, "detector_shape": (30,), "pixel_size": 2.0}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def _labels(ax):
    return set(ax.get_legend_handles_labels()[1])


def test_every_geometry_is_drawn(geometry):
    grid = VolumeGrid((8,) * geometry.ndim)
    ax = geometry.plot(grid)
    ax.figure.canvas.draw()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x [mm]", "y [mm]")
    assert {"volume", "central ray", "columns, from the first on"} <= _labels(ax)
    assert ("rows, from the first on" in _labels(ax)) == (geometry.ndim == 3)


def test_the_source_path_is_where_the_sources_are():
    g = FanBeam(trajectories.circle(12), **FAN)
    ax = g.plot()
    path = next(line for line in ax.lines if line.get_label() == "source")
    np.testing.assert_allclose(np.stack(path.get_data(), 1), g.to_vectors().source[:, ::-1], atol=1e-4)


def test_the_detector_is_drawn_from_edge_to_edge():
    ax = FanBeam([0.0], **FAN).plot()
    segments = [np.stack(line.get_data(), 1) for line in ax.lines if len(line.get_xdata()) == 2]
    assert any(np.allclose(s, [[-30, 50], [30, 50]], atol=1e-4) for s in segments)


def test_the_column_arrow_points_along_the_columns():
    ax = FanBeam([0.0], **FAN).plot()
    (arrow,) = [c for c in ax.collections if hasattr(c, "U")]
    assert arrow.U[0] > 0
    assert arrow.V[0] == pytest.approx(0.0, abs=1e-4)


def test_views_are_chosen():
    g = FanBeam(trajectories.circle(12), **FAN)
    names = [text.get_text().strip() for text in g.plot(views=[3, -1]).texts]
    assert names == ["view 3", "view 11"]


def test_axes_are_reused():
    ax = plt.figure().add_subplot()
    assert FanBeam([0.0], **FAN).plot(ax=ax) is ax


def test_dimensions_must_agree():
    with pytest.raises(ValueError, match="grid must be 2-D as the geometry, got a 3-D grid"):
        FanBeam([0.0], **FAN).plot(VolumeGrid((3, 3, 3)))
    with pytest.raises(ValueError, match="ax must be 3-D axes for a 3-D geometry"):
        ConeBeam([0.0], **{**FAN, "detector_shape": (3, 3)}).plot(ax=plt.figure().add_subplot())


def test_a_missing_matplotlib_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'jaxct\[plot\]'"):
        FanBeam([0.0], **FAN).plot()
