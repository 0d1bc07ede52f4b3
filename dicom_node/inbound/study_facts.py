"""Between rows and decisions: stored facts to what `assembly.decide` takes, and an assignment to what rows keep."""

from __future__ import annotations

from collections.abc import Mapping

from dicom_node.inbound.assembly import SeriesFacts, StudyFacts
from dicom_node.inbound.headers import InstanceHeader
from dicom_node.inbound.series_headers import SeriesHeaders
from dicom_node.inbound.series_roles import Override, RoleAssignment
from pipeline.volume import SeriesRole
from storage.studies import StudyRepository
from storage.study_reading import SeriesRoleRecord
from storage.study_rows import ScanFacts


def study_facts(
    facts: ScanFacts, *, process_now: bool = False, held_by_pacs: Mapping[str, int] | None = None, sender: str = ""
) -> StudyFacts:
    """What has arrived for a scan of a DICOM study, the node's own objects left out.

    held_by_pacs: Series Instance UID to the instances the PACS says it has. sender: as of `StudyFacts`.

    Raises:
        ValueError: the scan has no study (an upload of NIfTI is never assembled).
    """
    if facts.study is None:
        raise ValueError(f"scan {facts.scan.id} has no DICOM study to assemble")
    headers: dict[str, list[InstanceHeader]] = {}
    for instance in facts.instances:
        headers.setdefault(instance.series_instance_uid, []).append(InstanceHeader.from_json(instance.header))
    return StudyFacts(
        series=tuple(
            SeriesFacts(
                headers=SeriesHeaders(
                    series_instance_uid=row.series_instance_uid, headers=tuple(headers[row.series_instance_uid])
                ),
                last_received_at=row.last_received_at,
                held_by_pacs=(held_by_pacs or {}).get(row.series_instance_uid),
            )
            for row in facts.series
            if row.series_instance_uid in headers
        ),
        first_received_at=facts.study.first_received_at,
        last_received_at=facts.study.last_received_at,
        last_object_at=max((row.received_at for row in facts.instances), default=facts.study.last_received_at),
        overrides=_overrides(facts),
        process_now=process_now,
        sender=sender,
    )


def _overrides(facts: ScanFacts) -> Mapping[str, Override]:
    roles = {str(role): role for role in SeriesRole}
    given: dict[str, Override] = {}
    for row in facts.series:
        if row.role_override in roles:
            given[row.series_instance_uid] = roles[row.role_override]
        elif row.role_override == "ignore":
            given[row.series_instance_uid] = "ignore"
    return given


def role_records(assignment: RoleAssignment) -> list[SeriesRoleRecord]:
    """One record for each series of the assignment: chosen, rejected or excluded."""
    records = []
    for role, choice in assignment.choices.items():
        records.append(
            SeriesRoleRecord(
                series_instance_uid=choice.chosen.series_instance_uid,
                role=str(role),
                role_score=float(choice.chosen.score),
                role_reasons=choice.chosen.reasons,
            )
        )
        records.extend(
            SeriesRoleRecord(
                series_instance_uid=other.series_instance_uid,
                role_score=float(other.score),
                role_reasons=other.reasons,
                excluded_reason=f"NOT_PREFERRED: as {role}, {other.reasons[-1]}",
            )
            for other in choice.rejected
        )
    records.extend(
        SeriesRoleRecord(series_instance_uid=e.series_instance_uid, excluded_reason=f"{e.code}: {e.reason}")
        for e in assignment.excluded
    )
    return records


def save_roles(studies: StudyRepository, scan_id: str, assignment: RoleAssignment) -> None:
    """Keep an assignment on the rows of the scan's series. Raises what `StudyRepository.set_roles` raises."""
    studies.set_roles(scan_id, role_records(assignment), [str(role) for role in assignment.choices])
