"""The segmentation as NIfTI on the reference series' own grid: labels, and each nested region as a mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dicom_node.exports.content import ExportScan
from pipeline.nifti import save_labels
from pipeline.report import Region, Segmentation


def write_nifti(scan: ExportScan, out: Path) -> list[Path]:
    """<scan>-labels.nii.gz (0, 1 NCR, 2 ED, 4 ET) and -wt, -tc, -et.nii.gz (0, 1); none without segmentation."""
    segmentation = scan.report.segmentation
    if not isinstance(segmentation, Segmentation):
        return []
    paths = [out / f"{scan.scan_id}-labels.nii.gz"]
    save_labels(paths[0], segmentation)
    for region in Region:
        paths.append(out / f"{scan.scan_id}-{region.lower()}.nii.gz")
        save_labels(paths[-1], replace(segmentation, labels=segmentation.region(region)))
    return paths
