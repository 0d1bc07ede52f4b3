"""One object's header as a plain value: the only reader of Dataset attributes that our own decisions rest on.

Odd values never raise: what is missing, multi-valued, NaN or garbage becomes None or empty and is named in `problems`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from dicom_node.inbound.attributes import Attributes
from dicom_node.inbound.enhanced import FrameHeader, group, read_frames
from dicom_node.inbound.parsing import parse_data_set, parse_file, split_part10

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_CONVERTED_ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.4"

#: SOP classes whose pixels the analysis can use.
MR_IMAGE_CLASSES = frozenset({MR_IMAGE, ENHANCED_MR_IMAGE, LEGACY_CONVERTED_ENHANCED_MR_IMAGE})

#: ManufacturerModelName of every object this node makes.
OWN_MODEL_NAME = "brain-tumor-node"


@dataclass(frozen=True, kw_only=True)
class InstanceHeader:
    """All that later code needs of one instance, without its pixels.

    Times are DICOM's text, lengths mm, durations ms, `position` and `orientation` LPS+ as in the object, and empty
    where the object has none. For an enhanced object geometry is in `frames`.
    """

    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    frame_of_reference_uid: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    accession_number: str = ""
    modality: str = ""
    manufacturer: str = ""
    model_name: str = ""
    body_part: str = ""
    series_description: str = ""
    protocol_name: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    acquisition_number: int | None = None
    acquisition_datetime: str = ""
    sequence_name: str = ""
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    acquisition_type: str = ""
    image_type: tuple[str, ...] = ()
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    echo_train_length: int | None = None
    contrast_agent: str = ""
    echo_number: int | None = None
    temporal_position: int | None = None
    b_value: float | None = None
    rows: int | None = None
    columns: int | None = None
    number_of_frames: int = 1
    pixel_spacing_mm: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()
    position: tuple[float, ...] = ()
    slice_thickness_mm: float | None = None
    spacing_between_slices_mm: float | None = None
    burned_in_annotation: bool = False
    frames: tuple[FrameHeader, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def own_object(self) -> bool:
        """True where this node itself made the object; such objects are stored and never analysed (no result loop)."""
        return self.model_name.strip().lower() == OWN_MODEL_NAME

    @property
    def is_mr_image(self) -> bool:
        """True for the SOP classes the analysis can read."""
        return self.sop_class_uid in MR_IMAGE_CLASSES

    def to_json(self) -> dict[str, Any]:
        """A value json.dumps takes; fields at their defaults are left out."""
        values = asdict(self)
        return {f.name: values[f.name] for f in fields(self) if getattr(self, f.name) != f.default}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> InstanceHeader:
        """Back from `to_json`; keys of a later version are ignored."""
        known = {f.name for f in fields(cls)}
        plain = _tuples({k: v for k, v in values.items() if k in known})
        plain["frames"] = tuple(FrameHeader(**_tuples(frame)) for frame in values.get("frames", ()))
        return cls(**plain)


def read_header(source: Dataset | Path | bytes) -> InstanceHeader:
    """The header of a Part-10 file (path or bytes) or of a parsed Dataset.

    Raises:
        ObjectUnreadable: the bytes cannot be parsed at all.
        OSError: the file cannot be read.
    """
    if isinstance(source, Path):
        source = parse_file(source, stop_before_pixels=True)
    elif isinstance(source, bytes):
        syntax, data_set = split_part10(source)
        source = parse_data_set(data_set, syntax, stop_before_pixels=True)
    a = Attributes(source)
    meta = Attributes(getattr(source, "file_meta", Dataset()))
    shared, first = a.item("SharedFunctionalGroupsSequence"), a.item("PerFrameFunctionalGroupsSequence")
    timing = group("MRTimingAndRelatedParametersSequence", first, shared)
    measures = group("PixelMeasuresSequence", first, shared)
    old = _Converted(a, first, shared)
    inversion = _first(old.number("InversionTime"), group("MRModifierSequence", first, shared).number("InversionTimes"))
    return InstanceHeader(
        sop_instance_uid=a.text("SOPInstanceUID"),
        sop_class_uid=a.text("SOPClassUID"),
        study_instance_uid=a.text("StudyInstanceUID"),
        series_instance_uid=a.text("SeriesInstanceUID"),
        transfer_syntax_uid=meta.text("TransferSyntaxUID"),
        frame_of_reference_uid=a.text("FrameOfReferenceUID"),
        patient_id=a.text("PatientID"),
        issuer_of_patient_id=a.text("IssuerOfPatientID"),
        patient_name=a.text("PatientName"),
        patient_birth_date=a.text("PatientBirthDate"),
        patient_sex=a.text("PatientSex"),
        study_date=a.text("StudyDate"),
        study_time=a.text("StudyTime"),
        study_description=a.text("StudyDescription"),
        accession_number=a.text("AccessionNumber"),
        modality=a.text("Modality").upper(),
        manufacturer=a.text("Manufacturer"),
        model_name=a.text("ManufacturerModelName"),
        body_part=a.text("BodyPartExamined").upper(),
        series_description=a.text("SeriesDescription"),
        protocol_name=a.text("ProtocolName"),
        series_number=a.integer("SeriesNumber"),
        instance_number=a.integer("InstanceNumber"),
        acquisition_number=a.integer("AcquisitionNumber"),
        acquisition_datetime=_acquired(a),
        sequence_name=a.text("SequenceName") or a.text("PulseSequenceName"),
        scanning_sequence=old.words("ScanningSequence") or _enhanced_scanning_sequence(a),
        sequence_variant=old.words("SequenceVariant"),
        scan_options=old.words("ScanOptions"),
        acquisition_type=old.text("MRAcquisitionType").upper(),
        image_type=a.words("ImageType"),
        repetition_time_ms=_first(old.number("RepetitionTime"), timing.number("RepetitionTime")),
        echo_time_ms=_first(old.number("EchoTime"), group("MREchoSequence", first, shared).number("EffectiveEchoTime")),
        inversion_time_ms=inversion,
        flip_angle_deg=_first(old.number("FlipAngle"), timing.number("FlipAngle")),
        echo_train_length=old.integer("EchoTrainLength") or timing.integer("RFEchoTrainLength"),
        contrast_agent=old.text("ContrastBolusAgent") or _agent_code(a),
        echo_number=a.integer("EchoNumbers"),
        temporal_position=a.integer("TemporalPositionIdentifier"),
        b_value=a.number("DiffusionBValue"),
        rows=a.integer("Rows"),
        columns=a.integer("Columns"),
        number_of_frames=a.integer("NumberOfFrames") or 1,
        pixel_spacing_mm=a.numbers("PixelSpacing", 2),
        orientation=a.numbers("ImageOrientationPatient", 6),
        position=a.numbers("ImagePositionPatient", 3),
        slice_thickness_mm=_first(a.number("SliceThickness"), measures.number("SliceThickness")),
        spacing_between_slices_mm=_first(a.number("SpacingBetweenSlices"), measures.number("SpacingBetweenSlices")),
        burned_in_annotation=a.text("BurnedInAnnotation").upper() == "YES",
        frames=read_frames(a),
        problems=tuple(dict.fromkeys(a.problems)),
    )


class _Converted:
    """Attributes of the classic MR IOD: of the object itself or, where it was converted from a classic series, of the
    functional groups that took up what has no other place (PS3.3 C.7.6.16.2.25 and 26)."""

    def __init__(self, whole: Attributes, first: Attributes, shared: Attributes) -> None:
        self._places = (
            whole,
            shared.item("UnassignedSharedConvertedAttributesSequence"),
            first.item("UnassignedPerFrameConvertedAttributesSequence"),
        )

    def text(self, keyword: str) -> str:
        return next(filter(None, (place.text(keyword) for place in self._places)), "")

    def words(self, keyword: str) -> tuple[str, ...]:
        return next(filter(None, (place.words(keyword) for place in self._places)), ())

    def number(self, keyword: str) -> float | None:
        return _first(*(place.number(keyword) for place in self._places))

    def integer(self, keyword: str) -> int | None:
        return next((value for place in self._places if (value := place.integer(keyword)) is not None), None)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _first(*values: float | None) -> float | None:
    return next((v for v in values if v is not None), None)


def _acquired(a: Attributes) -> str:
    """When the series was acquired as YYYYMMDDHHMMSS.F, '' where unknown: text that sorts in time order."""
    if whole := a.text("AcquisitionDateTime"):
        return whole
    for event in ("Acquisition", "Series", "Content"):
        if clock := a.text(f"{event}Time"):
            return (a.text(f"{event}Date") or a.text("StudyDate")) + clock
    return ""


def _agent_code(a: Attributes) -> str:
    """Meaning of the agent's code, as enhanced objects carry it."""
    for keyword in ("ContrastBolusAgentSequence", "EnhancedContrastBolusAgentSequence"):
        for item in a.items(keyword):
            return item.text("CodeMeaning") or item.text("CodeValue")
    return ""


def _enhanced_scanning_sequence(a: Attributes) -> tuple[str, ...]:
    """ScanningSequence's words from the enhanced MR attributes that replaced it."""
    words = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(a.text("EchoPulseSequence").upper(), ())
    if a.text("EchoPlanarPulseSequence").upper() == "YES":
        words += ("EP",)
    if a.text("InversionRecovery").upper() == "YES":
        words += ("IR",)
    return words
