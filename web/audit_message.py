"""One entry of the audit trail as a DICOM audit message (PS3.15 A.5), the XML that audit repositories take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from xml.etree import ElementTree

from storage.audit import EventRow
from storage.audit_chain import AUDIT_PREFIX

_SUCCESS, _SERIOUS_FAILURE = "0", "8"
_PERSON, _SYSTEM_OBJECT = "1", "2"
_SECURITY_USER, _REPORT = "11", "3"
_IP_ADDRESS, _APPLICATION_SERVER = "2", "4"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """event, type: codes of DCM with their meanings. code: C, R, U, D or E as in PS3.15 Table A.5.1-1."""

    event: tuple[str, str]
    code: str
    type: tuple[str, str] | None = None


_ACCESSED = ("110103", "DICOM Instances Accessed")
_AUTHENTICATION = ("110114", "User Authentication")
_SECURITY = ("110113", "Security Alert")
_IMPORT = ("110107", "Data Import")
_EXPORT = ("110106", "Export")
_ATTRIBUTES = ("110137", "User Security Attributes Changed")

#: Action of the trail -> what it is in DICOM. What is not here is an 'Application Activity'.
KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "sign-in": _Kind(event=_AUTHENTICATION, code="E", type=("110122", "Login")),
        "sign-out": _Kind(event=_AUTHENTICATION, code="E", type=("110123", "Logout")),
        "refresh": _Kind(event=_SECURITY, code="E", type=("110126", "Node Authentication")),
        "register": _Kind(event=_SECURITY, code="C", type=_ATTRIBUTES),
        "create-user": _Kind(event=_SECURITY, code="C", type=_ATTRIBUTES),
        "change-password": _Kind(event=_SECURITY, code="U", type=_ATTRIBUTES),
        "change-profile": _Kind(event=_SECURITY, code="U", type=_ATTRIBUTES),
        "approve-user": _Kind(event=_SECURITY, code="U", type=("110136", "Security Roles Changed")),
        "disable-user": _Kind(event=_SECURITY, code="U", type=_ATTRIBUTES),
        "list-scans": _Kind(event=("110112", "Query"), code="E"),
        "watch": _Kind(event=("110112", "Query"), code="E"),
        "view-scan": _Kind(event=_ACCESSED, code="R"),
        "view-images": _Kind(event=_ACCESSED, code="R"),
        "compare": _Kind(event=_ACCESSED, code="R"),
        "download": _Kind(event=_EXPORT, code="R"),
        "export": _Kind(event=_EXPORT, code="R"),
        "resend": _Kind(event=_EXPORT, code="R"),
        "upload": _Kind(event=_IMPORT, code="C"),
        "store": _Kind(event=_IMPORT, code="C"),
        "fetch": _Kind(event=_IMPORT, code="C"),
        "review": _Kind(event=_ACCESSED, code="U"),
        "correct": _Kind(event=_ACCESSED, code="U"),
        "delete-scan": _Kind(event=("110105", "DICOM Study Deleted"), code="D"),
        "erase-scan": _Kind(event=("110105", "DICOM Study Deleted"), code="D"),
        "erase-patient": _Kind(event=("110105", "DICOM Study Deleted"), code="D"),
        "read-audit": _Kind(event=("110101", "Audit Log Used"), code="R"),
    }
)
_OTHER = _Kind(event=("110100", "Application Activity"), code="E")


def audit_message(row: EventRow, *, source_id: str) -> str:
    """Return an entry as one line of XML. source_id: this node's AE title. The message names no patient: the scan's id
    stands for the study, as in the trail itself."""
    action = row.kind.removeprefix(AUDIT_PREFIX)
    kind = KINDS.get(action, _OTHER)
    failed = row.data.get("outcome") == "failure"
    root = ElementTree.Element("AuditMessage")
    event = ElementTree.SubElement(
        root,
        "EventIdentification",
        EventActionCode=kind.code,
        EventDateTime=row.at.isoformat(),
        EventOutcomeIndicator=_SERIOUS_FAILURE if failed else _SUCCESS,
    )
    _coded(event, "EventID", kind.event)
    if kind.type is not None:
        _coded(event, "EventTypeCode", kind.type)
    if failed and row.data.get("reason"):
        ElementTree.SubElement(event, "EventOutcomeDescription").text = _text(row.data["reason"])
    person = {"UserID": _text(row.data.get("username", "nobody")), "UserIsRequestor": "true"}
    address = _text(row.data.get("address", ""))
    if address:
        person |= {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": _IP_ADDRESS}
    ElementTree.SubElement(root, "ActiveParticipant", person)
    source = ElementTree.SubElement(root, "AuditSourceIdentification", AuditSourceID=source_id)
    ElementTree.SubElement(source, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    if row.scan_id is not None:
        _object(root, row.scan_id, _REPORT, ("btn-scan", "Scan of the brain tumour node"))
    if row.data.get("account"):
        _object(root, _text(row.data["account"]), _SECURITY_USER, ("btn-account", "Account"), object_type=_PERSON)
    _object(root, str(row.id), "13", ("btn-audit", f"{action}, sealed {row.sha256 or 'never'}"))
    return ElementTree.tostring(root, encoding="unicode")


def _object(
    root: ElementTree.Element,
    object_id: str,
    role: str,
    id_type: tuple[str, str],
    *,
    object_type: str = _SYSTEM_OBJECT,
) -> None:
    found = ElementTree.SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=object_id,
        ParticipantObjectTypeCode=object_type,
        ParticipantObjectTypeCodeRole=role,
    )
    _coded(found, "ParticipantObjectIDTypeCode", id_type, system="99BTN")


def _coded(parent: ElementTree.Element, tag: str, code: tuple[str, str], *, system: str = "DCM") -> None:
    attributes = {"csd-code": code[0], "codeSystemName": system, "originalText": _text(code[1])}
    ElementTree.SubElement(parent, tag, attributes)


def _text(value: object) -> str:
    """Only what XML 1.0 can hold: an account's name was typed by a stranger."""
    return "".join(c if c.isprintable() else "�" for c in str(value))
