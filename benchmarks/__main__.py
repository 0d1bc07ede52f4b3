"""`make bench`: whole-run figures, each as a ratio to a named peer measured in the same run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.classifier import classifier_memory, classifier_rows
from benchmarks.conversion import conversion_rows
from benchmarks.ingest import ingest_rows
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from pipeline.volume import SeriesRole

ROUNDS = 5


def main() -> None:
    """Print one line a figure: what, ours, the peer's, the median of the ratios taken pair by pair."""
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(1, "siemens", clutter=False, roles=(SeriesRole.T1CE,))
        (series,) = write_study(Path(folder) / "study", study)
        rows = [
            *ingest_rows(list(series.paths), Path(folder), ROUNDS),
            *conversion_rows(list(series.paths), Path(folder), ROUNDS),
            *classifier_rows(Path(folder), ROUNDS),
        ]
        memory = classifier_memory(Path(folder))
    print(f"{'what':<46} {'ours s':>8} {'peer s':>8} {'ours/peer':>10}   peer")
    for row in rows:
        print(f"{row.what:<46} {row.ours_s:8.2f} {row.peer_s:8.2f} {row.ratio:10.2f}   {row.peer}")
    for line in memory:
        print(line)


if __name__ == "__main__":
    main()
