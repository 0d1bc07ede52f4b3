"""Between rows and a run: which stored instances a result depends on, and where their files are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from dicom_node.inbound.headers import InstanceHeader
from dicom_node.inbound.series_roles import RoleAssignment
from dicom_node.study import StudyFile
from storage.study_rows import InstanceRow


def candidate_instances(roles: RoleAssignment, instances: Iterable[InstanceRow]) -> list[str]:
    """SOP Instance UIDs of every series that fills, or could fill, a role: what a result depends on.

    Those whose header says nothing are among them: their images may give them one.
    """
    series = {
        candidate.series_instance_uid
        for choice in roles.choices.values()
        for candidate in (choice.chosen, *choice.rejected)
    } | roles.unknown
    return sorted(row.sop_instance_uid for row in instances if row.series_instance_uid in series)


def study_files(instances: Sequence[InstanceRow], root: Path, until: datetime) -> list[StudyFile]:
    """The instances that had arrived at `until`, with absolute paths and the hashes of what arrived."""
    return [
        StudyFile(path=root / row.path, header=InstanceHeader.from_json(row.header), sha256=row.sha256)
        for row in instances
        if row.received_at <= until
    ]
