"""kill -9 of the node at five points, many rounds each: nothing acknowledged is lost, one SEG and one SR at the PACS.

python -m tests.acceptance.kill_campaign --rounds 20 [--points mid-send,...]

Orthanc is the PACS. Every round sends a new study to one node that lives through the whole campaign, kills it,
starts it again, sends again what was not acknowledged (as a modality does) and checks files, rows and the PACS. The
studies are one series, whose analysis a person asks for; with --four-series they are whole and begin by themselves.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydicom import dcmread
from pydicom.uid import generate_uid

from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.volume import SeriesRole
from storage.errors import NotFound
from storage.vocabulary import RequestKind
from tests.acceptance.nodes import TruthNode, send
from tests.cutting_proxy import CountingProxy
from tests.orthanc import OrthancServer

POINTS = ("mid-receive", "after-receive", "mid-analysis", "after-encoding", "mid-send")
#: Points inside the node; at the others it is killed from outside.
DIES_ITSELF = ("mid-analysis", "after-encoding")
SEED = 11
WITHIN_S = 240.0


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round came to. killed: the node really was killed at the point, not before or after."""

    point: str
    number: int
    killed: bool
    acknowledged: int
    lost: int
    status: str
    segs: int
    srs: int
    seconds: float

    @property
    def good(self) -> bool:
        return self.killed and self.lost == 0 and self.status == "delivered" and (self.segs, self.srs) == (1, 1)


class CountedPacs(Protocol):
    """A PACS on loopback that says what it holds."""

    ae_title: str
    host: str
    dicom_port: int

    def start(self) -> None:
        """Listen."""

    def stop(self) -> None:
        """Refuse connections; what is held is kept."""

    def results_of(self, study_instance_uid: str) -> tuple[int, int]:
        """How many SEG and how many SR it holds of a study."""


class CountedOrthanc(OrthancServer):
    """Orthanc, counted over DICOMweb."""

    def results_of(self, study_instance_uid: str) -> tuple[int, int]:
        counts = {"SEG": 0, "SR": 0}
        for series in self.qido_series(study_instance_uid):
            modality = series["00080060"]["Value"][0]
            if modality in counts:
                counts[modality] += int(series["00201209"]["Value"][0])
        return counts["SEG"], counts["SR"]


class Campaign:
    """One node, one PACS, one proxy between them.

    options: of the node's every start. pacs_keys, sections, receive_path: as `TruthNode` takes them.
    """

    def __init__(
        self,
        folder: Path,
        pacs: CountedPacs,
        seed: int,
        *,
        options: Sequence[str] = ("--still",),
        pacs_keys: Mapping[str, object] | None = None,
        sections: Mapping[str, object] | None = None,
        receive_path: str | None = None,
    ) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.salt = f"campaign-{seed}-{time.time_ns()}"
        self.options = tuple(options)
        self.pacs = pacs
        self.proxy = CountingProxy(self.pacs.host, self.pacs.dicom_port)
        self.node = TruthNode(
            folder / "node",
            SEED,
            self.pacs.ae_title,
            self.proxy.port,
            pacs=pacs_keys,
            sections=sections,
            receive_path=receive_path,
        )

    def __enter__(self) -> Campaign:
        self.pacs.start()
        self.proxy.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.node.stop()
        self.node.store.database.close()
        self.pacs.stop()
        self.proxy.__exit__(None, None, None)

    def run(self, point: str, number: int) -> Round:
        started = time.monotonic()
        study_instance_uid, paths = self.study(f"{point}-{number}")
        if point in DIES_ITSELF:
            marker = self.folder / f"{point}-{number}.died"
            self.node.start(*self.options, "--die-at", point, "--marker", str(marker))
        else:
            self.node.start(*self.options)
        try:
            acknowledged = self._send_and_die(point, study_instance_uid, paths)
            killed = self._wait_for_death()
            self.node.start(*self.options)
            acknowledged = self.send_until_all_is_acknowledged(paths, acknowledged)
            self.all_is_sent(study_instance_uid, paths)
            scan = self.node.wait_for_end(study_instance_uid)
            segs, srs = self.pacs.results_of(study_instance_uid)
            lost = self.lost(acknowledged)
        finally:
            self.node.stop()
        return Round(
            point=point,
            number=number,
            killed=killed,
            acknowledged=len(acknowledged),
            lost=lost,
            status=str(scan.status),
            segs=segs,
            srs=srs,
            seconds=time.monotonic() - started,
        )

    def study(self, name: str) -> tuple[str, list[Path]]:
        """A new study, written under a folder of that name: Study Instance UID and files."""
        study = make_study(
            SEED, "siemens", size="small", clutter=False, motion_mm=0, motion_deg=0, salt=f"{self.salt}-{name}"
        )
        written = write_study(self.folder / "studies" / name, study)
        return study.study_instance_uid, [path for series in written for path in series.paths]

    def send_until_all_is_acknowledged(self, paths: Sequence[Path], acknowledged: Sequence[Path] = ()) -> list[Path]:
        """As a modality does, a few times over; those that were."""
        taken = list(acknowledged)
        for _ in range(5):
            missing = [path for path in paths if path not in taken]
            if not missing:
                break
            taken += send(self.node.address, missing)
        return taken

    def all_is_sent(self, study_instance_uid: str, paths: Sequence[Path]) -> None:
        """Called in each round when every object is acknowledged."""

    def lost(self, acknowledged: Sequence[Path]) -> int:
        """How many of them have no row that names a file with their bytes."""
        return sum(not self._is_kept(path) for path in acknowledged)

    def _send_and_die(self, point: str, study_instance_uid: str, paths: list[Path]) -> list[Path]:
        if point == "mid-send":
            # A SEG and an SR come to some 100 kB on the wire.
            self.proxy.arm(self.random.randrange(2_000, 60_000), self.node.kill)
            acknowledged = send(self.node.address, paths)
            self.all_is_sent(study_instance_uid, paths)
            return acknowledged
        if point == "mid-receive":
            threading.Timer(self.random.uniform(0.05, 0.9), self.node.kill).start()
            return send(self.node.address, paths)
        acknowledged = send(self.node.address, paths)
        if point == "after-receive":
            time.sleep(self.random.uniform(0.0, 0.5))
            self.node.kill()
        else:
            self.all_is_sent(study_instance_uid, paths)
        return acknowledged

    def _wait_for_death(self, timeout_s: float = 240.0) -> bool:
        assert self.node.process is not None
        deadline = time.monotonic() + timeout_s
        while self.node.process.poll() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return self.node.process.returncode == -9

    def _is_kept(self, path: Path) -> bool:
        """True where a row names a file with the data set's bytes as they were sent."""
        uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        study = str(dcmread(path, stop_before_pixels=True).StudyInstanceUID)
        store = self.node.store
        row = next((row for row in store.studies.instances_of(study) if row.sop_instance_uid == uid), None)
        return row is not None and store.files.verify(row.path, row.sha256)


class OneSeriesCampaign(Campaign):
    """Its studies are one small series each, read by models that need no other: a round takes a third of the time."""

    def __init__(self, folder: Path, pacs: CountedPacs, seed: int, **keys: Any) -> None:
        super().__init__(folder, pacs, seed, options=("--still", "--quick"), **keys)
        study = make_study(SEED, "siemens", size="small", clutter=False, roles=(SeriesRole.T1CE,))
        (series,) = write_study(folder / "template", study)
        # Every third slice: still a stack without a gap.
        self._template = [dcmread(path) for path in series.paths[::3]]

    def study_uid(self, name: str) -> str:
        """Study Instance UID of the study of a name."""
        return self._uid(name, "study")

    def _uid(self, name: str, what: str) -> str:
        # The library joins the sources as they are: without the slashes image 10 of 'a-3' were image 0 of 'a-31'.
        return str(generate_uid(entropy_srcs=[self.salt, f"/{name}/{what}"]))

    def study(self, name: str) -> tuple[str, list[Path]]:
        """The template under new UIDs."""
        folder = self.folder / "studies" / name.replace(" ", "-")
        folder.mkdir(parents=True)
        study, series = self.study_uid(name), self._uid(name, "series")
        paths = []
        for number, dataset in enumerate(self._template):
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.SOPInstanceUID = self._uid(name, str(number))
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            paths.append(folder / f"{number:03d}.dcm")
            dataset.save_as(paths[-1])
        return study, paths

    def all_is_sent(self, study_instance_uid: str, paths: Sequence[Path]) -> None:
        """One series of the four never makes a study complete: once its rows are there, a person asks for it."""
        until(lambda: self.rows(study_instance_uid) == len(paths), "every acknowledged object has its row")
        scan = self.node.store.scans.by_study(study_instance_uid)
        assert scan is not None
        self.node.store.requests.add(scan.id, RequestKind.PROCESS_NOW)

    def rows(self, study_instance_uid: str, *, own: bool = False) -> int:
        """How many instances of the study have a row."""
        try:
            return len(self.node.store.studies.instances_of(study_instance_uid, own=own))
        except NotFound:
            return 0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it, or raise TimeoutError that says for what."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {WITHIN_S:g} s: {what}")
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--points", default=",".join(POINTS))
    parser.add_argument("--orthanc", default="/usr/sbin/Orthanc")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--receive-path", choices=("fast", "pynetdicom"), help="instead of the default one")
    parser.add_argument("--four-series", action="store_true")
    arguments = parser.parse_args()
    rounds: list[Round] = []
    kind = Campaign if arguments.four_series else OneSeriesCampaign
    with (
        tempfile.TemporaryDirectory() as folder,
        kind(
            Path(folder),
            CountedOrthanc(arguments.orthanc, Path(folder)),
            arguments.seed,
            receive_path=arguments.receive_path,
        ) as campaign,
    ):
        for number in range(arguments.rounds):
            for point in arguments.points.split(","):
                rounds.append(campaign.run(point, number))
                print(rounds[-1], flush=True)
    print("\npoint            rounds  killed  acknowledged  lost  delivered  one SEG and one SR")
    for point in arguments.points.split(","):
        of = [r for r in rounds if r.point == point]
        print(
            f"{point:<16} {len(of):6} {sum(r.killed for r in of):7} {sum(r.acknowledged for r in of):13} "
            f"{sum(r.lost for r in of):5} {sum(r.status == 'delivered' for r in of):10} "
            f"{sum((r.segs, r.srs) == (1, 1) for r in of):19}"
        )
    return 0 if all(r.good for r in rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
