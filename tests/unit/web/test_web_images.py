from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from pipeline.nifti import greys_bytes, save_labels, save_volume
from pipeline.overlay import Plane
from pipeline.report import ModelIdentity, Segmentation
from pipeline.volume import Grid, Volume
from storage.lifecycle import ScanEvent
from storage.reviews import ReviewRepository
from storage.vocabulary import ReviewVerdict, RunState
from web.images import NoImages, SliceRenderer, load_run_images


def pixels(answer: Any) -> np.ndarray[Any, Any]:
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)


def test_images_and_files_are_those_of_the_run_whose_results_are_shown(node: Any, client: TestClient) -> None:
    """A run that a radiologist rejected stands again after the role override that led to another was taken back."""
    scan, headers = node.finished(), node.bearer(client)
    ReviewRepository(node.database, node.clock).add(f"{scan.id}-1", ReviewVerdict.REJECTED, reviewer="ada")
    for event in (ScanEvent.FAIL, ScanEvent.RETRY):
        node.scans.apply_event(scan.id, event)
    node.clock.forward(minutes=5)
    second = node.scans.start_run(scan.id, ["1.2.3.1.2"])
    assert client.get(f"/api/scans/{scan.id}/images", headers=headers).status_code == 200  # the first one's meanwhile
    node.scans.finish_run(second.id, RunState.DONE)
    assert client.get(f"/api/scans/{scan.id}/images", headers=headers).status_code == 404
    for event in (ScanEvent.FAIL, ScanEvent.RETRY):
        node.scans.apply_event(scan.id, event)
    node.scans.start_run(scan.id, ["1.2.3.1.1"])
    assert client.get(f"/api/scans/{scan.id}/images", headers=headers).status_code == 200
    assert "segmentation.nii.gz" in str(client.get(f"/api/scans/{scan.id}", headers=headers).json()["downloads"])


def test_slices_come_as_png_with_and_without_the_overlay(node: Any, client: TestClient) -> None:
    doctor = node.bearer(client)
    scan = node.finished()
    plain = pixels(client.get(f"/api/scans/{scan.id}/slice/5", headers=doctor))
    shown = pixels(client.get(f"/api/scans/{scan.id}/segmentation/5", params={"opacity": 1}, headers=doctor))
    hidden = pixels(client.get(f"/api/scans/{scan.id}/segmentation/5", params={"opacity": 0}, headers=doctor))
    assert plain.shape == (6, 4, 3)
    assert np.array_equal(plain, hidden)
    assert (plain[..., 0] == plain[..., 2]).all()
    assert np.count_nonzero(shown[..., 0] != shown[..., 2]) == 4
    sagittal = pixels(client.get(f"/api/scans/{scan.id}/slice/1", params={"axis": "sagittal"}, headers=doctor))
    assert sagittal.shape == (8, 6, 3)


def test_the_viewer_learns_counts_and_where_the_tumour_is(node: Any, client: TestClient) -> None:
    scan = node.finished()
    found = client.get(f"/api/scans/{scan.id}/images", headers=node.bearer(client)).json()
    assert found["hasSegmentation"] is True
    assert {one["axis"]: (one["count"], one["start"]) for one in found["axes"]} == {
        "axial": (8, 5),
        "coronal": (6, 2),
        "sagittal": (4, 1),
    }


@pytest.mark.parametrize("flip", [1, -1])
def test_the_first_slice_shows_the_tumour_whichever_way_the_grid_runs(tmp_path: Path, flip: int) -> None:
    grid = Grid(shape=(3, 3, 9), affine=np.diag([1.0, 1.0, flip, 1.0]))
    labels = np.zeros(grid.shape, np.uint8)
    labels[1, 1, 7] = 1
    model = ModelIdentity(name="m", version="1", task="segmentation", weights_sha256="0" * 64)
    save_volume(tmp_path / "reference.nii.gz", Volume(voxels=labels.astype(np.float32), grid=grid))
    save_labels(tmp_path / "segmentation.nii.gz", Segmentation(labels=labels, grid=grid, model=model))
    renderer = SliceRenderer()
    axial = next(one for one in renderer.planes(tmp_path).planes if one.plane is Plane.AXIAL)
    picture = np.asarray(Image.open(io.BytesIO(renderer.png(tmp_path, Plane.AXIAL, axial.start, 1.0))))
    assert picture[1, 1, 0] != picture[1, 1, 1]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("slice/8", 404),
        ("slice/-1", 422),
        ("slice/99999999999999999999", 422),
        ("slice/1?axis=oblique", 422),
        ("segmentation/1?opacity=nan", 422),
        ("segmentation/1?opacity=2", 422),
        ("download/../report.json", 404),
        ("download/..%2f..%2fnode.sqlite", 404),
        ("download/seg.dcm", 404),
        ("download/node.sqlite", 404),
        ("download/report.json%00", 404),
    ],
)
def test_what_is_not_there_is_told_as_a_problem(node: Any, client: TestClient, path: str, status: int) -> None:
    scan = node.finished()
    answer = client.get(f"/api/scans/{scan.id}/{path}", headers=node.bearer(client))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_download_is_the_file_named_by_the_scan_and_is_audited(node: Any, client: TestClient) -> None:
    scan = node.finished()
    folder = node.files.run_folder(f"{scan.id}-1")
    (folder / "seg.dcm").write_bytes(b"dicom")
    doctor = node.bearer(client)
    answer = client.get(f"/api/scans/{scan.id}/download/seg.dcm", headers=doctor)
    assert (answer.content, answer.headers["content-type"]) == (b"dicom", "application/dicom")
    assert answer.headers["content-disposition"] == f'attachment; filename="{scan.id}-seg.dcm"'
    assert answer.headers["cache-control"] == "no-store"
    client.get(f"/api/scans/{scan.id}/download/sr.dcm", headers=doctor)
    (folder / "sr.dcm").symlink_to("/etc/hostname")
    assert client.get(f"/api/scans/{scan.id}/download/sr.dcm", headers=doctor).status_code == 404
    outcomes = [(event["key"], event["outcome"]) for event in node.events("audit.download")]
    assert outcomes == [("seg.dcm", "success"), ("sr.dcm", "failure"), ("sr.dcm", "failure")]


def test_a_scan_without_a_finished_run_has_no_images(node: Any, client: TestClient) -> None:
    scan = node.study()
    for path in ("slice/0", "images", "download/report.json"):
        assert client.get(f"/api/scans/{scan.id}/{path}", headers=node.bearer(client)).status_code == 404


def test_a_damaged_reference_is_told(tmp_path: Path) -> None:
    (tmp_path / "reference.nii.gz").write_bytes(b"no image")
    with pytest.raises(NoImages):
        load_run_images(tmp_path)


def test_a_series_laid_on_the_reference_is_shown_once_it_is_there(node: Any, client: TestClient) -> None:
    doctor, scan = node.bearer(client), node.finished()
    base = f"/api/scans/{scan.id}"
    found = client.get(f"{base}/images", headers=doctor).json()
    assert (found["series"], found["referenceSeries"], found["hasBrain"]) == (["T1"], "T1", False)
    assert client.get(f"{base}/slice/5?series=FLAIR", headers=doctor).status_code == 404
    assert client.get(f"{base}/volume/FLAIR", headers=doctor).status_code == 404
    assert client.get(f"{base}/volume/report.json", headers=doctor).status_code == 422
    (run,) = node.scans.runs_of(scan.id)
    folder = node.files.run_folder(run.id)
    greys = np.zeros((4, 6, 8), np.uint8)
    greys[0, 0, 5] = 255
    grid = Grid(shape=greys.shape, affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    for name in ("flair", "brain"):
        (folder / f"view-{name}.nii.gz").write_bytes(greys_bytes(greys, grid))
    found = client.get(f"{base}/images", headers=doctor).json()
    assert (found["series"], found["hasBrain"]) == (["T1", "FLAIR"], True)
    flair = pixels(client.get(f"{base}/slice/5?series=FLAIR", headers=doctor))
    # The voxel at the patient's left and back is at the picture's right and bottom.
    assert np.argwhere(flair[..., 0] > 200).tolist() == [[5, 3]]
    volume = client.get(f"{base}/volume/FLAIR", headers=doctor)
    assert volume.content == (folder / "view-flair.nii.gz").read_bytes()
    assert client.get(f"{base}/volume/T1", headers=doctor).content == (folder / "reference.nii.gz").read_bytes()
    assert client.get(f"{base}/volume/LABELS", headers=doctor).content == (folder / "segmentation.nii.gz").read_bytes()


def test_the_images_have_a_page_without_javascript(node: Any, browser: Any) -> None:
    client, scan = browser(node), node.finished()
    page = client.get(f"/scans/{scan.id}/images")
    assert f'src="/api/scans/{scan.id}/segmentation/5?axis=axial&amp;series=T1&amp;opacity=0.45"' in page.text
    chosen = client.get(f"/scans/{scan.id}/images?axial=900&opacity=0").text
    assert f"/api/scans/{scan.id}/segmentation/7?axis=axial&amp;series=T1&amp;opacity=0.0" in chosen
    assert client.get(f"/scans/{node.study(uid='9.9').id}/images").status_code == 404
