"""The coded concepts of our result objects, each written once.

Standard codes were compared with the DICOM code dictionaries that pydicom carries (a test repeats that); the NCIt codes
of the tumour types are not in any DICOM context group and are marked so. Where no standard code says what is meant, a
private one of scheme 99BTN does: `PRIVATE_SCHEME` travels in every object that uses one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydicom.sr.coding import Code

from pipeline.followup import Category
from pipeline.overlay import LABEL_COLOURS
from pipeline.report import REGION_LABELS, Label, Region, SkipCode, Stage

PRIVATE_SCHEME = "99BTN"
PRIVATE_SCHEME_NAME = "Brain tumor node"

# In pydicom's dictionaries; the context group follows.
BRAIN = Code("12738006", "SCT", "Brain")  # CID 4
MORPHOLOGICALLY_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")  # CID 7150
NECROSIS = Code("6574001", "SCT", "Necrosis")  # CID 7168
EDEMA = Code("79654002", "SCT", "Edema")  # CID 7168, 7169
ENHANCING_LESION = Code("C113842", "NCIt", "Enhancing Lesion")  # CID 7168, 7169
LESION_OF_BRAIN = Code("301766008", "SCT", "Lesion of Brain")  # CID 7151
NEOPLASM = Code("108369006", "SCT", "Neoplasm")  # CID 7151
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")  # CID 7021
BRAIN_MRI = Code("24590-2", "LN", "Brain MRI")  # CID 646
VOLUME = Code("118565006", "SCT", "Volume")  # CID 7469
LONG_AXIS = Code("103339001", "SCT", "Long Axis")  # CID 7469; OHIF compares this spelling
SHORT_AXIS = Code("103340004", "SCT", "Short Axis")  # CID 7469
#: IBSI's largest distance between vertices of the mesh at half the mask's step, which are the middles of voxel faces.
MAXIMUM_DIAMETER = Code("L0JK", "IBSI", "Maximum 3D Diameter of a Mesh")  # CID 7470
RESPONSE_METHOD = Code("112021", "DCM", "Response Evaluation Method")  # values of CID 6147
CURRENT_RESPONSE = Code("112048", "DCM", "Current Response")  # values of CID 6143
RANO = Code("C114879", "NCIt", "RANO")  # CID 6147
SUM_OF_VOXELS = Code("126030", "DCM", "Sum of segmented voxel method for volume")  # CID 7474
UPPER_UNCERTAINTY = Code("371886008", "SCT", "+, range of upper measurement uncertainty")  # CID 225
LOWER_UNCERTAINTY = Code("371885007", "SCT", "-, range of lower measurement uncertainty")  # CID 225
PROBABILITY = Code("122157", "DCM", "Probability")  # PS3.16 annex D
PRESENT = Code("52101004", "SCT", "Present")  # CID 240
ABSENT = Code("272519000", "SCT", "Absent")  # CID 240
OF_INTEREST = Code("113000", "DCM", "Of Interest")  # CID 7010
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")  # CID 7010
COMMENT = Code("121106", "DCM", "Comment")  # CID 12101
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")  # CID 7005
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")  # TID 1500's own container
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")  # TID 1600
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")  # TID 1600
MODALITY = Code("121139", "DCM", "Modality")  # TID 1602
MAGNETIC_RESONANCE = Code("MR", "DCM", "Magnetic Resonance")  # CID 29
FRAME_OF_REFERENCE_UID = Code("112227", "DCM", "Frame of Reference UID")  # TID 1602
PIXEL_ROWS = Code("110910", "DCM", "Pixel Data Rows")  # TID 1602
PIXEL_COLUMNS = Code("110911", "DCM", "Pixel Data Columns")  # TID 1602
HORIZONTAL_SPACING = Code("111026", "DCM", "Horizontal Pixel Spacing")  # TID 1604
VERTICAL_SPACING = Code("111066", "DCM", "Vertical Pixel Spacing")  # TID 1604
SOURCE = Code("260753009", "SCT", "Source")  # TID 1601
DEVICE = Code("121007", "DCM", "Device")  # CID 270
PERSON = Code("121006", "DCM", "Person")  # CID 270
ENGLISH = Code("en-US", "RFC5646", "English (United States)")  # CID 5000

MILLILITER = Code("mL", "UCUM", "milliliter")
MILLIMETER = Code("mm", "UCUM", "millimeter")
PIXELS = Code("{pixels}", "UCUM", "Pixels")
RATIO = Code("1", "UCUM", "no units")

# Ours. No context group holds a predicted tumour type, or the state of an algorithm's stage.
PREDICTED_TYPE = Code("TUMOR-TYPE", PRIVATE_SCHEME, "Tumor type suggested by an image classifier")
REPLACED_RESULT = Code("REPLACED", PRIVATE_SCHEME, "Result of an earlier analysis that this one replaces")
RESPONSE_BASIS = Code("RESPONSE-BASIS", PRIVATE_SCHEME, "What the suggested response was taken from, images alone")
STAGE_COMPLETED = Code("COMPLETED", PRIVATE_SCHEME, "Stage completed")

_SKIP_VALUES: Mapping[SkipCode, str] = MappingProxyType(
    {
        SkipCode.ROLE_MISSING: "ROLE-MISSING",
        SkipCode.MODEL_UNAVAILABLE: "MODEL-UNAVAIL",
        SkipCode.NO_TUMOUR_DETECTED: "NO-TUMOR",
        SkipCode.NOTHING_SEGMENTED: "NOTHING-SEGM",
        SkipCode.REGISTRATION_FAILED: "REGIST-FAILED",
        SkipCode.STAGE_FAILED: "STAGE-FAILED",
    }
)

_TUMOUR_TYPES: Mapping[str, Code] = MappingProxyType(
    {
        # NCI Thesaurus preferred terms; in no DICOM context group.
        "glioma": Code("C3059", "NCIt", "Glioma"),
        "meningioma": Code("C3230", "NCIt", "Meningioma"),
        "pituitary": Code("C3329", "NCIt", "Pituitary Neuroendocrine Tumor"),
    }
)

_UNITS: Mapping[str, Code] = MappingProxyType({"mL": MILLILITER, "mm": MILLIMETER, "1": RATIO})

_QUANTITIES: Mapping[str, Code] = MappingProxyType(
    {
        "volume": VOLUME,
        "longest axial diameter": LONG_AXIS,
        "perpendicular axial diameter": SHORT_AXIS,
        "maximum 3D diameter": MAXIMUM_DIAMETER,
    }
)


#: CID 6143, whose meanings speak of RECIST's target lesions: the method beside it says that it was RANO.
_RESPONSES: Mapping[Category, Code] = MappingProxyType(
    {
        Category.COMPLETE: Code("112041", "DCM", "Target Lesion Complete Response"),
        Category.PARTIAL: Code("112042", "DCM", "Target Lesion Partial Response"),
        Category.PROGRESSIVE: Code("112043", "DCM", "Target Lesion Progressive Disease"),
        Category.STABLE: Code("112044", "DCM", "Target Lesion Stable Disease"),
    }
)


@dataclass(frozen=True, kw_only=True)
class SegmentKind:
    """How one segment is named in SEG and SR.

    subject: the measurements' word for it ('ET', 'WT', ...). labels: the voxels it unites. rgb: 0..255.
    """

    subject: str
    labels: tuple[Label, ...]
    name: str
    property_type: Code
    rgb: tuple[int, int, int]

    @property
    def text(self) -> str:
        """Segment Label, which is also what the SR calls it."""
        return f"{self.name} ({self.subject})"


#: The compartments, in the order of their segment numbers: disjoint, each of CID 7168.
SEGMENT_KINDS: tuple[SegmentKind, ...] = (
    SegmentKind(
        subject="NCR",
        labels=(Label.NCR,),
        name="Necrotic tumor core",
        property_type=NECROSIS,
        rgb=LABEL_COLOURS[Label.NCR],
    ),
    SegmentKind(subject="ED", labels=(Label.ED,), name="Edema", property_type=EDEMA, rgb=LABEL_COLOURS[Label.ED]),
    SegmentKind(
        subject="ET",
        labels=(Label.ET,),
        name="Enhancing tumor",
        property_type=ENHANCING_LESION,
        rgb=LABEL_COLOURS[Label.ET],
    ),
)

#: The composites, which contain one another and so have a SEG of their own; types of CID 7151.
REGION_KINDS: tuple[SegmentKind, ...] = (
    SegmentKind(
        subject="WT",
        labels=REGION_LABELS[Region.WT],
        name="Whole tumor",
        property_type=LESION_OF_BRAIN,
        rgb=(86, 180, 73),
    ),
    SegmentKind(
        subject="TC", labels=REGION_LABELS[Region.TC], name="Tumor core", property_type=NEOPLASM, rgb=(255, 196, 40)
    ),
)

#: What a measurement's subject is called.
SUBJECTS: Mapping[str, tuple[str, Code]] = MappingProxyType(
    {kind.subject: (kind.text, kind.property_type) for kind in (*REGION_KINDS, *SEGMENT_KINDS)}
)


def private_code(text: str, meaning: str) -> Code:
    """A 99BTN code whose value is `text` in capitals, cut to the 16 characters of SH; meaning: at most 64."""
    value = re.sub(r"[^A-Z0-9]+", "-", text.upper()).strip("-")[:16].strip("-")
    return Code(value or "OTHER", PRIVATE_SCHEME, meaning[:64])


def tumour_type_code(class_name: str) -> Code:
    """The code of a classifier's class; a private one for a class that is not among the known types."""
    return _TUMOUR_TYPES.get(class_name.lower()) or private_code(class_name, class_name)


def type_probability_code(class_name: str) -> Code:
    """The concept 'probability that the type is `class_name`'."""
    return private_code(f"P-{class_name}", f"Probability of {class_name}")


def response_code(category: Category) -> Code:
    """The code of a suggested category; no context group has a word for what cannot be evaluated."""
    return _RESPONSES.get(category) or Code("NOT-EVALUABLE", PRIVATE_SCHEME, "Response not evaluable from images")


def quantity_code(quantity: str) -> Code:
    """The concept of a measured quantity as the pipeline names it."""
    return _QUANTITIES.get(quantity) or private_code(quantity, quantity)


def unit_code(unit: str) -> Code:
    """The UCUM code of a unit."""
    return _UNITS.get(unit) or Code(unit, "UCUM", unit)


def stage_code(stage: Stage) -> Code:
    """The concept 'state of this stage of the analysis'."""
    return private_code(f"STAGE-{stage.value}", f"State of stage: {stage.value}")


def skip_code(code: SkipCode) -> Code:
    """The coded reason why a stage did not run."""
    return Code(_SKIP_VALUES[code], PRIVATE_SCHEME, f"Stage not run: {code.value}")
