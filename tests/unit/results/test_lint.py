"""Every rule of the lint finds its own defect, and a good object has none."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread

from dicom_node.results.encoded import EncodedObject
from dicom_node.results.encoders import ENCODERS, ResultDefective, encode_all
from dicom_node.results.lint import lint
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report

SERIES = mr_series()
EVIDENCE = evidence_of(SERIES)
OBJECTS = {o.kind: o.to_bytes() for o in encode_all(full_report(SERIES.grid), EVIDENCE, STAMP)}


def fresh(kind: str) -> Dataset:
    return dcmread(BytesIO(OBJECTS[kind]))


def setting(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


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


BOTH = [
    ("identity-differs", setting("PatientID", "OTHER")),
    ("identity-differs", setting("AccessionNumber", "")),
    ("identity-differs", setting("StudyInstanceUID", "2.25.9")),
    ("series-reused", setting("SeriesInstanceUID", str(SERIES.datasets[0].SeriesInstanceUID))),
    ("series-description", setting("SeriesDescription", "Segmentation")),
    ("not-marked", setting("ManufacturerModelName", "x")),
    ("attribute-missing", setting("DeviceSerialNumber", "")),
    ("transfer-syntax", implicit),
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
    ("segment-attribute", drop_from_segments("TrackingUID")),
    ("segment-attribute", drop_from_segments("RecommendedDisplayCIELabValue")),
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
]


@pytest.mark.parametrize("kind", ["SEG", "SR"])
def test_what_the_encoders_write_has_no_defect(kind: str) -> None:
    assert lint(fresh(kind), EVIDENCE) == ()


@pytest.mark.parametrize(
    ("kind", "code", "spoil"),
    [(kind, *case) for kind in ("SEG", "SR") for case in BOTH]
    + [("SEG", *case) for case in SEG]
    + [("SR", *case) for case in SR],
)
def test_each_defect_is_found(kind: str, code: str, spoil: Callable[[Dataset], None]) -> None:
    dataset = fresh(kind)
    spoil(dataset)
    assert code in {defect.code for defect in lint(dataset, EVIDENCE)}


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
        encode_all(full_report(SERIES.grid), EVIDENCE, STAMP, [Careless()])
