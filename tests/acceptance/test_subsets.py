"""Every subset of the four roles has a defined outcome, and real series convert or are refused by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.errors import SeriesRefused
from dicom_node.inbound.conversion import load_series
from dicom_node.offline import InputUnusable, analyse_folder
from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.write_dicom import WrittenSeries, write_study
from dicom_node.study import StudyIneligible
from pipeline.analysis import no_stage_progress
from pipeline.models.protocols import Models
from pipeline.registration import Registration, register_rigid
from pipeline.report import SkipCode
from pipeline.volume import REFERENCE_ORDER, SeriesRole, Volume
from tests.acceptance.truth_node import truth_models

SUBSETS = [frozenset(chosen) for size in range(1, 5) for chosen in combinations(SeriesRole, size)]


@pytest.fixture(scope="module")
def study() -> PhantomStudy:
    return make_study(21, "philips", size="small", clutter=False)


@pytest.fixture(scope="module")
def written(study: PhantomStudy, tmp_path_factory: pytest.TempPathFactory) -> list[WrittenSeries]:
    return write_study(tmp_path_factory.mktemp("study"), study)


@pytest.fixture(scope="module")
def found_once() -> Iterator[None]:
    """Each pair of series is registered once: the same pair gives the same transform, as registration's tests show."""
    known: dict[str, Registration] = {}

    def register(fixed: Volume, moving: Volume) -> Registration:
        parts = [part for volume in (fixed, moving) for part in (volume.voxels, volume.grid.affine)]
        key = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
        if key not in known:
            known[key] = register_rigid(fixed, moving)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.preparation.register_rigid", register)
        yield


@pytest.mark.usefixtures("found_once")
@pytest.mark.parametrize("roles", SUBSETS, ids=lambda roles: "+".join(sorted(roles)))
def test_a_subset_is_analysed_as_far_as_it_goes(
    roles: frozenset[SeriesRole], study: PhantomStudy, written: list[WrittenSeries], tmp_path: Path
) -> None:
    source = tmp_path / "in"
    for series in written:
        if series.role in roles:
            (source / series.series_instance_uid).mkdir(parents=True)
            for path in series.paths:
                (source / series.series_instance_uid / path.name).symlink_to(path)
    result = analyse_folder(source, tmp_path / "out", lambda: truth_models(study), "test", no_stage_progress)

    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(told["series_roles"]["missing"]) == {str(role) for role in SeriesRole if role not in roles}
    assert told["reference_role"] == next(role for role in REFERENCE_ORDER if role in roles)
    assert told["detection"]["value"] == "tumour"
    assert told["tumour_type"]["value"] == "glioma"
    files = {path.name for path in result.files}
    always = {"report.json", "report.html", "report.pdf", "sr.dcm"}
    if len(roles) == len(SeriesRole):
        segs = {"segmentation.nii.gz", "seg.dcm", "seg-regions.dcm", "sr-viewer.dcm"}
        assert files == {*always, *segs}
        assert not told["measurements"]["skipped"]
    else:
        assert files == always
        assert told["segmentation"]["code"] == SkipCode.ROLE_MISSING
        for role in set(SeriesRole) - roles:
            assert str(role) in told["segmentation"]["reason"]
        assert dcmread(tmp_path / "out" / "sr.dcm").CompletionFlag == "PARTIAL"


def never_asked() -> Models:
    raise AssertionError("no model is loaded for what cannot be analysed")


def test_the_empty_subset_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputUnusable, match="name a folder with one study"):
        analyse_folder(tmp_path / "in", tmp_path / "out", never_asked, "test", no_stage_progress)
    assert not (tmp_path / "out").exists()


def test_a_study_of_clutter_alone_is_ineligible_with_a_reason_for_each_series(tmp_path: Path) -> None:
    study = make_study(22, "siemens", size="small", roles=())
    series = write_study(tmp_path / "in", study)
    with pytest.raises(StudyIneligible) as refused:
        analyse_folder(tmp_path / "in", tmp_path / "out", never_asked, "test", no_stage_progress)
    assert all(one.series_instance_uid in str(refused.value) for one in series)


def test_the_real_enhanced_t1_converts(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "siemens_xa30_enhanced" / "5_anat-T1w_acq-tfl"
    converted = load_series(sorted(folder.glob("*.dcm")))
    assert min(converted.volume.grid.shape) > 20
    assert len(converted.sources) == converted.volume.grid.shape[2]


@pytest.mark.parametrize(
    ("folder", "code"),
    [("failing_slicecount", "TOO_FEW_SLICES"), ("failing_sliceorientation", "ORIENTATION_INCONSISTENT")],
)
def test_the_real_bad_series_are_refused_by_name(folder: str, code: str, shared_data: Path) -> None:
    paths = sorted((shared_data / "dicom" / "icometrix_noisepixels" / folder).glob("*.dcm"))
    with pytest.raises(SeriesRefused) as refused:
        load_series(paths)
    assert refused.value.code == code
