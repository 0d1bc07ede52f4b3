"""The fault campaign of the DICOM edge: whole studies through a real node, one thing going wrong with each.

python -m tests.acceptance.edge_faults --rounds 200 --seed 1 [--log rounds.jsonl] [--report FILE.md] [--kinds a,b]

The kinds come in turn; what goes wrong where follows from the seed. With --log a campaign that was cut off goes on
where it was. Times of the network are scaled by the node's configuration (a PACS that answers after 60 s is one that
takes longer than `timeout_s`); the 48 hours of an outage pass on a clock of their own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

from dicom_node.outward import build_deliverer, outward_loops
from dicom_node.store import open_store
from storage.clock import utc_now
from storage.commitments import CommitmentRepository
from storage.lifecycle import ScanState
from storage.scan_rows import ScanRow
from storage.vocabulary import CommitmentState
from tests.acceptance.edge_faults_report import report
from tests.acceptance.faulty_pacs import FaultyPacs
from tests.acceptance.kill_campaign import POINTS, WITHIN_S, OneSeriesCampaign, until
from tests.acceptance.nodes import send
from tests.acceptance.wounding_relay import Wound, WoundingRelay
from tests.outbox import SteppedClock

TIMEOUT_S = 2.0
#: As 60 s are to the 10 s that a peer is given by default.
SLOW_S = 6 * TIMEOUT_S
_OUTAGE = timedelta(hours=48)
_STEP = timedelta(minutes=30)

KINDS = (
    *Wound,
    "two senders",
    "PACS down 48 h",
    "PACS answers late",
    "PACS refuses",
    "PACS denies commitment",
    "PACS echoes",
    *(f"kill -9 {point}" for point in POINTS),
)


@dataclass(frozen=True, kw_only=True)
class EdgeRound:
    """What one round came to. struck: the fault really happened. copies: SEG and SR beyond one each. runs: analyses.

    changed: times that an object came to the PACS under a UID that it has with other bytes.
    """

    kind: str
    number: int
    struck: bool
    acknowledged: int
    lost: int
    status: str
    copies: int
    committed: int
    runs: int
    changed: int
    seconds: float

    @property
    def good(self) -> bool:
        """Nothing lost, nothing twice, one analysis, both results at the PACS and committed."""
        ends = self.lost == 0 and self.copies == 0 and self.changed == 0 and self.runs == 1
        return self.struck and ends and self.status == "delivered" and self.committed == 2


class EdgeCampaign(OneSeriesCampaign):
    """A kill campaign whose PACS is in this process, and that knows more faults."""

    pacs: FaultyPacs

    def __init__(self, folder: Path, seed: int, *, receive_path: str = "fast") -> None:
        super().__init__(
            folder,
            FaultyPacs(),
            seed,
            pacs_keys={"commitment": "request", "timeout_s": TIMEOUT_S},
            sections={"commitment": {"wait_s": 1.0}, "models": {"explain": False}},
            receive_path=receive_path,
        )
        self.relay = WoundingRelay("127.0.0.1", self.node.config.node.port)
        self.pacs.slow_s = SLOW_S
        self.commitments = CommitmentRepository(self.node.store.database)

    def __enter__(self) -> EdgeCampaign:
        super().__enter__()
        self.relay.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.relay.__exit__(None, None, None)
        super().__exit__(*error)

    def edge_round(self, kind: str, number: int) -> EdgeRound:
        """One round of a kind."""
        if kind.startswith("kill -9 "):
            return self._kill(kind, number)
        started = time.monotonic()
        if self.node.process is None or self.node.process.poll() is not None:
            self.node.start(*self.options)
        changed = self.pacs.changed
        study_instance_uid, paths = self.study(f"{kind}-{number}")
        faults: dict[str, Callable[[str, list[Path]], tuple[list[Path], bool]]] = {
            "PACS down 48 h": self._outage,
            "PACS answers late": self._late,
            "PACS refuses": self._refusal,
            "PACS denies commitment": self._denial,
            "PACS echoes": self._echo,
            "two senders": self._two_senders,
        }
        fault = faults.get(kind)
        acknowledged, struck = (
            self._wounded(Wound(kind), study_instance_uid, paths) if fault is None else fault(study_instance_uid, paths)
        )
        scan = self._end(study_instance_uid)
        return self._outcome(kind, number, struck, acknowledged, scan, changed, started)

    def _kill(self, kind: str, number: int) -> EdgeRound:
        started, changed = time.monotonic(), self.pacs.changed
        self.node.stop()
        done = self.run(kind.removeprefix("kill -9 "), number)
        self.node.start(*self.options)  # commitment may still be owed
        scan = self._end(self.study_uid(f"{done.point}-{number}"))
        outcome = self._outcome(kind, number, done.killed, [], scan, changed, started)
        return replace(outcome, acknowledged=done.acknowledged, lost=done.lost)

    def _send(self, study_instance_uid: str, paths: list[Path]) -> list[Path]:
        acknowledged = self.send_until_all_is_acknowledged(paths)
        self.all_is_sent(study_instance_uid, paths)
        return acknowledged

    def _wounded(self, wound: Wound, study_instance_uid: str, paths: list[Path]) -> tuple[list[Path], bool]:
        before = self.relay.wounds
        # Command and data set of each object are a PDU or two.
        self.relay.arm(wound, self.random.randrange(1, 2 * len(paths)))
        acknowledged = send(replace(self.node.address, port=self.relay.port), paths)
        struck = self.relay.wounds == before + 1 and len(acknowledged) < len(paths)
        acknowledged = self.send_until_all_is_acknowledged(paths, acknowledged)
        self.all_is_sent(study_instance_uid, paths)
        return acknowledged, struck

    def _two_senders(self, study_instance_uid: str, paths: list[Path]) -> tuple[list[Path], bool]:
        third = len(paths) // 3
        parts = [paths[: 2 * third], paths[third:]]
        with ThreadPoolExecutor(2) as senders:
            sent = list(senders.map(lambda part: send(self.node.address, part), parts))
        acknowledged = self.send_until_all_is_acknowledged(paths, list(dict.fromkeys(sent[0] + sent[1])))
        self.all_is_sent(study_instance_uid, paths)
        return acknowledged, all(sent)

    def _late(self, study_instance_uid: str, paths: list[Path]) -> tuple[list[Path], bool]:
        self.pacs.slow = self.random.randrange(1, 3)
        return self._send(study_instance_uid, paths), self._struck("slow")

    def _refusal(self, study_instance_uid: str, paths: list[Path]) -> tuple[list[Path], bool]:
        self.pacs.refuse = self.random.randrange(1, 6)
        return self._send(study_instance_uid, paths), self._struck("refuse")

    def _denial(self, study_instance_uid: str, paths: list[Path]) -> tuple[list[Path], bool]:
        self.pacs.deny = 1
        return self._send(study_instance_uid, paths), self._struck("deny")

    def _echo(self, study_instance_uid: str, paths: list[Path]) -> tuple[list[Path], bool]:
        before = self.pacs.echoed
        self.pacs.echo_to = self.node.address
        try:
            acknowledged = self._send(study_instance_uid, paths)
            until(lambda: self.pacs.echoed >= before + 2, "the PACS has sent both results back")
            until(lambda: self.rows(study_instance_uid, own=True) == len(paths) + 2, "what came back has its row")
            time.sleep(2.0)  # for what should not happen
        finally:
            self.pacs.echo_to = None
        return acknowledged, True

    def _outage(self, study_instance_uid: str, paths: list[Path]) -> tuple[list[Path], bool]:
        """The node's own deliverer on its own rows, by a clock that goes through two days while the PACS is away."""
        self.pacs.stop()
        try:
            acknowledged = self._send(study_instance_uid, paths)
            self.node.wait_for_state(study_instance_uid, [ScanState.DELIVERING], WITHIN_S)
            self.node.stop()
            clock = SteppedClock(utc_now())
            store = open_store(self.node.config, clock)
            deliverer = build_deliverer(self.node.config, store, clock)
            loops = {name: tick for name, tick, _ in outward_loops(self.node.config, store, clock)}
            attempts = 0
            for _ in range(_OUTAGE // _STEP):
                attempts += deliverer.deliver_due().put_off
                clock.advance(_STEP.total_seconds())
        finally:
            self.pacs.start()
        for _ in range(6):
            deliverer.deliver_due()
            loops["commitment"]()
            clock.advance(_STEP.total_seconds())
        store.database.close()
        self.node.start(*self.options)
        return acknowledged, attempts > 20

    def _struck(self, what: str) -> bool:
        until(lambda: getattr(self.pacs, what) == 0, f"the PACS has done it: {what}")
        return True

    def _end(self, study_instance_uid: str) -> ScanRow:
        """The scan at its end, both results committed, or after a while as it is."""
        scan = self.node.wait_for_end(study_instance_uid, WITHIN_S)
        deadline = time.monotonic() + WITHIN_S
        while self._committed(scan.id) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.node.wait_for_end(study_instance_uid, WITHIN_S)

    def _committed(self, scan_id: str) -> int:
        rows = self.commitments.of_scan(scan_id).values()
        return sum(row.state is CommitmentState.COMMITTED for row in rows)

    def _outcome(
        self,
        kind: str,
        number: int,
        struck: bool,
        acknowledged: Sequence[Path],
        scan: ScanRow,
        changed_before: int,
        started: float,
    ) -> EdgeRound:
        assert scan.study_instance_uid is not None
        segs, srs = self.pacs.results_of(scan.study_instance_uid)
        return EdgeRound(
            kind=kind,
            number=number,
            struck=struck,
            acknowledged=len(acknowledged),
            lost=self.lost(acknowledged),
            status=str(scan.status),
            copies=abs(segs - 1) + abs(srs - 1),
            committed=self._committed(scan.id),
            runs=scan.run,
            changed=self.pacs.changed - changed_before,
            seconds=round(time.monotonic() - started, 1),
        )


def _earlier(log: Path | None) -> list[EdgeRound]:
    if log is None or not log.exists():
        return []
    return [EdgeRound(**json.loads(line)) for line in log.read_text().splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--log", type=Path, help="one line of JSON a round; those in it are not run again")
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    kinds = [str(kind) for kind in arguments.kinds.split(",")]
    rounds = _earlier(arguments.log)
    # A campaign that goes on draws other places for its faults than one that runs through.
    with tempfile.TemporaryDirectory() as folder, EdgeCampaign(Path(folder), arguments.seed + len(rounds)) as campaign:
        while len(rounds) < arguments.rounds:
            number = len(rounds)
            rounds.append(campaign.edge_round(kinds[number % len(kinds)], number))
            print(rounds[-1], flush=True)
            if arguments.log is not None:
                with arguments.log.open("a") as log:
                    log.write(json.dumps(asdict(rounds[-1])) + "\n")
    text = report(rounds, arguments.seed)
    print("\n" + text)
    if arguments.report is not None:
        arguments.report.write_text(text)
    return 0 if all(one.good for one in rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
