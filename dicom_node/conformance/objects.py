"""Annex 8: what is in the objects this node makes, and the storage classes it accepts."""

from __future__ import annotations

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.sr.coding import Code

from dicom_node.conformance.markdown import document, table, uid_rows
from dicom_node.inbound.offered import STORAGE_CLASSES
from dicom_node.results import codes
from dicom_node.results.encoders import ENCODERS
from dicom_node.results.seg import CONTENT_DESCRIPTION
from dicom_node.results.stamp import (
    EQUIPMENT_NAME,
    FIRST_SERIES_NUMBER,
    IDENTITY_KEYWORDS,
    SERIES_DESCRIPTION_PREFIX,
)
from pipeline.report import RESEARCH_NOTICE, SkipCode, Stage


def annexes() -> str:
    """The annexes."""
    return document(
        "## 8 Annexes",
        "### 8.1 IOD contents",
        _common(),
        _segmentation(),
        _report(),
        "### 8.2 Data dictionary of private attributes",
        "None is written. Private attributes that are received are kept.",
        "### 8.3 Coded terminology and templates",
        f"Templates: TID 1500 with TID 1411, TID 1600 and TID 1602. Private scheme {codes.PRIVATE_SCHEME} "
        f"({codes.PRIVATE_SCHEME_NAME}), identified in Coding Scheme Identification Sequence.",
        table(("used as", "value", "scheme", "meaning"), _codes()),
        "### 8.4 Greyscale image consistency",
        "Nothing is displayed by DICOM means.",
        "### 8.5 Standard extended, specialized and private SOP classes",
        "Storage classes accepted by STORE-SCP, the private ones last:",
        table(("SOP class", "UID"), uid_rows(STORAGE_CLASSES)),
        "### 8.6 Private transfer syntaxes",
        "1.2.840.113619.5.2, of older GE scanners, is accepted.",
    )


def _common() -> str:
    return document(
        "#### 8.1.1 Common to all",
        "Copied from the first slice of the source series, verbatim, in its character set:",
        table(
            ("attribute", "tag"),
            [(dictionary_description(word), _tag(word)) for word in IDENTITY_KEYWORDS],
        ),
        table(
            ("attribute", "value"),
            [
                ("Manufacturer, Manufacturer's Model Name", EQUIPMENT_NAME),
                ("Software Versions", "of this node"),
                ("Device Serial Number", "16 hex digits, others whenever any weights change"),
                ("Contributing Equipment Sequence", "each model: name, version, SHA-256 of its weights"),
                ("Series Description", f"begins with '{SERIES_DESCRIPTION_PREFIX}'"),
                ("Series Number", f"{FIRST_SERIES_NUMBER + 1} and up, ten for each run"),
                ("Series and SOP Instance UID", "below 2.25, derived from study, inputs, run, software and weights"),
                ("Transfer Syntax UID", "Explicit VR Little Endian; of LABELMAP, RLE Lossless"),
            ],
        ),
        table(("result", "SOP class UID"), [(one.kind, one.sop_class_uid) for one in ENCODERS]),
    )


def _segmentation() -> str:
    return document(
        "#### 8.1.2 SEG",
        "BINARY, on the grid and Frame of Reference of one source series, a frame for every slice and segment, "
        "empty ones "
        f"included. Content Label BTN_SEG; Content Description '{CONTENT_DESCRIPTION}'; Segment Algorithm Type "
        "AUTOMATIC. NCR, ED and ET, which do not overlap, are SEG; WT and TC, which do, are SEG-REGIONS (Content Label "
        "BTN_REGIONS). LABELMAP, where a destination asks for it, is a label map of the first three, RLE Lossless. By "
        "choice (`results.omit_empty_frames`) the empty frames are left out.",
        table(
            ("segment", "property type", "code", "colour (RGB)"),
            [
                (
                    kind.text,
                    kind.property_type.meaning,
                    f"({kind.property_type.value}, {kind.property_type.scheme_designator})",
                    ", ".join(map(str, kind.rgb)),
                )
                for kind in (*codes.SEGMENT_KINDS, *codes.REGION_KINDS)
            ],
        ),
    )


def _report() -> str:
    return document(
        "#### 8.1.3 SR",
        "Comprehensive 3D SR, TID 1500: image library, state of every stage, detection and type with "
        "probabilities, volumes with "
        "their range, diameters, references to the SEG and its segments. Completion Flag COMPLETE or PARTIAL, "
        "Verification Flag "
        "UNVERIFIED, Preliminary Flag PRELIMINARY; where a review accepted the results and the site names its "
        "organization, an amended SR with VERIFIED, FINAL and the reviewer as Verifying Observer follows. "
        "A later run of the study names the SR it replaces in "
        "Predecessor Documents "
        "Sequence.",
        f"Each carries: '{RESEARCH_NOTICE}'",
        "SR-VIEWER has the same frame and holds the diameters alone, with their ends as SCOORD on a source image, or "
        "as SCOORD3D.",
        "#### 8.1.4 SC, KO, PDF and rejection notes",
        "Sent where a destination asks for them, SC and PDF also in place of what it refuses: an RGB Secondary Capture "
        "(Image Type DERIVED, SECONDARY, MONTAGE), a Key Object Selection 'Of Interest' of source images, and an "
        "Encapsulated PDF, which names the patient (Burned In Annotation YES). Where a review rejects what a "
        "destination has, and the destination's kinds name REJECTION, a Key Object Selection '"
        f"{codes.REJECTED_FOR_QUALITY.meaning}' ({codes.REJECTED_FOR_QUALITY.value}, DCM) refers to those objects.",
    )


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword) or 0
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _codes() -> list[tuple[str, str, str, str]]:
    found: list[tuple[str, Code]] = [
        (name.lower().replace("_", " "), code) for name, code in vars(codes).items() if isinstance(code, Code)
    ]
    found += [("stage", codes.stage_code(stage)) for stage in Stage]
    found += [("stage not run", codes.skip_code(skip)) for skip in SkipCode]
    found += [("tumor type", codes.tumour_type_code(name)) for name in ("glioma", "meningioma", "pituitary")]
    return [(name, code.value, code.scheme_designator, code.meaning) for name, code in found]
