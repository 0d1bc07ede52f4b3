"""Nothing that tells who somebody is survives into the research bundle, and what research needs does."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset

from dicom_node.exports.content import ExportScan, ExportSources, research_key
from dicom_node.exports.formats import export
from dicom_node.exports.pseudonyms import Pseudonyms
from dicom_node.results.encoders import encode_all
from pipeline.report import Flag
from pipeline.report_json import report_to_dict
from pipeline.volume import SeriesRole
from storage.files import FileStore
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
TEXTS = (
    "PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientNames", "PatientAddress", "PatientComments",
    "InstitutionName", "InstitutionAddress", "ReferringPhysicianName", "OperatorsName", "StationName",
    "DeviceSerialNumber", "StudyDescription", "SeriesDescription", "ProtocolName", "ImageComments", "AccessionNumber",
    "StudyID", "RequestingPhysician", "ContrastBolusAgent", "Manufacturer", "SoftwareVersions", "StackID",
)  # fmt: skip
BIRTH, STUDY, TIME = "19610203", "20260304", "081726"


def planted(source: Dataset, day: str) -> Dataset:
    """The image with a canary wherever text may stand, in private elements, nested, in an overlay and in file meta."""
    for keyword in TEXTS:
        setattr(source, keyword, "CANARY")
    source.PatientBirthDate, source.StudyDate, source.SeriesDate, source.StudyTime = BIRTH, day, day, TIME
    source.PatientSex, source.PatientAge = "F", "097Y"
    block = source.private_block(0x0029, "CANARY CREATOR", create=True)
    block.add_new(1, "LO", "CANARY")
    block.add_new(2, "UN", b"CANARY")
    item = Dataset()
    item.ScheduledProcedureStepDescription = "CANARY"
    item.private_block(0x0031, "CANARY", create=True).add_new(1, "UN", b"CANARY")
    source.RequestAttributesSequence = [item]
    source.add_new((0x6000, 0x4000), "LO", "CANARY")
    source.add_new((0x6000, 0x3000), "OB", b"CANARY")
    source.file_meta.SourceApplicationEntityTitle = "CANARY"
    source.preamble = b"CANARY".ljust(128, b"\0")
    return source


def scan_of(folder: Path, day: str = STUDY, key: bytes = KEY, **changes: str) -> ExportScan:
    series = mr_series()
    evidence = evidence_of(series)
    report = full_report(series.grid)
    report = replace(report, flags=(Flag(code="thick", text="series CANARY is thick"),))
    made = encode_all(report, evidence, STAMP, ("SEG",))[0]
    folder.mkdir()
    (folder / "seg.dcm").write_bytes(made.to_bytes())
    paths = []
    for number, path in enumerate(series.write(folder / "in")):
        source = planted(dcmread(path), day)
        paths.append(folder / f"CANARY-{number}.dcm")
        source.save_as(paths[-1], enforce_file_format=True)
    first = dcmread(paths[0])
    values = {
        "scan_id": "CANARY-scan",
        "run_id": "CANARY-scan-1",
        "patient_id": "CANARY",
        "issuer_of_patient_id": "CANARY",
        "patient_name": "CANARY",
        "study_instance_uid": str(first.StudyInstanceUID),
        "study_date": day,
        "accession_number": "CANARY",
    }
    return ExportScan(
        **(values | changes),
        report=report,
        told=report_to_dict(report),
        sources=ExportSources(
            series={"T1CE": tuple(paths)},
            segmentations=(folder / "seg.dcm",),
            volumes=lambda: {SeriesRole.T1CE: evidence.volume},
            key=lambda: key,
        ),
    )


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> ExportScan:
    return scan_of(tmp_path_factory.mktemp("research") / "scan")


@pytest.fixture(scope="module")
def bundle(scan: ExportScan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = export([scan], ["research"], tmp_path_factory.mktemp("out"))
    return path


def test_no_canary_uid_or_date_survives_in_any_file_or_name(scan: ExportScan, bundle: Path) -> None:
    assert scan.sources is not None
    source = dcmread(scan.sources.series["T1CE"][0])
    told = bundle.read_bytes() + bundle.name.encode()
    for name, data in entries(bundle).items():
        told += name.encode() + (gzip.decompress(data) if name.endswith(".gz") else data)
    uids = [str(source[keyword].value) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    uids.append(str(source.FrameOfReferenceUID))
    for canary in ("CANARY", BIRTH, STUDY, "2026-03-04", TIME, "097Y", *uids):
        assert canary.encode() not in told, canary
        assert canary.encode("utf-16-le") not in told, canary


def test_what_research_needs_is_there_and_belongs_together(scan: ExportScan, bundle: Path) -> None:
    assert scan.sources is not None
    found = entries(bundle)
    images = [dcmread(io.BytesIO(found[name])) for name in sorted(found) if name.startswith("dicom/T1CE/")]
    sources = [dcmread(path) for path in scan.sources.series["T1CE"]]
    assert [image.PixelData for image in images] == [source.PixelData for source in sources]
    assert [image.ImagePositionPatient for image in images] == [source.ImagePositionPatient for source in sources]
    who = Pseudonyms(key=KEY, patient="CANARY\nCANARY")
    assert {str(image.PatientID) for image in images} == {who.name}
    assert (images[0].PatientSex, images[0].PatientAge, images[0].PatientIdentityRemoved) == ("F", "090Y", "YES")
    seg = dcmread(io.BytesIO(found["dicom/SEG/0001.dcm"]))
    cited = {str(one.ReferencedSOPInstanceUID) for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert cited == {str(image.SOPInstanceUID) for image in images}
    assert (seg.FrameOfReferenceUID, seg.StudyInstanceUID) == (
        images[0].FrameOfReferenceUID,
        images[0].StudyInstanceUID,
    )
    assert seg.SegmentSequence[0].SegmentLabel == "Necrotic tumor core (NCR)"
    volume = nib.Nifti1Image.from_bytes(gzip.decompress(found["nifti/T1CE.nii.gz"]))
    assert np.allclose(volume.get_fdata(), scan.sources.volumes()[SeriesRole.T1CE].voxels)
    told = json.loads(found["report.json"])
    assert [one["value"] for one in told["measurements"]] == [one.value for one in scan.measurements]
    assert told["flags"] == ["thick"]


def test_a_patient_keeps_pseudonym_and_intervals_and_only_under_one_key(scan: ExportScan, tmp_path: Path) -> None:
    later = scan_of(tmp_path / "later", day="20260404")
    other = scan_of(tmp_path / "other", key=OTHER_KEY)
    names, days = [], []
    for one in (scan, later, other):
        (path,) = export([one], ["research"], tmp_path / "out")
        names.append(path.name.split("-")[1])
        days.append(Pseudonyms(key=b"", patient="").day(json.loads(entries(path)["report.json"])["study_date_shifted"]))
    assert names[0] == names[1] != names[2]
    who = Pseudonyms(key=KEY, patient="CANARY\nCANARY")
    assert -who.shift.days >= 30
    (a, b) = (np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}") for day in days[:2])
    assert (b - a).astype(int) == 31
    nobody = {Pseudonyms(key=KEY, patient=f"scan:{n}").name for n in range(3)}
    assert len(nobody) == 3


# "yes" is no value of CS, so pydicom warns; intake reads it as YES all the same.
@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("said", ["YES", "yes"])
def test_the_same_scan_gives_the_same_bundle_and_pixels_with_text_stay_out(
    scan: ExportScan, bundle: Path, tmp_path: Path, said: str
) -> None:
    (again,) = export([scan], ["research"], tmp_path / "a")
    assert again.read_bytes() == bundle.read_bytes()
    assert scan.sources is not None
    burned = dcmread(scan.sources.series["T1CE"][0])
    burned.BurnedInAnnotation = said
    burned.file_meta = FileMetaDataset(burned.file_meta)
    path = tmp_path / "burned.dcm"
    burned.save_as(path, enforce_file_format=True)
    series = {"T1CE": (path, *scan.sources.series["T1CE"][1:])}
    marked = replace(scan, sources=replace(scan.sources, series=series))
    (made,) = export([marked], ["research"], tmp_path / "b")
    found = entries(made)
    told = json.loads(found["report.json"])
    assert ("dicom/T1CE/0001.dcm" in found, told["images_left_out"]) == (False, 1)
    assert "dicom/T1CE/0002.dcm" in found
    # The volume holds the same pixels; the labels are ours.
    assert [name for name in found if name.startswith("nifti/")] == ["nifti/labels.nii.gz"]
    assert told["volumes_left_out"] == ["T1CE"]
    whole = json.loads(entries(bundle)["report.json"])
    assert (whole["images_left_out"], whole["volumes_left_out"]) == (0, [])


def test_the_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    files = FileStore(tmp_path / "root", min_free_bytes=0)
    key = research_key(files)
    assert (len(key), research_key(files)) == (32, key)
    assert (files.root / "research-key").stat().st_mode & 0o777 == 0o600
