"""Which results go where, and which are held."""

from __future__ import annotations

from dicom_node.result_kinds import RECORD_KINDS
from dicom_node.routing import Routing

ROUTING = Routing(
    kinds_by_destination={"pacs": ("SEG", "SR"), "old": ("SR",)},
    fallbacks={"old": ("SC",)},
    profiles={"old": ("dicom", "orthanc")},
)
OHIF = {"code": "title", "text": "wrong title", "profiles": ["ohif"]}
DICOM = {"code": "frames", "text": "too few", "profiles": ["dicom"]}


def test_a_run_makes_the_record_and_what_may_be_needed_in_its_place() -> None:
    assert ROUTING.kinds() == {*RECORD_KINDS, "SC"}
    assert ROUTING.destinations("SEG") == ["pacs"]


def test_a_defect_holds_where_its_profile_is_asked_for() -> None:
    assert ROUTING.held("pacs", [OHIF]) == "held, not sent: title: wrong title"
    assert ROUTING.held("old", [OHIF]) == ""
    assert ROUTING.held("old", [OHIF, DICOM]) == "held, not sent: frames: too few"
    assert ROUTING.held("pacs", []) == ""
