"""A radiologist's viewer shows our results: OHIF's published build in a browser over a real PACS's DICOMweb."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dicom_node.results.encoders import encode_all
from pipeline.report import Segmentation
from tests.ohif import Viewer, dist, ohif_server, viewer
from tests.orthanc import OrthancServer
from tests.phantom_results import STAMP, Case, phantom_case

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KINDS = ("SEG", "SEG-REGIONS", "SR-VIEWER")
#: Axis of the grid across each plane of an axial series.
ACROSS = {"axial": 2, "sagittal": 0}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return phantom_case(tmp_path_factory.mktemp("study"), 3)


@pytest.fixture(scope="module")
def page(
    case: Case, tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]
) -> Iterator[tuple[Viewer, str]]:
    """A browser, and the viewer's address; the PACS holds the T1CE, both SEGs and the viewer SR."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    build = dist()
    if build is None:
        reason = "OHIF's build was not fetched: run tests/install-peers.sh with npm"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("pacs")
    files = []
    for made in encode_all(case.report, case.evidence, STAMP, KINDS):
        files.append(folder / f"{made.kind}.dcm")
        files[-1].write_bytes(made.to_bytes())
    with OrthancServer(debian_tool("Orthanc"), folder) as pacs:
        pacs.store([*case.paths, *files])
        with (
            ohif_server(build, f"http://127.0.0.1:{pacs.http_port}") as root,
            viewer(debian_tool("chromium")) as opened,
        ):
            yield opened, root


def labels_of(case: Case) -> np.ndarray:
    assert isinstance(case.report.segmentation, Segmentation)
    return case.report.segmentation.labels


def check_overlay(opened: Viewer, case: Case, plane: str, picture_to: Path) -> None:
    """On the slice with most tumour: inside it the picture is coloured, outside it is grey."""
    labels, grid, across = labels_of(case), case.evidence.reference.grid, ACROSS[plane]
    others = tuple(axis for axis in range(3) if axis != across)
    index = int((labels > 0).sum(axis=others).argmax())
    marked = np.take(labels, index, axis=across) > 0
    inside = eroded(marked)
    outside = eroded(~marked)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine

    def points(mask: np.ndarray) -> list[list[float]]:
        voxels = np.insert(np.argwhere(mask).astype(float), across, index, axis=1)
        return (voxels @ lps[:3, :3].T + lps[:3, 3]).tolist()

    opened.show(plane, points(marked)[0])
    picture = opened.picture(picture_to)
    shares = {}
    for name, mask in (("inside", inside), ("outside", outside)):
        where = np.round(opened.places(plane, points(mask))).astype(int)
        seen = (where >= 0).all(axis=1) & (where[:, 0] < picture.shape[1]) & (where[:, 1] < picture.shape[0])
        colours = picture[where[seen, 1], where[seen, 0]]
        # The images are grey to the last bit; the palest of our colours, that of necrosis, tints them by some ten.
        shares[name] = float((np.ptp(colours, axis=1) > 4).mean())
    assert inside.sum() >= 20
    assert shares["inside"] > 0.9, shares
    assert shares["outside"] < 0.05, shares


def eroded(mask: np.ndarray) -> np.ndarray:
    """Without the rim of one pixel, where the picture blends."""
    inner = mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(mask, step, axis)
    return inner


@pytest.mark.parametrize(
    ("series", "labels"),
    [
        ("BTN Tumor segmentation", ["Necrotic tumor core (NCR)", "Edema (ED)", "Enhancing tumor (ET)"]),
        ("BTN Tumor regions", ["Whole tumor (WT)", "Tumor core (TC)"]),
    ],
    ids=["compartments", "regions"],
)
def test_a_seg_is_drawn_where_the_tumour_is(
    page: tuple[Viewer, str], case: Case, series: str, labels: list[str], tmp_path: Path
) -> None:
    opened, root = page
    opened.open(root, case.evidence.reference.study_instance_uid, mpr=True)
    opened.load(series)
    assert opened.segment_labels() == labels
    for plane in ACROSS:
        check_overlay(opened, case, plane, tmp_path / f"{plane}.png")


def test_the_viewer_srs_measurements_are_listed(page: tuple[Viewer, str], case: Case) -> None:
    opened, root = page
    opened.open(root, case.evidence.reference.study_instance_uid, mpr=False)
    opened.load("BTN Tumor diameters")
    found = opened.measurements()
    drawn = [lesion for lesion in case.report.lesions if lesion.longest is not None]
    assert len(found) == len(drawn)
    assert {one["tool"] for one in found} == {"Bidirectional"}
    listed = " ".join(str(one["text"]) for one in found)
    for lesion in drawn:
        assert lesion.longest is not None
        assert f"{lesion.longest.length_mm:.1f}" in listed, listed
