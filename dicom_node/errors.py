"""The node's errors. Each names the thing that is wrong and says what to do; none names a patient.

`Permanent` errors end a run or a delivery; `Transient` ones are tried again. Only the worker catches broadly, and only
`inbound.scp` turns an error into a DIMSE status.
"""

from __future__ import annotations


class DicomNodeError(Exception):
    """Base of every error raised by `dicom_node`. `code` is a stable word for scripts and tables."""

    code: str = "node-error"


class Permanent(DicomNodeError):
    """Trying again with the same input gives the same error."""

    code = "permanent"


class Transient(DicomNodeError):
    """The cause may pass: a peer that is down, a disk that is full, a database that restarts."""

    code = "transient"


class SeriesRefused(Permanent):
    """A series that cannot be used, with the reason. code: e.g. 'GEOMETRY_GAP'; see docs/series-roles.md."""

    def __init__(self, code: str, series_instance_uid: str, reason: str) -> None:
        super().__init__(f"series {series_instance_uid}: {code}: {reason}")
        self.code = code
        self.series_instance_uid = series_instance_uid
        self.reason = reason
