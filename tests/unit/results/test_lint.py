"""Every rule of the lint finds its own defect, and a good object has none."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR

from dicom_node.results.encoded import EncodedObject
from dicom_node.results.encoders import ENCODERS, ResultDefective, encode_all
from dicom_node.results.lint import RULES, lint
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report

SERIES = mr_series()
EVIDENCE = evidence_of(SERIES)
KINDS = ("SEG", "SR", "SR-VIEWER", "SC", "KO", "PDF")
OBJECTS = {o.kind: o.to_bytes() for o in encode_all(full_report(SERIES.grid), EVIDENCE, STAMP, KINDS)}


def fresh(kind: str) -> Dataset:
    return dcmread(BytesIO(OBJECTS[kind]))


def setting(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


def forcing(keyword: str, value: str) -> Callable[[Dataset], None]:
    """Set what pydicom itself would warn of."""
    return lambda dataset: dataset.add(
        DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE)  # type: ignore[arg-type]
    )


def drop_from_segments(keyword: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset.SegmentSequence[1], keyword)


def two_referenced_series(dataset: Dataset) -> None:
    dataset.ReferencedSeriesSequence.append(dataset.ReferencedSeriesSequence[0])


def other_source(dataset: Dataset) -> None:
    source = dataset.PerFrameFunctionalGroupsSequence[3].DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedSOPInstanceUID = "2.25.1"


def neighbouring_source(dataset: Dataset) -> None:
    frames = dataset.PerFrameFunctionalGroupsSequence
    one, other = (frames[n].DerivationImageSequence[0].SourceImageSequence[0] for n in (0, 1))
    one.ReferencedSOPInstanceUID = other.ReferencedSOPInstanceUID


def lose_derivation(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence


def without_item(meaning: str) -> Callable[[Dataset], None]:
    def remove(dataset: Dataset) -> None:
        kept = [i for i in dataset.get("ContentSequence", []) if i.ConceptNameCodeSequence[0].CodeMeaning != meaning]
        if "ContentSequence" in dataset:
            dataset.ContentSequence = kept
        for item in kept:
            remove(item)

    return remove


def other_title(dataset: Dataset) -> None:
    dataset.ConceptNameCodeSequence[0].CodeValue = "126001"


def other_template(dataset: Dataset) -> None:
    dataset.ContentTemplateSequence[0].TemplateIdentifier = "2000"


def implicit(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"


def private(dataset: Dataset) -> None:
    dataset.private_block(0x0099, "ANYBODY", create=True).add_new(1, "LO", "x")


def other_file_meta(dataset: Dataset) -> None:
    dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.3"


def outside_the_character_set(dataset: Dataset) -> None:
    dataset.SeriesDescription = "BTN \u6771\u4eac"


def lose_purpose(dataset: Dataset) -> None:
    del dataset.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence


def shorten(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:-2]


def drop_frame(dataset: Dataset) -> None:
    """A whole frame less, so that nothing but its absence is wrong."""
    del dataset.PerFrameFunctionalGroupsSequence[-1]
    dataset.NumberOfFrames = len(dataset.PerFrameFunctionalGroupsSequence)
    bits = dataset.NumberOfFrames * dataset.Rows * dataset.Columns
    size = -(-bits // 8)
    dataset.PixelData = dataset.PixelData[: size + size % 2]


def renumber(dataset: Dataset) -> None:
    dataset.SegmentSequence[1].SegmentNumber = 7


def no_code(dataset: Dataset) -> None:
    dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = ""


def groups_of(dataset: Dataset) -> list[Dataset]:
    measurements = next(i for i in dataset.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    return list(measurements.ContentSequence)


def numbers_of(dataset: Dataset) -> list[Dataset]:
    return [i for group in groups_of(dataset) for i in group.ContentSequence if i.ValueType == "NUM"]


def lose_lines(dataset: Dataset) -> None:
    for number in numbers_of(dataset):
        del number.ContentSequence


def other_spelling(dataset: Dataset) -> None:
    numbers_of(dataset)[0].ConceptNameCodeSequence[0].CodeMeaning = "Long axis"


def lose_evidence(dataset: Dataset) -> None:
    del dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]


BOTH = [
    ("identity-differs", setting("PatientID", "OTHER")),
    ("identity-differs", setting("AccessionNumber", "")),
    ("identity-differs", setting("StudyInstanceUID", "2.25.9")),
    ("series-reused", setting("SeriesInstanceUID", str(SERIES.datasets[0].SeriesInstanceUID))),
    ("series-description", setting("SeriesDescription", "Segmentation")),
    ("not-marked", setting("ManufacturerModelName", "x")),
    ("attribute-missing", setting("DeviceSerialNumber", "")),
    ("transfer-syntax", implicit),
    ("instance-reused", setting("SOPInstanceUID", str(SERIES.datasets[2].SOPInstanceUID))),
    ("modality", setting("Modality", "MR")),
    ("uid-invalid", forcing("SOPInstanceUID", "1.02.3")),
    ("value-too-long", forcing("SeriesDescription", "BTN " + 61 * "x")),
    ("character-set", outside_the_character_set),
    ("file-meta", other_file_meta),
    ("equipment-purpose", lose_purpose),
    ("private-element", private),
    ("instance-number", setting("InstanceNumber", None)),
]
SEG = [
    ("referenced-series", two_referenced_series),
    ("referenced-series", setting("ReferencedSeriesSequence", [])),
    ("frame-of-reference", setting("FrameOfReferenceUID", "2.25.9")),
    ("segmentation-type", setting("SegmentationType", "FRACTIONAL")),
    ("research-notice", setting("ContentDescription", "Tumor")),
    ("frames", setting("NumberOfFrames", 14)),
    ("derivation", other_source),
    ("derivation", lose_derivation),
    ("derivation", neighbouring_source),
    ("segment-tracking", drop_from_segments("TrackingUID")),
    ("segment-colour", drop_from_segments("RecommendedDisplayCIELabValue")),
    ("frames", shorten),
    ("frames-left-out", drop_frame),
    ("matrix", setting("Rows", 12)),
    ("segment-numbers", renumber),
    ("segment-code", no_code),
    ("segment-anatomy", drop_from_segments("AnatomicRegionSequence")),
    ("segment-label", drop_from_segments("SegmentLabel")),
    ("segment-algorithm", drop_from_segments("SegmentationAlgorithmIdentificationSequence")),
]
SR = [
    ("title", other_title),
    ("template", other_template),
    ("verification", setting("VerificationFlag", "VERIFIED")),
    ("completion", setting("CompletionFlag", "")),
    ("image-library", without_item("Image Library")),
    ("tracking", without_item("Tracking Unique Identifier")),
    ("research-notice", without_item("Comment")),
    ("evidence", lose_evidence),
]
KO = [
    ("key-objects", setting("ConceptNameCodeSequence", [])),
    ("key-objects", setting("ContentSequence", [])),
    ("research-notice", without_item("Key Object Description")),
    ("evidence", lose_evidence),
]
PDF = [
    ("pdf", setting("MIMETypeOfEncapsulatedDocument", "text/plain")),
    ("pdf", setting("EncapsulatedDocument", b"<html>")),
    ("pdf", setting("BurnedInAnnotation", "NO")),
    ("research-notice", setting("DocumentTitle", "Report")),
]
SC = [
    ("picture", setting("PhotometricInterpretation", "MONOCHROME2")),
    ("picture", shorten),
    ("picture", setting("BurnedInAnnotation", None)),
]
VIEWER = [("coordinates", lose_lines), ("axis-spelling", other_spelling)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_encoders_write_has_no_defect(kind: str) -> None:
    assert lint(fresh(kind), EVIDENCE) == ()


@pytest.mark.parametrize(
    ("kind", "code", "spoil"),
    [(kind, *case) for kind in ("SEG", "SR") for case in BOTH]
    + [(kind, *case) for kind in ("SC", "KO", "PDF") for case in (BOTH[0], BOTH[3], BOTH[5])]
    + [("SEG", *case) for case in SEG]
    + [("SR", *case) for case in SR]
    + [("SR-VIEWER", *case) for case in VIEWER]
    + [("KO", *case) for case in KO]
    + [("PDF", *case) for case in PDF]
    + [("SC", *case) for case in SC],
)
def test_each_defect_is_found(kind: str, code: str, spoil: Callable[[Dataset], None]) -> None:
    dataset = fresh(kind)
    spoil(dataset)
    assert code in {defect.code for defect in lint(dataset, EVIDENCE)}


def test_every_rule_has_a_seeded_defect() -> None:
    seeded = {code for code, _ in (*BOTH, *SEG, *SR, *VIEWER, *KO, *PDF, *SC)}
    assert len(seeded) >= 20
    assert {rule.code for rule in RULES} == seeded


@pytest.mark.parametrize(
    ("kind", "code", "spoil", "profile", "others"),
    [
        ("SEG", "frames-left-out", drop_frame, "ohif", ("weasis", "orthanc", "strict-pacs")),
        ("SEG", "segment-colour", drop_from_segments("RecommendedDisplayCIELabValue"), "ohif", ("weasis",)),
        ("SEG", "matrix", setting("Rows", 12), "weasis", ("orthanc", "strict-pacs")),
        ("SEG", "transfer-syntax", implicit, "orthanc", ("dicom",)),
        ("SR", "title", other_title, "ohif", ("weasis", "orthanc", "strict-pacs")),
        ("SR", "private-element", private, "strict-pacs", ("ohif", "weasis", "orthanc")),
    ],
)
def test_a_profile_holds_its_own_demands_and_no_others(
    kind: str, code: str, spoil: Callable[[Dataset], None], profile: str, others: tuple[str, ...]
) -> None:
    dataset = fresh(kind)
    spoil(dataset)
    assert code in {d.code for d in lint(dataset, EVIDENCE, [profile])}
    assert code not in {d.code for d in lint(dataset, EVIDENCE, others)}


def test_a_defect_never_says_what_the_patients_attributes_hold() -> None:
    dataset = fresh("SR")
    dataset.PatientID, dataset.PatientName = "SECRET-1", "Secret^Name"
    text = " ".join(defect.text for defect in lint(dataset, EVIDENCE))
    assert "PatientID" in text
    assert not {"SECRET-1", "Secret", "ID-7", "Test"} & set(text.replace("^", " ").split())


def test_an_object_with_a_defect_does_not_leave() -> None:
    class Careless:
        kind = "SEG"

        def encode(self, *arguments: object) -> EncodedObject:
            result = ENCODERS[0].encode(*arguments)  # type: ignore[arg-type]
            assert result is not None
            result.dataset.SeriesDescription = "anything"
            return result

    with pytest.raises(ResultDefective, match="series-description"):
        encode_all(full_report(SERIES.grid), EVIDENCE, STAMP, encoders=[Careless()])
