"""Roles of phantom studies whose headers were tampered with as real archives do it, by headers and images together.

python -m tests.acceptance.hostile_roles --studies 60 --seed 1

A series is right where it has its true role, or none if it truly has none; a second T1CE may be left out. A wrong one
is silent where it was given a role and no flag names it. Pixels come from the phantom as they are: no file is written.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dicom_node.errors import SeriesRefused
from dicom_node.inbound.headers import MR_IMAGE, InstanceHeader, read_header
from dicom_node.inbound.refusals import Refusal
from dicom_node.inbound.series_headers import SeriesHeaders
from dicom_node.inbound.series_roles import RoleAssignment, assign
from dicom_node.phantom.series import Clutter, PhantomSeries
from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.vendors import VendorName
from dicom_node.phantom.write_dicom import objects_of
from dicom_node.role_evidence import role_evidence
from pipeline.volume import SeriesRole, Volume

#: Share of all series that must be right.
LEAST_RIGHT = 0.97
VENDORS: tuple[VendorName, ...] = ("siemens", "ge", "philips")
_T1, _T1CE, _T2, _FLAIR = SeriesRole.T1, SeriesRole.T1CE, SeriesRole.T2, SeriesRole.FLAIR

#: Descriptions as other languages write them: T1, T1CE, T2, FLAIR.
_LANGUAGES = (
    ("T1 tra nativ", "T1 tra nach KM-Gabe", "T2 tra", "FLAIR tra"),
    ("T1 axial sans injection", "T1 axial après injection", "T2 axial", "FLAIR axial"),
    ("T1 axial sin contraste", "T1 axial con contraste", "T2 axial", "FLAIR axial"),
    ("T1 assiale senza mdc", "T1 assiale dopo mdc", "T2 assiale", "FLAIR assiale"),
    ("T1 axial sem contraste", "T1 axial pós-contraste", "T2 axial", "FLAIR axial"),
    ("T1 tra zonder contrast", "T1 tra met contrast", "T2 tra", "FLAIR tra"),
    ("T1 osiowe bez kontrastu", "T1 osiowe po kontraście", "T2 osiowe", "FLAIR osiowe"),
    ("T1 utan kontrast", "T1 efter kontrast", "T2 tra", "FLAIR tra"),
    ("T1 kontrastsız", "T1 kontrastlı", "T2 aksiyel", "FLAIR aksiyel"),
    ("T1 без контраста", "T1 с контрастом", "T2 акс", "FLAIR акс"),
    ("T1平扫", "T1增强", "T2轴位", "T2 FLAIR轴位"),
    ("T1単純", "造影T1", "T2横断", "FLAIR横断"),
)
_MISLEADING = (
    "BRAIN TUMOR W WO CONTRAST", "Schädel Standard", "Series", "HEAD ROUTINE", "Neuro", "MR BRAIN POST OP", "SE 4",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    """One series and what it truly is. second: a further T1CE, which may be left out."""

    role: SeriesRole | None
    clutter: Clutter | None
    headers: SeriesHeaders
    volume: Volume | None
    second: bool = False

    def with_fields(self, **fields: Any) -> Part:
        """The same series with these header fields on every instance."""
        changed = tuple(replace(header, **fields) for header in self.headers.headers)
        return replace(self, headers=replace(self.headers, headers=changed))

    def described(self, text: str) -> Part:
        """With this description, in every place where a description is."""
        return self.with_fields(series_description=text, protocol_name=text)


Parts = list[Part]
Tamper = Callable[[Parts, random.Random], Parts]

_NO_TIMING: Mapping[str, Any] = {
    "repetition_time_ms": None, "echo_time_ms": None, "inversion_time_ms": None, "flip_angle_deg": None,
    "echo_train_length": None, "scanning_sequence": (), "sequence_variant": (), "sequence_name": "",
}  # fmt: skip
_NO_CONTRAST: Mapping[str, Any] = {"contrast_agent": ""}


def _with_role(parts: Parts, change: Callable[[Part], Part]) -> Parts:
    return [change(part) if part.role else part for part in parts]


def _shuffled(parts: Parts, chance: random.Random) -> Parts:
    """The four descriptions in each other's places, none in its own."""
    own = [part.headers.description for part in parts if part.role]
    turn = chance.randint(1, len(own) - 1)
    turned = iter(own[turn:] + own[:turn])
    return _with_role(parts, lambda part: part.described(next(turned)))


def _translated(parts: Parts, chance: random.Random) -> Parts:
    words = dict(zip(SeriesRole, chance.choice(_LANGUAGES), strict=True))
    return _with_role(parts, lambda part: part.described(words[part.role] if part.role else ""))


def _empty(parts: Parts, _: random.Random) -> Parts:
    return _with_role(parts, lambda part: part.described(""))


def _misleading(parts: Parts, chance: random.Random) -> Parts:
    """One text on all four, which may name what most of them are not."""
    text = chance.choice(_MISLEADING)
    return _with_role(parts, lambda part: part.described(text))


def _no_timing(parts: Parts, _: random.Random) -> Parts:
    return _with_role(parts, lambda part: part.with_fields(**_NO_TIMING))


def _nothing(parts: Parts, _: random.Random) -> Parts:
    """No word, no timing, no agent: of all that has a true role."""
    return _with_role(parts, lambda part: part.described("").with_fields(**_NO_TIMING, **_NO_CONTRAST))


def _no_contrast(parts: Parts, _: random.Random) -> Parts:
    """The two T1 without a word or tag of contrast."""
    wanted = (_T1, _T1CE)
    return [p.described("T1").with_fields(**_NO_CONTRAST) if p.role in wanted else p for p in parts]


def _no_contrast_no_time(parts: Parts, chance: random.Random) -> Parts:
    """Nor a time of acquisition."""
    return [part.with_fields(acquisition_datetime="") for part in _no_contrast(parts, chance)]


def _agent_everywhere(parts: Parts, _: random.Random) -> Parts:
    """The scanner wrote the agent on all series, and nobody a word."""
    parts = [part.described("T1") if part.role in (_T1, _T1CE) else part for part in parts]
    return [part.with_fields(contrast_agent="Gadovist") for part in parts]


def _two_t1ce(parts: Parts, chance: random.Random) -> Parts:
    """The T1CE once more, later, under another UID, at times without its last slices."""
    first = next(part for part in parts if part.role is _T1CE)
    uid = first.headers.series_instance_uid + ".9"
    kept = first.headers.headers[: None if chance.random() < 0.5 else -3]
    again = tuple(
        replace(
            header, series_instance_uid=uid, sop_instance_uid=f"{uid}.{number}",
            acquisition_datetime=header.acquisition_datetime[:8] + "235900",
        )
        for number, header in enumerate(kept)
    )  # fmt: skip
    headers = SeriesHeaders(series_instance_uid=uid, headers=again)
    return [*parts, replace(first, headers=headers, second=True)]


def _disguised(parts: Parts, _: random.Random) -> Parts:
    """What is derived from T1CE says ORIGINAL and carries no description."""
    hidden = (Clutter.SUBTRACTION, Clutter.MPR)
    original = ("ORIGINAL", "PRIMARY", "M", "ND")
    return [part.described("").with_fields(image_type=original) if part.clutter in hidden else part for part in parts]


def _exchanged_words(parts: Parts, _: random.Random) -> Parts:
    """T1 and T1CE carry each other's description; nothing else tells."""
    words = {part.role: part.headers.description for part in parts if part.role}
    other = {_T1: words[_T1CE], _T1CE: words[_T1]}
    return [p.described(other[p.role]).with_fields(**_NO_CONTRAST) if p.role in other else p for p in parts]


KINDS: dict[str, Tamper] = {
    "shuffled descriptions": _shuffled,
    "translated descriptions": _translated,
    "empty descriptions": _empty,
    "misleading descriptions": _misleading,
    "no timing": _no_timing,
    "no word, timing or agent": _nothing,
    "no sign of contrast": _no_contrast,
    "no sign of contrast, no times": _no_contrast_no_time,
    "agent on every series": _agent_everywhere,
    "two T1CE": _two_t1ce,
    "derived series in disguise": _disguised,
    "T1 and T1CE descriptions exchanged": _exchanged_words,
}


def parts_of(study: PhantomStudy) -> Parts:
    """The study's series as the node knows them."""
    return [_part(study, series) for series in study.series]


def _part(study: PhantomStudy, series: PhantomSeries) -> Part:
    headers: list[InstanceHeader] = [read_header(dataset) for dataset in objects_of(study, series)]
    # Several stacks in one series are refused at conversion.
    volume = series.volume if len(series.stacks) == 1 and headers[0].sop_class_uid == MR_IMAGE else None
    grouped = SeriesHeaders(series_instance_uid=series.series_instance_uid, headers=tuple(headers))
    return Part(role=series.role, clutter=series.clutter, headers=grouped, volume=volume)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """series, right: counted. wrong, silent: told, the latter with a role and no flag. flagged: with a role and a
    flag. seconds: of CPU that the images took."""

    series: int
    right: int
    wrong: tuple[str, ...]
    silent: tuple[str, ...]
    flagged: int
    seconds: float


def outcome(parts: Parts) -> Outcome:
    """What the node decides of these series."""
    volumes = {part.headers.series_instance_uid: part.volume for part in parts}

    def load(uid: str) -> Volume:
        volume = volumes[uid]
        if volume is None:
            raise SeriesRefused(Refusal.NOT_A_VOLUME, uid, "several stacks")
        return volume

    started = time.thread_time()
    headers = [part.headers for part in parts]
    evidence = role_evidence(headers, {}, load)
    seconds = time.thread_time() - started
    usable = [one for one in headers if volumes[one.series_instance_uid] is not None]
    assignment = assign(usable, {}, evidence.seen)
    wrong, silent, flagged = [], [], 0
    for part in parts:
        uid = part.headers.series_instance_uid
        given = assignment.role_of(uid)
        flagged += given is not None and uid in evidence.doubts
        if given is not part.role and not _spare(part, parts, assignment):
            wrong.append(f"{part.role or part.clutter} taken for {given}")
            if given is not None and uid not in evidence.doubts:
                silent.append(wrong[-1])
    return Outcome(
        series=len(parts), right=len(parts) - len(wrong), wrong=tuple(wrong), silent=tuple(silent), flagged=flagged,
        seconds=seconds,
    )  # fmt: skip


def _spare(part: Part, parts: Parts, assignment: RoleAssignment) -> bool:
    """One of two T1CE, left out for the other."""
    pair = [one.headers.series_instance_uid for one in parts if one.role is _T1CE]
    uid = part.headers.series_instance_uid
    if len(pair) < 2 or uid not in pair or assignment.role_of(uid) is not None:
        return False
    return any(assignment.role_of(other) is _T1CE for other in pair)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    kinds = list(KINDS)
    found: dict[str, list[Outcome]] = {kind: [] for kind in kinds}
    for number in range(arguments.studies):
        kind, seed = kinds[number % len(kinds)], arguments.seed * 1000 + number
        study = make_study(seed, VENDORS[(number + number // len(kinds)) % len(VENDORS)], size="small", clutter=True)
        found[kind].append(outcome(KINDS[kind](parts_of(study), random.Random(seed))))
        one = found[kind][-1]
        told = f"{study.vendor.name} {kind}: {one.right} of {one.series} {one.wrong}"
        print(f"{number + 1} {told}", file=sys.stderr, flush=True)
    every = [one for rows in found.values() for one in rows]
    print("| headers | studies | series right | wrong, flagged | wrong, silent | with a role and a flag |")
    print("|---|---|---|---|---|---|")
    for kind, outcomes in [*found.items(), ("all", every)]:
        print(_row(kind, outcomes))
    print(Counter(text for one in every for text in one.wrong))
    seconds = [one.seconds for one in every]
    print(f"CPU seconds of the images: mean {sum(seconds) / len(seconds):.2f}, most {max(seconds):.2f}")
    right = sum(one.right for one in every) / sum(one.series for one in every)
    return int(right < LEAST_RIGHT or any(one.silent for one in every))


def _row(kind: str, rows: list[Outcome]) -> str:
    series, right = sum(one.series for one in rows), sum(one.right for one in rows)
    silent = sum(len(one.silent) for one in rows)
    wrong = series - right
    flagged_right = sum(one.flagged for one in rows)
    return (
        f"| {kind} | {len(rows)} | {right} of {series} ({right / max(series, 1):.1%}) | {wrong - silent} | {silent} | "
        f"{flagged_right} |"
    )


if __name__ == "__main__":
    sys.exit(main())
