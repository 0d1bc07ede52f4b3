"""Imported once by the process that nodes are forked from: what they would each import, and the study they know."""

from __future__ import annotations

import tempfile
from pathlib import Path

import dicom_node.comparisons
import dicom_node.engine
import dicom_node.explanations
import dicom_node.follow_up
import dicom_node.intake
import dicom_node.outward
import dicom_node.runs
import dicom_node.worker
import tests.acceptance.forked_node
from tests.acceptance.remembered import remember
from tests.acceptance.small_studies import SmallStudies

__all__ = ["dicom_node", "tests"]

with tempfile.TemporaryDirectory() as folder:
    remember(SmallStudies(Path(folder), "remembered"))
