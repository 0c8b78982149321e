"""PETSIRD files, written by the initiative's own package, come back as crystals, coincidences and efficiencies."""

import numpy as np
import pytest

from jaxct import VolumeGrid, forward_project
from jaxct.geometry.lors import TOF, ListMode
from jaxct.io import iter_petsird, pet_file_kind, read_petsird, read_petsird_scanner
from jaxct.io.petsird import PetsirdEvents, PetsirdMovement

petsird = pytest.importorskip("petsird")
helpers = pytest.importorskip("petsird.helpers")
geometry = pytest.importorskip("petsird.helpers.geometry")

# Two types of modules: 4 modules of 2 x 3 crystals and 2 energy bins, and 2 modules of one crystal.
MODULES, ELEMENTS, ENERGIES = (4, 2), (6, 1), (2, 1)
PAIRS = ((0, 0), (1, 0), (1, 1))
EDGES = {(0, 0): np.linspace(-120, 120, 7), (1, 0): np.array([-300.0, 300]), (1, 1): np.array([-100.0, -20, 20, 100])}


def matrix(rotation=0.0, shift=(0.0, 0.0, 0.0)):
    c, s = np.cos(rotation), np.sin(rotation)
    rows = np.array([[c, -s, 0, shift[0]], [s, c, 0, shift[1]], [0, 0, 1, shift[2]]], np.float32)
    return petsird.RigidTransformation(matrix=rows)


def module(size, places):
    """Boxes with a corner in the origin, moved to the places (x, y, z)."""
    corners = [np.array([x, y, z], np.float32) * size for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    box = petsird.BoxShape(corners=[petsird.Coordinate(c=c.astype(np.float32)) for c in corners])
    elements = petsird.ReplicatedBoxSolidVolume(object=petsird.BoxSolidVolume(shape=box, material_id=1))
    elements.transforms.extend(matrix(shift=place) for place in places)
    return petsird.DetectorModule(detecting_elements=elements)


def scanner(with_efficiencies=True):
    first = [(300, 4.0 * t, 5.0 * a) for t in range(2) for a in range(3)]
    kinds = [
        petsird.ReplicatedDetectorModule(
            object=module(np.array([20, 4, 5]), first), transforms=[matrix(0.3 + k * np.pi / 2) for k in range(4)]
        ),
        petsird.ReplicatedDetectorModule(
            object=module(np.array([10, 2, 2]), [(100, 0, 0)]),
            transforms=[matrix(np.pi * k, (0, 0, 7)) for k in range(2)],
        ),
    ]
    made = petsird.ScannerInformation(
        model_name="small", scanner_geometry=petsird.ScannerGeometry(replicated_modules=kinds)
    )
    made.tof_bin_edges = [
        [petsird.BinEdges(edges=EDGES[0, 0].astype(np.float32))],
        [petsird.BinEdges(edges=EDGES[1, k].astype(np.float32)) for k in range(2)],
    ]
    made.tof_resolution = [[58.0], [1000.0, 40.0]]
    made.event_energy_bin_edges = [
        petsird.BinEdges(edges=np.linspace(430, 650, n + 1, dtype=np.float32)) for n in ENERGIES
    ]
    made.energy_resolution_at_511 = [0.1, 0.2]
    made.prompt_event_policy = made.delayed_event_policy = petsird.CoincidencePolicy.REJECT_HIGHER_MULTIPLES
    if with_efficiencies:
        made.detection_efficiencies = efficiencies()
    return made


def efficiencies():
    """Random ones; modules of the first type are in coincidence unless they are the same."""
    rng = np.random.default_rng(0)
    made = petsird.DetectionEfficiencies(calibration_factor=3.0)
    made.detection_bin_efficiencies = [
        rng.uniform(0.5, 1, m * e * n).tolist() for m, e, n in zip(MODULES, ELEMENTS, ENERGIES, strict=True)
    ]
    bins = [e * n for e, n in zip(ELEMENTS, ENERGIES, strict=True)]
    tables, vectors = [], []
    for first in range(2):
        tables.append([])
        vectors.append([])
        for second in range(first + 1):
            rows = [range(m + 1 if first == second else MODULES[second]) for m in range(MODULES[first])]
            table = [[-1 if first == second and m == k else (m + k) % 3 for k in row] for m, row in enumerate(rows)]
            tables[-1].append(table)
            values = rng.uniform(0.5, 1, (4, bins[first], bins[second])).tolist()
            vectors[-1].append([petsird.ModulePairEfficiencies(values=v, sgid=g) for g, v in enumerate(values)])
    made.module_pair_sgidlut, made.module_pair_efficiencies_vectors = tables, vectors
    return made


def coincidences(rng, count):
    """Lists for the pairs of types; the first detection bin is not below the second where the types are the same."""
    bins = [m * e * n for m, e, n in zip(MODULES, ELEMENTS, ENERGIES, strict=True)]

    def one(first, second):
        a, b = (int(rng.integers(bins[k])) for k in (first, second))
        a, b = (max(a, b), min(a, b)) if first == second else (a, b)
        tof = int(rng.integers(len(EDGES[first, second]) - 1))
        return petsird.CoincidenceEvent(detection_bins=[a, b], tof_idx=tof)

    return [[[one(first, second) for _ in range(count)] for second in range(first + 1)] for first in range(2)]


def blocks():
    rng = np.random.default_rng(1)
    interval = [petsird.TimeInterval(start=10 * k, stop=10 * k + 10) for k in range(3)]
    return [
        petsird.TimeBlock.BedMovementTimeBlock(
            petsird.BedMovementTimeBlock(time_interval=interval[0], transform=matrix(0.2, (1.0, 2.0, 3.0)))
        ),
        petsird.TimeBlock.EventTimeBlock(
            petsird.EventTimeBlock(
                time_interval=interval[0], prompt_events=coincidences(rng, 9), delayed_events=coincidences(rng, 2)
            )
        ),
        petsird.TimeBlock.ExternalSignalTimeBlock(petsird.ExternalSignalTimeBlock(time_interval=interval[1])),
        petsird.TimeBlock.GantryMovementTimeBlock(
            petsird.GantryMovementTimeBlock(time_interval=interval[1], transforms=[matrix(), matrix(shift=(0, 0, 5))])
        ),
        petsird.TimeBlock.EventTimeBlock(
            petsird.EventTimeBlock(time_interval=interval[2], prompt_events=coincidences(rng, 5))
        ),
    ]


def write(path, made=None, content=None, writer="BinaryPETSIRDWriter"):
    with getattr(petsird, writer)(str(path)) as file:
        file.write_header(petsird.Header(scanner=scanner() if made is None else made))
        file.write_time_blocks(blocks() if content is None else content)
    return path


def stored_events():
    """Every coincidence of the file with its types, kind and time, in the order that they are read in."""
    for block in blocks():
        if isinstance(block, petsird.TimeBlock.EventTimeBlock):
            for is_prompt, lists in ((True, block.value.prompt_events), (False, block.value.delayed_events)):
                for first, row in enumerate(lists):
                    for second, events in enumerate(row):
                        for event in events:
                            yield event, (first, second), is_prompt, block.value.time_interval.start


@pytest.mark.parametrize("writer", ["BinaryPETSIRDWriter", "NDJsonPETSIRDWriter"])
def test_events_come_back_as_crystals_bins_and_times(tmp_path, writer):
    read, events, _ = read_petsird(write(tmp_path / "x.petsird", writer=writer))
    stored = list(stored_events())
    assert len(events) == len(stored) == 3 * (9 + 2 + 5)
    offset = (0, MODULES[0] * ELEMENTS[0])
    for k, (event, kinds, is_prompt, time) in enumerate(stored):
        for side, found in enumerate((events.start, events.end)):
            number = event.detection_bins[side]
            assert found[k] == offset[kinds[side]] + number // ENERGIES[kinds[side]]
            assert events.energy_bins[k, side] == number % ENERGIES[kinds[side]]
            assert read.module_type[found[k]] == kinds[side]
        assert (events.tof_bin[k], events.is_prompt[k], events.time[k]) == (event.tof_idx, is_prompt, time)


@pytest.mark.parametrize("writer", ["BinaryPETSIRDWriter", "NDJsonPETSIRDWriter"])
def test_files_are_recognised(tmp_path, writer):
    assert pet_file_kind(write(tmp_path / "x.any", content=[], writer=writer)) == "petsird"


def test_crystals_lie_where_petsird_puts_its_boxes(tmp_path):
    read = read_petsird_scanner(write(tmp_path / "x.petsird"))
    assert read.name == "small"
    assert read.crystals.shape == (26, 3)
    np.testing.assert_array_equal(read.module, [*np.repeat(np.arange(4), 6), 4, 5])
    made = scanner()
    for number in range(26):
        kind = int(number >= 24)
        bin_ = petsird.ExpandedDetectionBin(
            module_index=(number - 24 * kind) // ELEMENTS[kind],
            element_index=number % ELEMENTS[kind],
            energy_index=0,
        )
        box = geometry.get_detecting_box(made, kind, bin_)
        np.testing.assert_allclose(read.crystals[number], np.mean([c.c for c in box.corners], axis=0)[::-1], atol=1e-3)


def test_efficiencies_are_those_of_petsird(tmp_path):
    _, events, _ = read_petsird(write(tmp_path / "x.petsird"))
    made = scanner()
    expected = [
        helpers.get_detection_efficiency(made, petsird.TypeOfModulePair(kinds), event)
        for event, kinds, _, _ in stored_events()
    ]
    np.testing.assert_allclose(events.efficiency, expected, rtol=1e-6)
    assert 0 < np.count_nonzero(events.efficiency == 0) < len(events)


def test_without_efficiencies_they_are_one(tmp_path):
    read, events, _ = read_petsird(write(tmp_path / "x.petsird", scanner(with_efficiencies=False)))
    assert read.efficiencies is None
    np.testing.assert_array_equal(events.efficiency, 1)


def test_time_of_flight_is_that_of_the_pair_of_types(tmp_path):
    read = read_petsird_scanner(write(tmp_path / "x.petsird"))
    tof = read.tof()
    assert tof.num_bins == 6
    assert tof.bin_width == pytest.approx(40)
    assert tof.center_offset == pytest.approx(0)
    assert tof.sigma == pytest.approx(58 / 2.354820045)
    assert read.tof(1, 0) is None
    assert read.tof(0, 1) is None
    with pytest.raises(ValueError, match=r"types \(1, 1\) are 40 to 80 mm wide"):
        read.tof(1, 1)
    with pytest.raises(ValueError, match="no modules of types 2 and 0"):
        read.tof(2)


def test_an_event_is_seen_on_the_side_of_the_crystal_reached_first(tmp_path):
    """PETSIRD stores (t1 - t2) c/2, negative where the first crystal was reached first: bin 1 is centred at -60 mm."""
    read = read_petsird_scanner(write(tmp_path / "x.petsird"))
    start, end = np.repeat(read.crystals[12:13], 6, axis=0), np.repeat(read.crystals[0:1], 6, axis=0)
    lors = ListMode(start, end, np.arange(6), TOF(**read.tof()._asdict()))
    middle, along = (start[0] + end[0]) / 2, (end[0] - start[0]) / np.linalg.norm(end[0] - start[0])
    grid = VolumeGrid((3, 3, 3), voxel_size=5.0, center=middle - 60 * along)
    seen = np.asarray(forward_project(np.ones(grid.shape), lors, grid, model="joseph"))
    assert seen.argmax() == 1
    np.testing.assert_allclose(seen[0], seen[2], rtol=1e-3)
    assert seen[5] < 0.01 * seen[1]


def test_movements_are_told_in_the_order_of_jaxct_s_axes(tmp_path):
    bed, gantry = read_petsird(write(tmp_path / "x.petsird")).movements
    assert (bed.what, bed.start, bed.stop) == ("bed", 0, 10)
    assert (gantry.what, gantry.start, gantry.stop) == ("gantry", 10, 20)
    assert bed.transforms.shape == (1, 4, 4)
    point = np.array([4.0, 5.0, 6.0])  # (x, y, z)
    moved = matrix(0.2, (1.0, 2.0, 3.0)).matrix @ [*point, 1]
    np.testing.assert_allclose(bed.transforms[0] @ [*point[::-1], 1], [*moved[::-1], 1], rtol=1e-6)
    np.testing.assert_allclose(gantry.transforms[1] @ [1, 2, 3, 1], [6, 2, 3, 1])


def test_blocks_join_to_the_whole(tmp_path):
    path = write(tmp_path / "x.petsird")
    whole = read_petsird(path).events
    found = list(iter_petsird(path))
    assert [type(b) for b in found] == [PetsirdMovement, PetsirdEvents, PetsirdMovement, PetsirdEvents]
    np.testing.assert_array_equal(np.concatenate([found[1].start, found[3].start]), whole.start)
    np.testing.assert_array_equal(np.concatenate([found[1].efficiency, found[3].efficiency]), whole.efficiency)


def test_a_file_without_events_has_none(tmp_path):
    scan = read_petsird(write(tmp_path / "x.petsird", content=[]))
    assert len(scan.events) == 0
    assert scan.movements == ()
    assert scan.events.energy_bins.shape == (0, 2)


def test_detection_bins_that_are_not_there_are_refused(tmp_path):
    event = petsird.CoincidenceEvent(detection_bins=[48, 0], tof_idx=0)
    block = petsird.EventTimeBlock(time_interval=petsird.TimeInterval(), prompt_events=[[[event]]])
    path = write(tmp_path / "x.petsird", content=[petsird.TimeBlock.EventTimeBlock(block)])
    with pytest.raises(ValueError, match=r"x\.petsird: detection bin 48, but modules of type 0 have 48"):
        read_petsird(path)


@pytest.mark.parametrize("kept", [0.98, 0.5])
def test_a_file_that_was_cut_is_refused(tmp_path, kept):
    path = write(tmp_path / "x.petsird")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"x\.petsird: (cannot be read to its end|not PETSIRD)"):
        read_petsird(path)


@pytest.mark.parametrize(
    "content", [b"", b"not a scan", b"\x89HDF\r\n\x1a\n...", b"yardl\1\0\0\0rubbish", b'{"a": 1}\n', b'{"yardl": 1}']
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.bin: not PETSIRD"):
        read_petsird_scanner(tmp_path / "x.bin")
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_petsird(tmp_path / "nothing.bin")


def test_numbers_of_efficiencies_that_do_not_fit_are_refused(tmp_path):
    made = scanner()
    made.detection_efficiencies.detection_bin_efficiencies[0].pop()
    with pytest.raises(ValueError, match="detection_bin_efficiencies: 47 for the 48"):
        read_petsird_scanner(write(tmp_path / "x.petsird", made))
