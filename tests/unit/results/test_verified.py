"""The amended SR: what PS3.3 demands of a VERIFIED document, and nothing else changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread

from dicom_node.results.encoders import encode_all
from dicom_node.results.lint import lint
from dicom_node.results.verified import Verification, verified
from tests.mr_series import mr_series
from tests.report_builders import STAMP, evidence_of, full_report

SERIES = mr_series()
EVIDENCE = evidence_of(SERIES)
BY = Verification(
    observer="Ada Lovelace", organization="St. Elsewhere", at=datetime(2026, 3, 5, 8, 0, 9, 77, tzinfo=UTC), key="s-1/4"
)
KINDS = ("SEG", "SR", "SR-VIEWER")
SOURCES = {o.kind: o.to_bytes() for o in encode_all(full_report(SERIES.grid), EVIDENCE, STAMP, KINDS)}


def source(kind: str) -> Dataset:
    return dcmread(BytesIO(SOURCES[kind]))


@pytest.mark.parametrize("kind", ["SR", "SR-VIEWER"])
def test_it_says_who_verified_it_and_what_it_amends(kind: str) -> None:
    before = source(kind)
    before.CompletionFlag = "COMPLETE"
    made = verified(kind, before, BY)
    read = dcmread(BytesIO(made.to_bytes()))
    assert (read.VerificationFlag, read.PreliminaryFlag) == ("VERIFIED", "FINAL")
    (observer,) = read.VerifyingObserverSequence
    assert (observer.VerifyingObserverName, observer.VerifyingOrganization) == ("Ada Lovelace", "St. Elsewhere")
    assert observer.VerificationDateTime == "20260305080009+0000"
    assert len(observer.VerifyingObserverIdentificationCodeSequence) == 0
    cited = read.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert cited.SeriesInstanceUID == before.SeriesInstanceUID
    assert cited.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert read.ContentSequence == before.ContentSequence
    assert lint(read, EVIDENCE) == ()
    assert made.to_bytes() == verified(kind, before, BY).to_bytes()
    other = verified(kind, before, replace(BY, key="s-1/5"))
    assert len({before.SOPInstanceUID, read.SOPInstanceUID, other.sop_instance_uid}) == 3
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID


def test_its_times_are_in_the_zone_of_the_source() -> None:
    before = source("SR-VIEWER")
    before.TimezoneOffsetFromUTC = "-0330"
    made = verified("SR-VIEWER", before, BY).dataset
    assert (str(made.SeriesDate), str(made.InstanceCreationTime)) == ("20260305", "043009")


@pytest.mark.parametrize(("flag", "by"), [("PARTIAL", BY), ("COMPLETE", replace(BY, organization=" "))])
def test_nobody_attests_to_half_a_document_or_namelessly(flag: str, by: Verification) -> None:
    before = source("SR")
    before.CompletionFlag = flag
    with pytest.raises(ValueError, match="cannot be verified"):
        verified("SR", before, by)
