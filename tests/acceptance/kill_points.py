"""Places in a node's work at which a campaign's process kills itself: before or after a call, at its n-th passing."""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Part(StrEnum):
    """The process of a node that does the work."""

    RECEIVE = "receive"
    WORK = "work"


class Moment(StrEnum):
    """Before the call, or when it has returned and nobody has heard of it yet."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A call that a study passes. target: `module:Class.method`. often: how many times a study passes it, about.

    receive_path: the only one that comes by, '' where each does.
    """

    name: str
    part: Part
    target: str
    often: int = 1
    receive_path: str = ""


@dataclass(frozen=True, kw_only=True)
class KillPoint:
    """One end of a passage, and which passing of it by the process is its last."""

    passage: Passage
    moment: Moment
    passing: int = 1

    @property
    def name(self) -> str:
        return f"{self.moment} {self.passage.name}"


def _passages(part: Part, *told: tuple[str, str, int], receive_path: str = "") -> tuple[Passage, ...]:
    return tuple(
        Passage(name=name, part=part, target=target, often=often, receive_path=receive_path)
        for name, target, often in told
    )


#: In the order in which a study passes them. The four steps of the engine are among them.
PASSAGES = (
    *_passages(
        Part.RECEIVE,
        ("writing received bytes", "storage.spool:SpoolFile.write", 20),
        ("naming a received file", "storage.files:FileStore.commit", 10),
        ("committing a received row", "storage.studies:StudyRepository.record_instances", 10),
        receive_path="pynetdicom",
    ),
    *_passages(
        Part.RECEIVE,
        ("appending to the journal", "dicom_node.inbound.fast.journal:Journal.append", 10),
        ("syncing the journal", "dicom_node.inbound.fast.journal:Journal.commit", 10),
        receive_path="fast",
    ),
    *_passages(
        Part.WORK,
        ("moving a scan", "storage.scans:ScanRepository.apply_event", 3),
        ("freezing the inputs", "storage.scans:ScanRepository.start_run", 1),
        ("handing over to the engine", "dicom_node.engine:Engine.submit", 1),
        ("the step analyse", "dicom_node.runs:RunSteps.analyse", 1),
        ("the analysis itself", "tests.acceptance.remembered:Remembered.analyse", 1),
        ("writing into the run's folder", "storage.files:FileStore.write_result", 7),
        ("moving a scan within a run", "storage.scans:ScanRepository.apply_event_once", 2),
        ("the step encode", "dicom_node.runs:RunSteps.encode", 1),
        ("noting a result object", "storage.results:ResultRepository.upsert", 2),
        ("the step publish", "dicom_node.runs:RunSteps.publish", 1),
        ("owing a result", "storage.deliveries:DeliveryRepository.owe", 2),
        ("ending a run", "storage.scans:ScanRepository.finish_run", 1),
        ("the step record", "dicom_node.comparisons:Comparisons.record", 1),
        ("taking what is due", "storage.deliveries:DeliveryRepository.due", 2),
        ("sending to the PACS", "dicom_node.outbound.scu:DicomSender.send", 1),
        ("noting what was sent", "storage.deliveries:DeliveryRepository.mark_sent", 2),
    ),
)


def points_of(part: Part, receive_path: str) -> list[tuple[Passage, Moment]]:
    """Every end of every passage of a part on this path."""
    passed = [one for one in PASSAGES if one.part is part and one.receive_path in ("", receive_path)]
    return list(itertools.product(passed, Moment))


def arm(point: KillPoint, note: Callable[[str], None]) -> None:
    """Have this process end by SIGKILL at the point; `note` is told the point's name first."""
    module, _, path = point.passage.target.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, method = path.split(".")
    for name in classes:
        owner = getattr(owner, name)
    called = getattr(owner, method)
    passings = itertools.count(1)

    def die_at_the_last() -> None:
        if next(passings) == point.passing:
            note(point.name)
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(called)
    def deadly(*arguments: Any, **keywords: Any) -> Any:
        if point.moment is Moment.BEFORE:
            die_at_the_last()
        returned = called(*arguments, **keywords)
        if point.moment is Moment.AFTER:
            die_at_the_last()
        return returned

    setattr(owner, method, deadly)
