"""Result objects of a 240 x 240 x 155 study: time and size beside highdicom's plain constructor and save.

python -m benchmarks.results [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import TypeVar

import highdicom
import numpy as np
from highdicom.color import CIELabColor

from benchmarks.rows import Row, in_turn
from dicom_node.results.encoders import encode_checked
from dicom_node.results.evidence import Evidence
from pipeline.measurements import measure
from pipeline.report import Label, Report, Segmentation
from tests.mr_series import mr_series
from tests.report_builders import SEGMENTER, STAMP, evidence_of, full_report

T = TypeVar("T")

#: Both SEGs, both SRs and the PDF.
ALL = ("SEG", "SEG-REGIONS", "SR", "SR-VIEWER", "PDF")


def study() -> tuple[Report, Evidence]:
    """A tumour of 49 mL on 240 x 240 x 155 voxels of 1 mm, in 155 single-frame images."""
    series = mr_series(columns=240, rows=240, slices=155, pixel_spacing=(1.0, 1.0), slice_spacing=1.0)
    i, j, k = np.ogrid[:240, :240, :155]
    distance = np.sqrt((i - 150.0) ** 2 + (j - 100.0) ** 2 + (k - 80.0) ** 2)
    labels = np.zeros(series.grid.shape, np.uint8)
    for radius, label in ((22.7, Label.ED), (16.0, Label.ET), (10.0, Label.NCR)):
        labels[distance < radius] = label
    segmentation = Segmentation(labels=labels, grid=series.grid, model=SEGMENTER)
    measurements, lesions = measure(segmentation)
    report = replace(
        full_report(series.grid, labels), segmentation=segmentation, measurements=measurements, lesions=lesions
    )
    return report, evidence_of(series)


def plain_seg(report: Report, evidence: Evidence) -> bytes:
    """The three compartments by highdicom's constructor alone, with every frame, and saved."""
    assert isinstance(report.segmentation, Segmentation)
    numbers = np.zeros(5, np.uint8)
    numbers[list(Label)] = (1, 2, 3)
    code = highdicom.sr.CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
    dataset = highdicom.seg.Segmentation(
        source_images=list(evidence.reference.datasets),
        pixel_array=numbers[report.segmentation.labels.transpose(2, 1, 0)],
        segmentation_type="BINARY",
        segment_descriptions=[
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=str(number),
                segmented_property_category=code,
                segmented_property_type=code,
                algorithm_type="AUTOMATIC",
                algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                    name="plain",
                    family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
                    version="1",
                ),
                display_color=CIELabColor.from_rgb(255, 0, 0),
            )
            for number in (1, 2, 3)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="plain",
        manufacturer_model_name="plain",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=False,
    )
    file = BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def ours(report: Report, evidence: Evidence, *kinds: str) -> list[bytes]:
    """Our objects, linted, as files."""
    return [made.to_bytes() for made, _ in encode_checked(report, evidence, STAMP, kinds)]


def results_rows(rounds: int) -> tuple[list[Row], list[str]]:
    """The SEG beside the plain constructor; then what a whole run's objects take, and every size."""
    report, evidence = study()
    peer = "highdicom constructor and save"
    row = in_turn(
        "SEG encoded, linted and written",
        peer,
        lambda: ours(report, evidence, "SEG"),
        lambda: plain_seg(report, evidence),
        rounds,
    )
    whole, sizes = _cpu_s(lambda: [len(data) for data in ours(report, evidence, *ALL)], rounds)
    seg, _ = _cpu_s(lambda: ours(report, evidence, "SEG"), rounds)
    plain, peer_size = _cpu_s(lambda: len(plain_seg(report, evidence)), rounds)
    told = ", ".join(f"{kind} {size / 1e6:.2f} MB" for kind, size in zip(ALL, sizes, strict=True))
    lines = [
        f"SEG: {seg:.2f} CPU s, {seg / plain:.2f} times the plain constructor and save ({plain:.2f} CPU s)",
        f"both SEGs, both SRs and the PDF: {whole:.2f} CPU s, {whole / plain:.2f} times that ({told})",
        f"SEG {sizes[0]} bytes, plain constructor {peer_size} bytes",
    ]
    return [row], lines


def _cpu_s(work: Callable[[], T], rounds: int) -> tuple[float, T]:
    """The least CPU seconds of some rounds, which other programs disturb less than seconds by the clock."""
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        made = work()
        taken.append(time.process_time() - started)
    return min(taken), made


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rows, lines = results_rows(parser.parse_args().rounds)
    for row in rows:
        print(f"{row.what}: {row.ours_s:.2f} s, {row.peer}: {row.peer_s:.2f} s, ratio {row.ratio:.2f}")
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
