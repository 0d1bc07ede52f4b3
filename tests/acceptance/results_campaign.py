"""Every result object of many phantom studies, judged by programs that are not ours.

python -m tests.acceptance.results_campaign --studies 60 [--data ../shared/data] [--record FILE [--seconds 180]]

dciodvfy finds no error; highdicom reads every SEG and SR; dcmqi turns the SEG into the same voxels and both SRs into
JSON; our lint finds nothing. Vendors, classic and enhanced images, with and without a tumour take turns. With --data,
the real enhanced T1 of a Siemens XA30 is a source too, with labels painted into it. With --record the campaign goes on
where it was stopped, and --seconds stops it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path

import highdicom
import nibabel
import numpy as np
from pydicom import dcmread

from dicom_node.inbound.conversion import load_series
from dicom_node.result_kinds import ResultKind
from dicom_node.results.encoders import encode_checked
from pipeline.report import Label, Segmentation
from tests.acceptance.campaign_record import CampaignRecord
from tests.phantom_results import STAMP, Case, case_of, phantom_case

VENDORS = ("siemens", "ge", "philips")
#: Younger than Debian's dciodvfy.
_UNKNOWN = {ResultKind.LABELMAP}


@dataclass(kw_only=True)
class Tally:
    """What was judged and what was wrong."""

    objects: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def judge(case: Case, folder: Path, name: str, tally: Tally) -> None:
    """Encode every kind and let the others look at it."""
    folder.mkdir(parents=True, exist_ok=True)
    for made, defects in encode_checked(case.report, case.evidence, STAMP, list(ResultKind)):
        path = folder / f"{made.kind}.dcm"
        path.write_bytes(made.to_bytes())
        tally.objects[made.kind] += 1
        tally.faults += [f"{name} {made.kind}: lint {defect.code}: {defect.text}" for defect in defects]
        if made.kind not in _UNKNOWN:
            said = subprocess.run(["/usr/bin/dciodvfy", path], capture_output=True, text=True, check=False).stderr
            tally.faults += [f"{name} {made.kind}: {line}" for line in said.splitlines() if line.startswith("Error")]
        dataset = dcmread(BytesIO(path.read_bytes()))
        if made.kind in (ResultKind.SEG, ResultKind.SEG_REGIONS, ResultKind.LABELMAP):
            highdicom.seg.Segmentation.from_dataset(dataset)
        elif made.kind in (ResultKind.SR, ResultKind.SR_VIEWER):
            highdicom.sr.Comprehensive3DSR.from_dataset(dataset)
            run_dcmqi("tid1500reader", "--inputDICOM", path, "--outputMetadata", folder / "sr.json")
        if made.kind == ResultKind.SEG and not same_voxels(case, path, folder):
            tally.faults.append(f"{name} SEG: dcmqi reads other voxels")


def run_dcmqi(program: str, *arguments: str | Path) -> None:
    """One of dcmqi's programs, which are installed beside the interpreter."""
    subprocess.run([Path(sys.executable).parent / program, *arguments], check=True, capture_output=True)


def same_voxels(case: Case, path: Path, folder: Path) -> bool:
    """Whether dcmqi finds each label's voxels where they were, in millimetres."""
    out = folder / "dcmqi"
    out.mkdir(exist_ok=True)
    run_dcmqi("segimage2itkimage", "--inputDICOM", path, "--outputDirectory", out, "-t", "nii", "--mergeSegments")
    segmentation = case.report.segmentation
    assert isinstance(segmentation, Segmentation)
    labels = [label for label in Label if (segmentation.labels == label).any()]
    found: dict[int, set[tuple[float, ...]]] = {}
    for file in out.glob("*.nii.gz"):
        image = nibabel.load(file)
        voxels = np.asarray(image.dataobj)
        for number in range(1, len(labels) + 1):
            found.setdefault(number, set()).update(places(np.argwhere(voxels == number), image.affine))
    return all(
        found.get(number, set()) == places(np.argwhere(segmentation.labels == label), segmentation.grid.affine)
        for number, label in enumerate(labels, 1)
    )


def places(voxels: np.ndarray, affine: np.ndarray) -> set[tuple[float, ...]]:
    """Points in mm, to a half."""
    points = np.round((voxels @ affine[:3, :3].T + affine[:3, 3]) * 2) / 2 + 0.0
    return {tuple(point) for point in points}


def real_case(data: Path) -> Case:
    """The real enhanced T1, with two boxes painted into it."""
    folder = data / "dicom" / "siemens_xa30_enhanced" / "5_anat-T1w_acq-tfl"
    converted = load_series(sorted(folder.glob("*.dcm")))
    labels = np.zeros(converted.volume.grid.shape, np.uint8)
    i, j, k = (n // 2 for n in labels.shape)
    labels[i - 12 : i + 12, j - 10 : j + 10, k - 4 : k + 4] = Label.ED
    labels[i - 8 : i + 8, j - 6 : j + 6, k - 2 : k + 2] = Label.ET
    labels[i - 3 : i + 3, j - 3 : j + 3, k - 1 : k + 1] = Label.NCR
    return case_of(converted, labels)


def campaign(
    studies: int,
    data: Path | None,
    folder: Path,
    record: CampaignRecord | None = None,
    until: float = float("inf"),
) -> Tally:
    """Judge so many phantom studies, and the real series where there is one; what the record has is not done again.

    until: no case begins after this time of the monotonic clock.
    """
    record = record or CampaignRecord(None)
    cases: list[tuple[str, Callable[[Path], Case]]] = []
    for seed in range(studies):
        vendor, enhanced, tumour = VENDORS[seed % 3], seed % 2 == 1, seed % 10 != 9
        name = f"{seed} {vendor} {'enhanced' if enhanced else 'classic'}{'' if tumour else ' without tumour'}"
        cases.append((name, partial(phantom_case, seed=seed, vendor=vendor, enhanced=enhanced, tumour=tumour)))
    if data is not None:
        cases.insert(0, ("real enhanced T1", lambda _: real_case(data)))
    for name, make in cases:
        if record.has(name) or time.monotonic() > until:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as own:
            tally = Tally()
            judge(make(Path(own) / "in"), Path(own) / "out", name, tally)
            record.add(name, objects=dict(tally.objects), faults=tally.faults)
    whole = Tally()
    for line in record.lines:
        whole.objects.update(line["objects"])
        whole.faults += line["faults"]
    return whole


def main() -> None:
    """Run the campaign and print what it came to; exit 1 on any fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    arguments = parser.parse_args()
    record, until = CampaignRecord(arguments.record), time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        tally = campaign(arguments.studies, arguments.data, Path(folder), record, until)
    told = f"cases: {len(record.lines)}, objects judged: {dict(tally.objects)}, faults: {len(tally.faults)}"
    print(told)
    for fault in tally.faults:
        print(fault)
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
