"""A study's files to volumes with roles, and a report to result objects: the walk that `work` and `analyse` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_node.errors import Permanent, SeriesRefused
from dicom_node.inbound.conversion import ConvertedSeries, load_series
from dicom_node.inbound.headers import InstanceHeader
from dicom_node.inbound.series_headers import SeriesHeaders
from dicom_node.inbound.series_roles import Override, RoleAssignment, assign
from dicom_node.patient_age import age_flags, age_years
from dicom_node.results.evidence import Evidence, SeriesEvidence, SliceSource, load_evidence
from dicom_node.role_evidence import role_evidence
from pipeline.report import Flag
from pipeline.volume import Grid, SeriesRole, Volume
from storage.durable import file_sha256

#: Damaged images whose UIDs are in the message.
_MOST_NAMED = 5


class StudyIneligible(Permanent):
    """No series of the study can be read as T1, T1CE, T2 or FLAIR; the message says why for each."""

    code = "ineligible"


class ImagesDamaged(Permanent):
    """Files of images are no longer what was received. sop_instance_uids: of those in the series that is named."""

    #: As `storage.restoring.IMAGES_REMOVED`, not imported for what it loads: what is damaged counts as removed
    #: (`storage.scrubbing`), and once all are back the run begins by itself.
    code = "images-removed"

    def __init__(self, series_instance_uid: str, sop_instance_uids: Sequence[str]) -> None:
        count = len(sop_instance_uids)
        listed = ", ".join(sop_instance_uids[:_MOST_NAMED]) + (", ..." if count > _MOST_NAMED else "")
        super().__init__(
            f"series {series_instance_uid}: {count} of its images changed on the disk since received, SOP instance "
            f"{listed}: run `tumor-node scrub`, then send the study again, or fetch it from the PACS"
        )
        self.series_instance_uid = series_instance_uid
        self.sop_instance_uids = tuple(sop_instance_uids)


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """One instance on disk with what its header says. sha256: of the file as it was received, '' where not known."""

    path: Path
    header: InstanceHeader
    sha256: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyReading:
    """What was read of a study: the series chosen for each role as volumes, and why the others were not.

    sop_classes: Series Instance UID to the SOP Class UID of its instances. flags: what the headers say that a reader of
    the results should know. age_years: at the study, None where the headers do not tell.
    """

    study_instance_uid: str
    assignment: RoleAssignment
    series: Mapping[SeriesRole, ConvertedSeries]
    sop_classes: Mapping[str, str]
    refused: tuple[SeriesRefused, ...] = ()
    flags: tuple[Flag, ...] = ()
    age_years: int | None = None

    @property
    def volumes(self) -> dict[SeriesRole, Volume]:
        """Role to volume on the series' own grid."""
        return {role: converted.volume for role, converted in self.series.items()}

    def explanation(self) -> dict[str, Any]:
        """JSON-ready: which series has which role and why; which were rejected, excluded, refused; which is missing."""
        told = self.assignment.to_json()
        told["refused"] = [
            {"series_instance_uid": r.series_instance_uid, "code": str(r.code), "reason": r.reason}
            for r in self.refused
        ]
        told["notes"] = {str(role): list(converted.notes) for role, converted in self.series.items()}
        return told


def read_study(files: Sequence[StudyFile], overrides: Mapping[str, Override] | None = None) -> StudyReading:
    """Assign roles and convert the chosen series. A series that is refused gives way to the role's next candidate.

    Where headers leave a role open the images are asked (`role_evidence`). Files are held against their hashes first: a
    damaged series gives way to no other, for the result would stand when its images are whole again.

    Raises:
        StudyIneligible: nothing is left to analyse. ImagesDamaged: a file of a series that is read has another hash.
        OSError: a file cannot be read.
    """
    grouped: dict[str, list[StudyFile]] = {}
    for file in files:
        grouped.setdefault(file.header.series_instance_uid, []).append(file)
    refused: dict[str, SeriesRefused] = {}
    converted: dict[str, ConvertedSeries] = {}

    def load(uid: str) -> Volume:
        if uid in refused:
            raise refused[uid]
        if uid not in converted:
            members = grouped[uid]
            _check_whole(uid, members)
            try:
                converted[uid] = load_series([file.path for file in members], [file.header for file in members])
            except SeriesRefused as refusal:
                refused[uid] = refusal
                raise
        return converted[uid].volume

    series = [
        SeriesHeaders(series_instance_uid=uid, headers=tuple(file.header for file in members))
        for uid, members in grouped.items()
    ]
    evidence = role_evidence(series, overrides or {}, load)
    while True:
        assignment = assign([s for s in series if s.series_instance_uid not in refused], overrides, evidence.seen)
        chosen = {role: choice.chosen.series_instance_uid for role, choice in assignment.choices.items()}
        refusals_before = len(refused)
        for uid in chosen.values():
            with suppress(SeriesRefused):
                load(uid)
        if len(refused) == refusals_before:
            break
    if not chosen:
        raise StudyIneligible(_why_ineligible(assignment, refused))
    first = files[0].header
    return StudyReading(
        study_instance_uid=first.study_instance_uid,
        assignment=assignment,
        series={role: converted[uid] for role, uid in chosen.items()},
        sop_classes={uid: grouped[uid][0].header.sop_class_uid for uid in chosen.values()},
        refused=tuple(refused.values()),
        flags=(
            *[flag for uid, flag in evidence.doubts.items() if uid in chosen.values()],
            *age_flags(first.patient_birth_date, first.study_date),
        ),
        age_years=age_years(first.patient_birth_date, first.study_date),
    )


def _check_whole(uid: str, files: Sequence[StudyFile]) -> None:
    damaged = [f.header.sop_instance_uid for f in files if f.sha256 and file_sha256(f.path) != f.sha256]
    if damaged:
        raise ImagesDamaged(uid, damaged)


def _why_ineligible(assignment: RoleAssignment, refused: Mapping[str, SeriesRefused]) -> str:
    reasons = [f"series {e.series_instance_uid}: {e.code}: {e.reason}" for e in assignment.excluded]
    reasons += [str(refusal) for refusal in refused.values()]
    listed = "; ".join(reasons[:20]) or "it holds no series"
    return f"no series can be read as T1, T1CE, T2 or FLAIR: {listed}"


def evidence_record(reading: StudyReading, reference: SeriesRole, root: Path) -> dict[str, Any]:
    """JSON-ready: all that `evidence_from_record` needs later, paths relative to `root`."""
    series = reading.series[reference]
    return {
        "reference": {
            "role": str(reference),
            "paths": sorted({str(source.path.relative_to(root)) for source in series.sources}),
            "slices": [[source.sop_instance_uid, source.frame_number] for source in series.sources],
            "shape": list(series.volume.grid.shape),
            "affine": series.volume.grid.affine.tolist(),
        },
        "others": [
            {
                "role": str(role),
                "series_instance_uid": other.series_instance_uid,
                "instances": sorted({source.sop_instance_uid for source in other.sources}),
                "sop_class_uid": reading.sop_classes[other.series_instance_uid],
            }
            for role, other in reading.series.items()
            if role is not reference
        ],
    }


def evidence_from_record(record: Mapping[str, Any], root: Path) -> Evidence:
    """The evidence of a run, its headers read again from the stored files.

    Raises:
        EvidenceMismatch: a file is missing or no longer fits the grid.
    """
    reference = record["reference"]
    return load_evidence(
        [root / path for path in reference["paths"]],
        [SliceSource(sop_instance_uid=uid, frame_number=frame) for uid, frame in reference["slices"]],
        Grid(shape=tuple(reference["shape"]), affine=reference["affine"]),
        [
            SeriesEvidence(
                role=SeriesRole(other["role"]),
                series_instance_uid=other["series_instance_uid"],
                instances=tuple((other["sop_class_uid"], uid) for uid in other["instances"]),
            )
            for other in record["others"]
        ],
    )
