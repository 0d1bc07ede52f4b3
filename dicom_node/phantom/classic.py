"""MR Image Storage: one object a slice (PS3.3 A.4)."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from dicom_node.phantom.headers import (
    LARMOR_MHZ,
    common,
    decimals,
    file_meta,
    orientation_lps,
    position_lps,
    shows_contrast,
)
from dicom_node.phantom.series import PhantomSeries, Stack
from dicom_node.phantom.study import PhantomStudy
from dicom_node.phantom.vendors import instance_numbers
from dicom_node.uids import derive_uid


def classic_objects(study: PhantomStudy, series: PhantomSeries) -> Iterator[tuple[int, int, Dataset]]:
    """(stack, k, object with file meta) for every slice, stack by stack and k ascending."""
    shared = common(study, series)
    _describe_sequence(shared, study, series)
    slices = sum(stack.stored.shape[2] for stack in series.stacks)
    numbers = iter(instance_numbers(study.vendor.numbering, slices))
    for index, stack in enumerate(series.stacks):
        plane = _stack_header(shared, study, series, stack)
        frames = stack.stored.transpose(2, 1, 0)
        for k, frame in enumerate(frames):
            uid = derive_uid(series.series_instance_uid, str(index), str(k))
            ds = plane.copy()
            ds.SOPInstanceUID = uid
            ds.InstanceNumber = next(numbers)
            ds.ImagePositionPatient = position_lps(stack.grid, k)
            ds.SmallestImagePixelValue, ds.LargestImagePixelValue = int(frame.min()), int(frame.max())
            ds.PixelData = frame.tobytes()
            ds["PixelData"].VR = "OW"
            ds.file_meta = file_meta(MRImageStorage, uid)
            yield index, k, ds


def _describe_sequence(ds: Dataset, study: PhantomStudy, series: PhantomSeries) -> None:
    habit, sequence = series.habit, series.habit.sequence
    ds.SOPClassUID = MRImageStorage
    ds.ImageType = list(habit.image_type)
    ds.ScanningSequence = list(habit.scanning_sequence)
    ds.SequenceVariant = list(habit.sequence_variant)
    ds.ScanOptions = list(habit.scan_options) or None
    ds.MRAcquisitionType = "3D" if habit.three_dimensional else "2D"
    if habit.sequence_name is not None:
        ds.SequenceName = habit.sequence_name
    ds.RepetitionTime, ds.EchoTime = decimals([habit.recorded_tr_ms or sequence.repetition_ms, sequence.echo_ms])
    if sequence.inversion_ms is not None and habit.records_inversion:
        ds.InversionTime = decimals([sequence.inversion_ms])[0]
    ds.FlipAngle = decimals([sequence.flip_deg])[0]
    ds.EchoTrainLength = 1 if sequence.kind == "mprage" else sequence.train
    ds.EchoNumbers = 1
    ds.NumberOfAverages = "1"
    ds.ImagedNucleus = "1H"
    ds.ImagingFrequency = decimals([LARMOR_MHZ])[0]
    ds.MagneticFieldStrength = "3"
    ds.AcquisitionNumber = 1
    if shows_contrast(series):
        ds.ContrastBolusAgent = habit.agent


def _stack_header(shared: Dataset, study: PhantomStudy, series: PhantomSeries, stack: Stack) -> Dataset:
    vendor = study.vendor
    ds = shared.copy()
    i, j, k = stack.grid.spacing_mm
    ds.ImageOrientationPatient = orientation_lps(stack.grid)
    ds.PixelSpacing = decimals([j, i])
    ds.SliceThickness = decimals([stack.thickness_mm])[0]
    ds.SpacingBetweenSlices = decimals([k])[0]
    if vendor.name == "siemens" and series.habit.three_dimensional:
        # Siemens leaves it out of three-dimensional series.
        del ds.SpacingBetweenSlices
    if stack.image_type is not None:
        ds.ImageType = list(stack.image_type)
    if stack.b_value is not None:
        ds.DiffusionBValue = stack.b_value
        if vendor.name == "siemens":
            ds.SequenceName = f"*ep_b{stack.b_value:.0f}" + ("t" if stack.b_value else "")
    columns, rows, _ = stack.stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, vendor.bits_stored, vendor.bits_stored - 1
    ds.PixelRepresentation = int(vendor.signed)
    ds.WindowCenter, ds.WindowWidth = decimals([vendor.white_level * stack.slope, 2 * vendor.white_level * stack.slope])
    if vendor.slope_range is not None:
        ds.RescaleIntercept, ds.RescaleSlope = decimals([0.0, stack.slope])
        ds.RescaleType = "US"
    return ds
