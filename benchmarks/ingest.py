"""C-STORE into our listener and into others, in turn, as DCMTK's storescu sends.

python -m benchmarks.ingest [--megabytes 40] [--rounds 3] [--kilobytes 135,575] [--associations 1,4]
                            [--senders nodelay,stock] [--folder on-the-disk-to-measure] [--with-pynetdicom-path]

A round sends the same number of new objects to each receiver, one after the other; ratios are taken round by round.
Ours answers when the object lasts; storescp +B, Orthanc and pynetdicom's usual receiver sync nothing. A stock sender
(Nagle's algorithm on) sends over one association, of the first size. As it is, it takes under five minutes on a machine
that does nothing else; the last table holds its figures against the goals.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ingest_objects import Objects
from benchmarks.ingest_receivers import Receiver, start_receivers
from benchmarks.rows import Row

STORESCU = "/usr/bin/storescu"
#: Some receivers take 15 objects a second from a stock sender. Fewer, and ours would be the sender's own start.
_STOCK_OBJECTS = 300
_LEAST_OBJECTS = 20


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One receiver's part of one round. behind_s: until what it does behind its answers was done."""

    seconds: float
    cpu_s: float
    behind_cpu_s: float
    behind_s: float
    peak_mb: float


def measure(
    folder: Path,
    *,
    objects: int,
    kilobytes: int,
    associations: int,
    nagle: bool,
    rounds: int,
    paths: Sequence[str] = ("fast",),
) -> dict[str, list[Sent]]:
    """Rounds by receiver's name, where they are several after one uncounted. paths: the node's receive paths."""
    made = Objects(folder / "objects", kilobytes)
    receivers = start_receivers(folder / "receivers", associations, nagle=nagle, paths=paths)
    sent: dict[str, list[Sent]] = {receiver.name: [] for receiver in receivers}
    try:
        for number in range(rounds + (rounds > 1)):
            for receiver in receivers:
                part = _send(receiver, made.make(objects), associations, nagle=nagle)
                if number or rounds == 1:
                    sent[receiver.name].append(part)
    finally:
        for receiver in receivers:
            receiver.stop()
    return sent


def _send(receiver: Receiver, paths: list[Path], associations: int, *, nagle: bool) -> Sent:
    environment = dict(os.environ)
    environment.pop("TCP_NODELAY", None)
    if not nagle:
        environment["TCP_NODELAY"] = "1"
    # What the receiver before left to be written later is not this one's to wait for.
    os.sync()
    before = receiver.usage()
    begun = time.perf_counter()
    senders = [
        subprocess.Popen(
            [STORESCU, "-aec", "BENCH", "127.0.0.1", str(receiver.port), *map(str, paths[number::associations])],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for number in range(associations)
    ]
    for sender in senders:
        _, errors = sender.communicate()
        if sender.returncode:
            raise RuntimeError(f"{receiver.name}: storescu failed: {errors.decode(errors='replace')[:500]}")
    seconds = time.perf_counter() - begun
    answered = receiver.usage()
    behind_s = receiver.settle(len(paths))
    after = receiver.usage()
    return Sent(
        seconds=seconds,
        cpu_s=answered.cpu_s - before.cpu_s,
        behind_cpu_s=after.behind_cpu_s - before.behind_cpu_s,
        behind_s=behind_s,
        peak_mb=after.peak_mb,
    )


def ingest_rows(paths: list[Path], folder: Path, rounds: int) -> list[Row]:
    """As many objects as `paths`, of their mean size, over one association: ours against storescp."""
    kilobytes = sum(path.stat().st_size for path in paths) // len(paths) >> 10
    sent = measure(
        folder / "ingest", objects=len(paths), kilobytes=kilobytes, associations=1, nagle=False, rounds=rounds
    )
    ours, theirs = ([part.seconds for part in sent[name]] for name in ("node-fast", "storescp"))
    return [
        Row(
            what=f"receive {len(paths)} objects, answered when durable",
            peer="storescp +B",
            ours_s=statistics.median(ours),
            peer_s=statistics.median(theirs),
            ratio=statistics.median(a / b for a, b in zip(ours, theirs, strict=True)),
        )
    ]


def _print(title: str, sent: dict[str, list[Sent]]) -> None:
    heads = ("s", "speed", "CPU s", "CPU", "behind s", "CPU s", "MB")
    print(f"\n{title}\n{'receiver':<18}" + "".join(f"{head:>9}" for head in heads))
    for name, parts in sent.items():
        columns = (
            _median(parts, "seconds"),
            _speed(sent, name, "storescp"),
            _median(parts, "cpu_s"),
            _cpu(sent, name),
            _median(parts, "behind_s"),
            _median(parts, "behind_cpu_s"),
            _median(parts, "peak_mb"),
        )
        print(f"{name:<18}" + "".join(f"{value:9.2f}" for value in columns), flush=True)


def _speed(sent: dict[str, list[Sent]], name: str, peer: str) -> float:
    return statistics.median(b.seconds / a.seconds for a, b in zip(sent[name], sent[peer], strict=True))


def _cpu(sent: dict[str, list[Sent]], name: str) -> float:
    pairs = zip(sent[name], sent["storescp"], strict=True)
    return statistics.median(a.cpu_s / max(b.cpu_s, 0.01) for a, b in pairs)


def _median(parts: list[Sent], field: str) -> float:
    return float(statistics.median(getattr(part, field) for part in parts))


def goal_lines(title: str, sent: dict[str, list[Sent]], associations: int, *, nagle: bool) -> list[str]:
    """Ours of one table against what is aimed at (docs/performance.md)."""
    ours = "node-fast"
    speed = _speed(sent, ours, "storescp")
    if nagle:
        figures = [("speed to storescp", speed, 50.0, True)]
    else:
        figures = [("speed to storescp", speed, 1.25 if associations == 1 else 1.8, True)]
        if "orthanc" in sent:
            figures.append(("speed to Orthanc", _speed(sent, ours, "orthanc"), 3.5, True))
        figures.append(("CPU to storescp", _cpu(sent, ours), 0.5, False))
    figures.append(("peak MB", max(part.peak_mb for part in sent[ours]), 100.0 + 2.0 * associations, False))
    lines = []
    for what, value, goal, at_least in figures:
        met = value >= goal if at_least else value <= goal
        aim = f"{'>=' if at_least else '<='} {goal:6.2f}"
        lines.append(f"{title:<44} {what:<18} {value:8.2f}  {aim}  {'met' if met else 'NOT MET'}")
    return lines


def main() -> None:
    """Print a table for each size, number of associations and sender; speed and CPU are ratios to storescp."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=40, help="sent to each receiver in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kilobytes", default="135,575")
    parser.add_argument("--associations", default="1,4")
    parser.add_argument("--senders", default="nodelay,stock")
    parser.add_argument("--folder", type=Path, default=None, help="where to receive; the default is the temporary one")
    parser.add_argument("--with-pynetdicom-path", action="store_true", help="also the node's other receive path")
    arguments = parser.parse_args()
    against_goals: list[str] = []
    sizes = list(map(int, arguments.kilobytes.split(",")))
    parts = [(False, size, number) for size in sizes for number in map(int, arguments.associations.split(","))]
    parts = parts if "nodelay" in arguments.senders else []
    if "stock" in arguments.senders:
        parts.append((True, sizes[0], 1))
    for nagle, kilobytes, associations in parts:
        objects = _STOCK_OBJECTS if nagle else max(_LEAST_OBJECTS, (arguments.megabytes << 10) // kilobytes)
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            sent = measure(
                Path(name),
                objects=objects,
                kilobytes=kilobytes,
                associations=associations,
                nagle=nagle,
                rounds=1 if nagle else arguments.rounds,
                paths=("fast", "pynetdicom") if arguments.with_pynetdicom_path else ("fast",),
            )
        title = f"{objects} x {kilobytes} KB, {associations} association(s), {'stock' if nagle else 'nodelay'}"
        _print(title, sent)
        against_goals += goal_lines(title, sent, associations, nagle=nagle)
    print("\nagainst the goals\n" + "\n".join(against_goals))


if __name__ == "__main__":
    main()
