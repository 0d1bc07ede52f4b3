"""C-STORE into our listener and into others, in turn, as DCMTK's storescu sends.

python -m benchmarks.ingest [--objects 620] [--rounds 5] [--kilobytes 135,575] [--associations 1,4]
                            [--senders nodelay,stock] [--folder on-the-disk-to-measure]

A round sends the same number of new objects to each receiver, one after the other; ratios are taken round by round.
Ours answers when the object lasts; storescp +B, Orthanc and pynetdicom's usual receiver sync nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ingest_objects import Objects
from benchmarks.ingest_receivers import Receiver, start_receivers
from benchmarks.rows import Row

STORESCU = "/usr/bin/storescu"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One receiver's part of one round. behind_s: until what it does behind its answers was done."""

    seconds: float
    cpu_s: float
    behind_cpu_s: float
    behind_s: float
    peak_mb: float


def measure(
    folder: Path, *, objects: int, kilobytes: int, associations: int, nagle: bool, rounds: int
) -> dict[str, list[Sent]]:
    """Rounds by receiver's name, after one uncounted."""
    made = Objects(folder / "objects", kilobytes)
    receivers = start_receivers(folder / "receivers", associations, nagle=nagle)
    sent: dict[str, list[Sent]] = {receiver.name: [] for receiver in receivers}
    try:
        for number in range(rounds + 1):
            for receiver in receivers:
                part = _send(receiver, made.make(objects), associations, nagle=nagle)
                if number:
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
    base = sent["storescp"]
    for name, parts in sent.items():
        speed = statistics.median(b.seconds / a.seconds for a, b in zip(parts, base, strict=True))
        cpu = statistics.median(a.cpu_s / max(b.cpu_s, 0.01) for a, b in zip(parts, base, strict=True))
        columns = (
            _median(parts, "seconds"),
            speed,
            _median(parts, "cpu_s"),
            cpu,
            _median(parts, "behind_s"),
            _median(parts, "behind_cpu_s"),
            _median(parts, "peak_mb"),
        )
        print(f"{name:<18}" + "".join(f"{value:9.2f}" for value in columns), flush=True)


def _median(parts: list[Sent], field: str) -> float:
    return float(statistics.median(getattr(part, field) for part in parts))


def main() -> None:
    """Print a table for each size, number of associations and sender; speed and CPU are ratios to storescp."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=620)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kilobytes", default="135,575")
    parser.add_argument("--associations", default="1,4")
    parser.add_argument("--senders", default="nodelay,stock")
    parser.add_argument("--folder", type=Path, default=None, help="where to receive; the default is the temporary one")
    arguments = parser.parse_args()
    for sender in arguments.senders.split(","):
        for kilobytes in map(int, arguments.kilobytes.split(",")):
            for associations in map(int, arguments.associations.split(",")):
                # A stock sender makes 15 objects a second with some receivers: fewer do.
                objects = arguments.objects if sender == "nodelay" else max(20, arguments.objects // 10)
                with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
                    sent = measure(
                        Path(name),
                        objects=objects,
                        kilobytes=kilobytes,
                        associations=associations,
                        nagle=sender == "stock",
                        rounds=arguments.rounds,
                    )
                _print(f"{objects} objects of {kilobytes} KB, {associations} association(s), {sender} sender", sent)


if __name__ == "__main__":
    main()
