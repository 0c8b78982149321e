"""Siemens list mode: words become events, times and tags, in blocks and frames, whatever way the file is cut."""

import dataclasses

import numpy as np
import pytest

from jaxct.io import (
    SinogramHeader,
    bin_indices,
    histogram_list_mode,
    iter_list_mode,
    iter_list_mode_frames,
    pet_file_kind,
    petlink,
    read_list_mode,
    read_list_mode_header,
)
from jaxct.pet.scanners import Scanner, equal_rings
from jaxct.pet.sinograms import SinogramLayout
from tests.data import data_path

BINS, VIEWS, RINGS = 6, 4, 3
PLANES = 3 + 2 * 2  # span 1, ring differences up to 1


def prompt(address):
    return 1 << 30 | address


def delayed(address):
    return address


def time(ms):
    return 0b100 << 29 | ms


MOTION, DEAD_TIME = 0b111 << 29 | 0x1234, 0b101 << 29 | 77

WORDS = [
    *(prompt(3), time(20), prompt(5), delayed(7), MOTION, time(21), time(22), prompt(5)),
    *(delayed(0), DEAD_TIME, time(25), prompt(BINS * VIEWS * PLANES - 1)),
]


def header_text(**changes):
    values = {
        "!originating system": "2008",
        "name of data file": "x.l",
        "number of rings": RINGS,
        "distance between rings (cm)": 0.40625,
        "gantry crystal radius (cm)": 32.8,
        "bin size (cm)": 0.20445,
        "image duration (sec)": 900,
        "%total listmode word counts": 1000,
        "%LM event and tag words format (bits)": 32,
        "%timing tagwords interval (msec)": 1,
        "%axial compression": 1,
        "%maximum ring difference": 1,
        "%number of projections": BINS,
        "%number of views": VIEWS,
        **changes,
    }
    lines = [f"{key}:={value}" for key, value in values.items() if value is not None]
    return "\n".join(["!INTERFILE:=", "%comment:=made by hand", *lines])


def write(folder, words=WORDS, order="<u4", tail=b"", **changes):
    (folder / "x.l").write_bytes(np.array(words, np.uint32).astype(order).tobytes() + tail)
    (folder / "x.l.hdr").write_text(header_text(**changes))
    return folder / "x.l"


def assert_same(a, b):
    for name in ("address", "is_prompt", "time", "tags", "tag_time"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.num_time_tags == b.num_time_tags


# ---- words


def test_words_are_prompts_delayeds_times_and_other_tags(tmp_path):
    events = read_list_mode(write(tmp_path))
    np.testing.assert_array_equal(events.address, [3, 5, 7, 5, 0, BINS * VIEWS * PLANES - 1])
    np.testing.assert_array_equal(events.is_prompt, [True, True, False, True, False, True])
    # What comes before the first time was detected in the millisecond before it.
    np.testing.assert_array_equal(events.time, [19, 20, 20, 22, 22, 25])
    np.testing.assert_array_equal(events.tags, [MOTION, DEAD_TIME])
    np.testing.assert_array_equal(events.tag_time, [20, 22])
    assert (len(events), events.num_prompts, events.num_delayeds, events.num_time_tags) == (6, 4, 2, 4)
    assert events.num_words == len(WORDS)
    assert events.address.dtype == events.tags.dtype == np.uint32


def test_addresses_have_30_bits_and_times_29(tmp_path):
    words = [time((1 << 29) - 1), prompt((1 << 30) - 1), delayed((1 << 30) - 2)]
    events = read_list_mode(write(tmp_path, words))
    np.testing.assert_array_equal(events.address, [(1 << 30) - 1, (1 << 30) - 2])
    np.testing.assert_array_equal(events.time, [(1 << 29) - 1] * 2)


@pytest.mark.parametrize("tail", [b"\x01", b"\x01\x02\x03"])
def test_a_file_cut_within_a_word_gives_the_words_before(tmp_path, tail):
    whole = read_list_mode(write(tmp_path))
    assert_same(read_list_mode(write(tmp_path, tail=tail)), whole)


@pytest.mark.parametrize("tail", [b"", b"\x01\x02"])
def test_a_file_without_a_word_has_no_events(tmp_path, tail):
    events = read_list_mode(write(tmp_path, [], tail=tail))
    assert (len(events), events.num_words) == (0, 0)
    assert list(iter_list_mode(tmp_path / "x.l")) == []


def test_big_endian_words_and_an_offset(tmp_path):
    whole = read_list_mode(write(tmp_path))
    path = write(tmp_path, [0, *WORDS], ">u4", **{"imagedata byte order": "BIGENDIAN", "!data offset in bytes": 4})
    assert_same(read_list_mode(path), whole)


@pytest.mark.parametrize("block", [1, 2, 3, 5, 100])
def test_blocks_join_to_the_whole(tmp_path, monkeypatch, block):
    """The time goes on from block to block; here a block may be one word."""
    path = write(tmp_path)
    whole = read_list_mode(path)
    monkeypatch.setattr(petlink, "_BLOCK", block)
    assert_same(read_list_mode(path), whole)
    blocks = list(iter_list_mode(path))
    assert len(blocks) == -(-len(WORDS) // block)
    np.testing.assert_array_equal(np.concatenate([b.time for b in blocks]), whole.time)
    assert sum(b.num_words for b in blocks) == whole.num_words


# ---- frames


@pytest.mark.parametrize("block", [1, 3, 100])
def test_frames_are_cut_at_the_times(tmp_path, monkeypatch, block):
    """Nothing was told at 23 and 24 ms: the third frame begins at 25."""
    monkeypatch.setattr(petlink, "_BLOCK", block)
    path = write(tmp_path)
    whole = read_list_mode(path)
    for edges in ([0, 25.5, 26], [19, 22], [23, 24, 25, 30], [26, 30]):
        for low, frame in zip(edges, iter_list_mode_frames(path, edges), strict=False):
            high = edges[edges.index(low) + 1]
            np.testing.assert_array_equal(frame.time, whole.time[(whole.time >= low) & (whole.time < high)])
    frames = list(iter_list_mode_frames(path, [20, 21, 24, 100, 200]))
    np.testing.assert_array_equal(frames[0].address, [5, 7])
    np.testing.assert_array_equal(frames[0].tags, [MOTION])
    np.testing.assert_array_equal(frames[1].address, [5, 0])
    np.testing.assert_array_equal(frames[1].time, [22, 22])
    np.testing.assert_array_equal(frames[2].address, [BINS * VIEWS * PLANES - 1])
    assert len(frames[3]) == 0


@pytest.mark.parametrize("edges", [[0], [5, 5], [3, 2], [[1, 2], [3, 4]]])
def test_edges_that_do_not_ascend_are_refused(tmp_path, edges):
    with pytest.raises(ValueError, match="edges"):
        iter_list_mode_frames(write(tmp_path), edges)


# ---- bins


def test_addresses_count_bins_then_views_then_planes(tmp_path):
    events = read_list_mode(write(tmp_path))
    view, plane, bin_ = events.indices()
    np.testing.assert_array_equal(bin_ + BINS * (view + VIEWS * plane), events.address)
    assert (view[-1], plane[-1], bin_[-1]) == (VIEWS - 1, PLANES - 1, BINS - 1)
    assert (view[2], plane[2], bin_[2]) == (1, 0, 1)


def test_addresses_without_a_bin_are_refused():
    sinogram = SinogramHeader(VIEWS, BINS, (3,), (0,), (0,))
    with pytest.raises(ValueError, match="address: 72 is beyond the 72 bins"):
        bin_indices(np.array([72], np.uint32), sinogram)
    assert bin_indices(np.zeros(0, np.uint32), sinogram).view.shape == (0,)


def test_histograms_count_every_event_in_its_bin(tmp_path, monkeypatch):
    monkeypatch.setattr(petlink, "_BLOCK", 4)
    rng = np.random.default_rng(0)
    addresses = rng.integers(0, BINS * VIEWS * PLANES, 500)
    is_prompt = rng.random(500) < 0.7
    words = np.where(is_prompt, addresses | 1 << 30, addresses)
    path = write(tmp_path, [time(0), *words[:200], time(1), *words[200:]])
    expected = np.zeros((2, PLANES, VIEWS, BINS), int)
    np.add.at(expected.reshape(2, -1), ((~is_prompt).astype(int), addresses), 1)
    counts = np.stack(histogram_list_mode(path))
    assert counts.shape == (2, VIEWS, PLANES, BINS)
    np.testing.assert_array_equal(counts, expected.swapaxes(1, 2))

    first = np.stack(histogram_list_mode(path, frame=(0, 1)))
    np.testing.assert_array_equal(first.sum(axis=(1, 2, 3)), [is_prompt[:200].sum(), (~is_prompt[:200]).sum()])

    rings = read_list_mode_header(tmp_path / "x.l.hdr").sinogram.ring_pairs()
    rebinned = np.stack(histogram_list_mode(path, planes=rings.sum(axis=1)))
    assert rebinned.shape == (2, VIEWS, 2 * RINGS - 1, BINS)
    for plane in range(2 * RINGS - 1):
        np.testing.assert_array_equal(rebinned[:, :, plane], counts[:, :, rings.sum(axis=1) == plane].sum(axis=2))

    direct = np.where(rings[:, 0] == rings[:, 1], rings[:, 0], -1)
    np.testing.assert_array_equal(np.stack(histogram_list_mode(path, planes=direct)), counts[:, :, :RINGS])


@pytest.mark.parametrize("planes", [[0, 1], np.full(PLANES, -1), np.zeros(PLANES)])
def test_planes_that_do_not_fit_are_refused(tmp_path, planes):
    with pytest.raises(ValueError, match="planes: expected 7 integers"):
        histogram_list_mode(write(tmp_path), planes=planes)


# ---- headers


def test_a_header_has_its_units_and_its_planes(tmp_path):
    header = read_list_mode_header(write(tmp_path).with_name("x.l.hdr"))
    sinogram = header.sinogram
    assert header.data == tmp_path / "x.l"
    assert (header.duration, header.num_words, header.tag_interval) == (900, 1000, 1)
    assert sinogram.shape == (VIEWS, PLANES, BINS)
    assert (sinogram.num_rings, sinogram.num_detectors) == (RINGS, 2 * VIEWS)
    assert sinogram.ring_radius == pytest.approx(328)
    assert sinogram.ring_spacing == pytest.approx(4.0625)
    assert sinogram.bin_size == pytest.approx(2.0445)
    assert sinogram.keys["%axial compression"] == "1"
    # Segments 0, -1, +1: the end's ring less the start's.
    rings = [[0, 0], [1, 1], [2, 2], [1, 0], [2, 1], [0, 1], [1, 2]]
    np.testing.assert_array_equal(sinogram.ring_pairs(), rings)


def test_axial_compression_of_11_gives_the_segments_of_the_table(tmp_path):
    changes = {
        "number of rings": 64,
        "%maximum ring difference": 60,
        "%axial compression": 11,
        "%segment table": "{127,115, 115, 93, 93 ,71, 71, 49, 49, 27, 27}",
    }
    header = read_list_mode_header(write(tmp_path, **changes).with_name("x.l.hdr")).sinogram
    assert header.num_planes == 837
    assert header.min_ring_difference[:5] == (-5, -16, 6, -27, 17)
    assert header.max_ring_difference[:5] == (5, -6, 16, -17, 27)
    with pytest.raises(ValueError, match="segment table"):
        read_list_mode_header(write(tmp_path, **{**changes, "%segment table": "{127, 115}"}).with_name("x.l.hdr"))


def test_a_header_reads_its_file_and_a_file_finds_its_header(tmp_path):
    path = write(tmp_path, **{"name of data file": "C:\\console\\scans\\x.l"})
    found = read_list_mode(path)
    assert found.header.sinogram.shape == (VIEWS, PLANES, BINS)
    assert_same(read_list_mode(tmp_path / "x.l.hdr"), found)
    (tmp_path / "y.l.hdr.STIR").write_text(header_text(**{"%number of views": 2}))
    with pytest.raises(ValueError, match="2 headers"):
        read_list_mode(path)
    other = read_list_mode(path, header=tmp_path / "y.l.hdr.STIR")
    assert other.header.sinogram.num_views == 2


def test_words_are_read_without_a_header_and_their_bins_are_not(tmp_path):
    path = write(tmp_path)
    (tmp_path / "x.l.hdr").unlink()
    events = read_list_mode(path)
    assert (events.num_prompts, events.header) == (4, None)
    with pytest.raises(ValueError, match="header"):
        events.indices()
    with pytest.raises(ValueError, match=r"x\.l: no header"):
        histogram_list_mode(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.l"):
        read_list_mode(tmp_path / "nothing.l")
    write(tmp_path).unlink()
    with pytest.raises(FileNotFoundError, match=r"x\.l\.hdr: name of data file"):
        read_list_mode(tmp_path / "x.l.hdr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"%number of views": None}, r"x\.l\.hdr: number of views: missing"),
        ({"%LM event and tag words format (bits)": 64}, "expected 32, got 64"),
        ({"%maximum ring difference": RINGS}, "do not fit together"),
        ({"%axial compression": 2}, "do not fit together"),
        ({"%number of projections": 0}, "num_bins"),
    ],
)
def test_headers_that_cannot_be_used_are_named(tmp_path, change, message):
    path = write(tmp_path, **change)
    with pytest.raises(ValueError, match=message):
        read_list_mode_header(path.with_name("x.l.hdr"))


def test_a_file_and_its_header_are_recognised(tmp_path):
    path = write(tmp_path)
    assert pet_file_kind(path) == pet_file_kind(tmp_path / "x.l.hdr") == "list_mode"
    (tmp_path / "y.l").write_bytes(b"no header names this")
    assert pet_file_kind(tmp_path / "y.l") is None
    with pytest.raises(FileNotFoundError, match="nothing"):
        pet_file_kind(tmp_path / "nothing.l")


# ---- the same bins in jaxct.pet

MMR = {"number of rings": 64, "%maximum ring difference": 60, "%number of projections": 344, "%number of views": 252}


@pytest.mark.parametrize("span", [1, 11])
def test_bins_are_those_of_a_layout_of_the_scanner(tmp_path, span):
    """Projections of a list-mode file go with the lines of response that the layout of its scanner has."""
    path = write(tmp_path, **MMR, **{"%axial compression": span})
    header = read_list_mode_header(path.with_name("x.l.hdr")).sinogram
    crystals = Scanner.cylindrical(
        radius=328.0, num_crystals=504, rings=equal_rings(64, 4.0625), crystal_size=(4.0, 4.0)
    )
    layout = SinogramLayout(crystals, num_bins=344, span=span, max_ring_difference=60)
    assert layout.shape == header.shape
    segments = [(s.min_difference, s.max_difference, s.num_planes) for s in layout.segments]
    found = zip(header.min_ring_difference, header.max_ring_difference, header.planes_per_segment, strict=True)
    assert list(found) == segments
    np.testing.assert_allclose(layout.planes.mean(axis=1), header.planes().mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(layout.angles, header.angles(), atol=1e-6)
    # Bins an even number off the middle lie at the view's own angle.
    np.testing.assert_allclose(layout.lines[:, ::2], header.lines()[:, ::2], atol=1e-3)
    if span == 1:
        np.testing.assert_array_equal(layout.ring_pairs[:, 0], header.ring_pairs())
        np.testing.assert_allclose(layout.planes, header.planes(), atol=1e-4)


# ---- the measured scan


@pytest.fixture(scope="module")
def measured():
    return read_list_mode(data_path("pet_mmr_listmode/small_listmode_file.l"))


def test_measured_words_are_counted(measured):
    assert (measured.num_prompts, measured.num_delayeds, measured.num_time_tags) == (218_881, 35_320, 613)
    assert measured.num_words == 254_816 < measured.header.num_words
    assert (measured.time[0], measured.time[-1]) == (0, 612)
    np.testing.assert_array_equal(np.unique(np.diff(measured.time.astype(int))), [0, 1])
    assert len(measured.tags) == 2


def test_measured_events_fill_the_scanner(measured):
    sinogram = measured.header.sinogram
    assert sinogram.shape == (252, 4084, 344)
    view, plane, bin_ = measured.indices()
    assert (view.max(), plane.max(), bin_.max()) == (251, 4083, 343)
    # A head in the middle: three fifths of the prompts lie in the middle third of the bins; randoms are spread wide.
    middle = np.abs(bin_ - 172) < 344 / 6
    assert middle[measured.is_prompt].mean() > middle[~measured.is_prompt].mean() + 0.1


def test_measured_frames_have_all_events(measured):
    path = data_path("pet_mmr_listmode/small_listmode_file.l")
    frames = list(iter_list_mode_frames(path, [0, 100, 400, 613]))
    assert sum(map(len, frames)) == len(measured)
    assert [(f.time[0], f.time[-1]) for f in frames] == [(0, 99), (100, 399), (400, 612)]
    rings = dataclasses.replace(measured.header.sinogram).ring_pairs().sum(axis=1)
    prompts, delayeds = histogram_list_mode(path, planes=rings)
    assert prompts.shape == (252, 127, 344)
    assert (prompts.sum(), delayeds.sum()) == (218_881, 35_320)
