"""Functional groups of an enhanced phantom object: what all frames share, and what each frame has for itself."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_node.phantom.headers import LARMOR_MHZ, decimals, measured_at, orientation_lps, position_lps, shows_contrast
from dicom_node.phantom.series import PhantomSeries, Stack
from dicom_node.phantom.study import PhantomStudy


def _one(**values: object) -> Sequence:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return Sequence([ds])


def shared_groups(study: PhantomStudy, series: PhantomSeries) -> Dataset:
    """The one item of SharedFunctionalGroupsSequence."""
    habit, sequence = series.habit, series.habit.sequence
    gradient = "GR" in habit.scanning_sequence
    first = series.stacks[0]
    i, j, _ = first.grid.spacing_mm
    columns, rows, _ = first.stored.shape
    ds = Dataset()
    ds.PixelMeasuresSequence = _one(PixelSpacing=decimals([j, i]), SliceThickness=decimals([first.thickness_mm])[0])
    region = _one(CodeValue="12738006", CodingSchemeDesignator="SCT", CodeMeaning="Brain")
    ds.FrameAnatomySequence = _one(FrameLaterality="U", AnatomicRegionSequence=region)
    ds.FrameVOILUTSequence = _one(
        WindowCenter=decimals([study.vendor.white_level * first.slope])[0],
        WindowWidth=decimals([2 * study.vendor.white_level * first.slope])[0],
    )
    ds.MRTimingAndRelatedParametersSequence = _one(
        RepetitionTime=decimals([habit.recorded_tr_ms or sequence.repetition_ms])[0],
        FlipAngle=decimals([sequence.flip_deg])[0],
        EchoTrainLength=1 if gradient else sequence.train,
        RFEchoTrainLength=0 if gradient else sequence.train,
        GradientEchoTrainLength=1 if gradient else 0,
        SpecificAbsorptionRateSequence=_one(
            SpecificAbsorptionRateDefinition="IEC_HEAD", SpecificAbsorptionRateValue=0.1
        ),
        GradientOutputType="DB_DT",
        GradientOutput=0.0,
        OperatingModeSequence=Sequence(
            _one(OperatingModeType=kind, OperatingMode="IEC_NORMAL")[0] for kind in ("STATIC FIELD", "GRADIENT", "RF")
        ),
    )
    ds.MRFOVGeometrySequence = _one(
        InPlanePhaseEncodingDirection="ROW",
        MRAcquisitionFrequencyEncodingSteps=columns,
        MRAcquisitionPhaseEncodingStepsInPlane=rows,
        MRAcquisitionPhaseEncodingStepsOutOfPlane=first.stored.shape[2],
        PercentSampling="100",
        PercentPhaseFieldOfView="100",
    )
    if not habit.three_dimensional:
        del ds.MRFOVGeometrySequence[0].MRAcquisitionPhaseEncodingStepsOutOfPlane
    ds.MREchoSequence = _one(EffectiveEchoTime=float(sequence.echo_ms))
    inversion = sequence.inversion_ms is not None
    modifier = _one(
        InversionRecovery="YES" if inversion else "NO",
        FlowCompensation="NONE",
        Spoiling="RF" if gradient else "NONE",
        T2Preparation="NO",
        SpectrallySelectedExcitation="NONE",
        SpatialPresaturation="NONE",
        PartialFourier="NO",
        ParallelAcquisition="NO",
    )
    if inversion:
        modifier[0].InversionTimes = [float(sequence.inversion_ms or 0)]
    ds.MRModifierSequence = modifier
    ds.MRImagingModifierSequence = _one(
        MagnetizationTransfer="NONE",
        BloodSignalNulling="NO",
        Tagging="NONE",
        TransmitterFrequency=LARMOR_MHZ,
        PixelBandwidth="200",
    )
    ds.MRReceiveCoilSequence = _one(
        ReceiveCoilName="HEAD",
        ReceiveCoilManufacturerName=study.vendor.manufacturer,
        ReceiveCoilType="VOLUME",
        QuadratureReceiveCoil="NO",
    )
    ds.MRTransmitCoilSequence = _one(
        TransmitCoilName="BODY", TransmitCoilManufacturerName=study.vendor.manufacturer, TransmitCoilType="BODY"
    )
    ds.MRAveragesSequence = _one(NumberOfAverages="1")
    return ds


def frame_groups(study: PhantomStudy, series: PhantomSeries) -> list[Dataset]:
    """An item of PerFrameFunctionalGroupsSequence for each frame, by stack, then k ascending."""
    return [
        _frame(study, series, index, stack, k)
        for index, stack in enumerate(series.stacks)
        for k in range(stack.stored.shape[2])
    ]


def _frame(study: PhantomStudy, series: PhantomSeries, index: int, stack: Stack, k: int) -> Dataset:
    flavour = list(frame_type(series))
    begun = measured_at(study, series).strftime("%Y%m%d%H%M%S")
    ds = Dataset()
    ds.FrameContentSequence = _one(
        FrameAcquisitionNumber=1,
        FrameReferenceDateTime=begun,
        FrameAcquisitionDateTime=begun,
        FrameAcquisitionDuration=240000.0,
        StackID=str(index + 1),
        InStackPositionNumber=k + 1,
        DimensionIndexValues=[index + 1, k + 1],
    )
    ds.PlanePositionSequence = _one(ImagePositionPatient=position_lps(stack.grid, k))
    ds.PlaneOrientationSequence = _one(ImageOrientationPatient=orientation_lps(stack.grid))
    ds.PixelValueTransformationSequence = _one(
        RescaleIntercept="0", RescaleSlope=decimals([stack.slope])[0], RescaleType="US"
    )
    ds.MRImageFrameTypeSequence = _one(
        FrameType=flavour,
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="MPR" if series.clutter == "mpr" else "NONE",
        ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast="UNKNOWN",
    )
    if stack.b_value is not None:
        ds.MRDiffusionSequence = _one(
            DiffusionBValue=stack.b_value, DiffusionDirectionality="ISOTROPIC" if stack.b_value else "NONE"
        )
    if shows_contrast(series):
        ds.ContrastBolusUsageSequence = _one(
            ContrastBolusAgentNumber=1, ContrastBolusAgentAdministered="YES", ContrastBolusAgentDetected=None
        )
    return ds


def frame_type(series: PhantomSeries) -> tuple[str, ...]:
    """ImageType of the object and FrameType of its frames."""
    flavours = {
        "localizer": ("LOCALIZER", "NONE"),
        "dwi": ("DIFFUSION", "NONE"),
        "adc": ("DIFFUSION", "ADC"),
        "subtraction": ("OTHER", "SUBTRACTION"),
        "mpr": ("OTHER", "RESAMPLED"),
    }
    usual = ("M", "NONE")
    return (series.habit.image_type[0], "PRIMARY", *(flavours.get(series.clutter, usual) if series.clutter else usual))
