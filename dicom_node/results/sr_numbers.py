"""The parts that the report's groups are made of: numbers, their units and methods, coordinates, tracking."""

from __future__ import annotations

import highdicom.sr as hd
from pydicom.sr.coding import Code

from dicom_node.results import codes
from dicom_node.results.evidence import ReferenceSeries, ras_to_lps
from dicom_node.results.stamp import EQUIPMENT_NAME, RunStamp, plain_text, result_uid
from pipeline.report import DiameterLine, Measurement, ModelIdentity, Report, Skipped


def all_measurements(report: Report) -> tuple[Measurement, ...]:
    """Every measurement; none where the stage did not run."""
    return () if isinstance(report.measurements, Skipped) else report.measurements


def measurements_of(report: Report, subject: str, *, lesion: int | None) -> tuple[Measurement, ...]:
    """The measurements of one subject, of one lesion or (None) of all lesions together."""
    return tuple(m for m in all_measurements(report) if m.subject == subject and m.lesion == lesion)


def number(
    name: Code,
    value: float,
    unit: Code,
    method: Code | None = None,
    interval: tuple[float, float] | None = None,
) -> hd.Measurement:
    """A NUM item. DS holds 16 characters; four decimals are finer than any voxel or probability deserves.

    interval: lowest and highest value, in the same unit.
    """
    properties = None if interval is None else _uncertainty(value, interval, unit)
    return hd.Measurement(name=name, value=round(float(value), 4), unit=unit, method=method, properties=properties)


def _uncertainty(value: float, interval: tuple[float, float], unit: Code) -> hd.MeasurementProperties:
    """TID 310's ranges of uncertainty: how far the value may lie below and above, in the unit of the value."""
    properties = hd.MeasurementProperties()
    for name, distance in (
        (codes.UPPER_UNCERTAINTY, interval[1] - value),
        (codes.LOWER_UNCERTAINTY, value - interval[0]),
    ):
        # highdicom would write these without the unit that the value has.
        properties.append(
            hd.NumContentItem(
                name=name,
                value=round(float(distance), 4),
                unit=unit,
                relationship_type=hd.RelationshipTypeValues.HAS_PROPERTIES,
            )
        )
    return properties


def measured(
    measurement: Measurement, report: Report, reference: ReferenceSeries, *, drawn: bool = True
) -> hd.Measurement:
    """A measurement as a NUM item: a volume with its method, a diameter with both its ends.

    drawn: False leaves the ends out, as TID 1411 has no place for them.
    """
    name = codes.quantity_code(measurement.quantity)
    line = line_of(measurement, report) if drawn else None
    if line is None:
        method = codes.SUM_OF_VOXELS if name == codes.VOLUME else None
        low, high = measurement.low, measurement.high
        interval = None if low is None or high is None else (low, high)
        return number(name, measurement.value, codes.unit_code(measurement.unit), method, interval)
    ends = hd.CoordinatesForMeasurement3D(
        graphic_type="POLYLINE",
        graphic_data=ras_to_lps([line.start_mm, line.end_mm]),
        frame_of_reference_uid=reference.frame_of_reference_uid,
    )
    return hd.Measurement(
        name=name,
        value=round(measurement.value, 4),
        unit=codes.unit_code(measurement.unit),
        referenced_coordinates=[ends],
    )


def run_tracking(what: str, report: Report, reference: ReferenceSeries, stamp: RunStamp) -> hd.TrackingIdentifier:
    """A tracking identifier that holds for this run alone."""
    return hd.TrackingIdentifier(
        uid=result_uid("SR", f"tracking {what}", report, reference, stamp), identifier=f"{EQUIPMENT_NAME} {what}"
    )


def algorithm(model: ModelIdentity) -> hd.AlgorithmIdentification:
    """TID 4019: which model, which version, which weights."""
    return hd.AlgorithmIdentification(
        name=plain_text(model.name, 64),
        version=plain_text(model.version, 64),
        parameters=[f"weights_sha256={model.weights_sha256}"],
        family=codes.ARTIFICIAL_INTELLIGENCE,
        manufacturer=EQUIPMENT_NAME,
    )


def line_of(measurement: Measurement, report: Report) -> DiameterLine | None:
    """The drawn line of a diameter; the total's is that of the lesion it was taken from."""
    name = codes.quantity_code(measurement.quantity)
    for lesion in report.lesions:
        line = {codes.LONG_AXIS: lesion.longest, codes.SHORT_AXIS: lesion.perpendicular}.get(name)
        if line is None or measurement.lesion not in (None, lesion.number):
            continue
        if line.length_mm == measurement.value:
            return line
    return None
