"""The report that people read: as HTML, as PDF, and the PDF as a DICOM object."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import highdicom
from highdicom.base import SOPClass
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from dicom_node.result_kinds import ResultKind
from dicom_node.results.codes import IMAGING_MEASUREMENT_REPORT
from dicom_node.results.encoded import EncodedObject
from dicom_node.results.evidence import Evidence, HistoryPoint
from dicom_node.results.report_facts import ReportFacts, Subject, report_facts
from dicom_node.results.report_language import load_language
from dicom_node.results.report_pdf import report_pdf
from dicom_node.results.report_templates import fill
from dicom_node.results.source_images import reference_to
from dicom_node.results.stamp import (
    SERIES_DESCRIPTION_PREFIX,
    EncodingOptions,
    RunStamp,
    document_predecessor,
    equipment_arguments,
    finish,
    moment_of,
    result_uid,
    series_number,
)
from pipeline.report import Report
from pipeline.volume import Volume


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """The same report twice: one HTML page that needs no other file, and a PDF."""

    html: str
    pdf: bytes


def write_report(
    report: Report,
    subject: Subject,
    volume: Volume | None,
    history: Sequence[HistoryPoint] = (),
    options: EncodingOptions | None = None,
) -> WrittenReport:
    """Write the report of a run, the same bytes for the same arguments.

    Raises:
        LanguageUnusable, TemplateUnusable: a language or template of one's own cannot be used.
    """
    chosen = options or EncodingOptions()
    facts = report_facts(report, subject, volume, history, load_language(chosen))
    return WrittenReport(html=fill("report.html", facts, chosen), pdf=report_pdf(facts, chosen))


def subject_of(header: Dataset | None, stamp: RunStamp) -> Subject:
    """Who was examined, by a source image's header, and when and by what it was analysed."""
    moment = moment_of(stamp, header if header is not None else Dataset())
    return Subject(header=header, analysed_at=moment, software_version=stamp.software_version)


def evidence_facts(report: Report, evidence: Evidence, stamp: RunStamp) -> ReportFacts:
    """What a report on DICOM images says."""
    subject = subject_of(evidence.reference.first, stamp)
    return report_facts(report, subject, evidence.volume, evidence.history, load_language(stamp.options))


class PdfEncoder:
    """The written report as an Encapsulated PDF, for a PACS whose viewers show no SR."""

    kind: str = ResultKind.PDF.value
    sop_class_uid = str(EncapsulatedPDFStorage)

    def encode(
        self, report: Report, evidence: Evidence, stamp: RunStamp, previous: Sequence[EncodedObject]
    ) -> EncodedObject | None:
        """The object; its UID follows the document's bytes too, as templates and fonts may change without a new run."""
        reference = evidence.reference
        pdf = report_pdf(evidence_facts(report, evidence, stamp), stamp.options)
        content = hashlib.sha256(pdf).hexdigest()
        equipment = equipment_arguments(report, reference, stamp)
        contributing = equipment.pop("contributing_equipment")
        dataset = SOPClass(
            study_instance_uid=reference.study_instance_uid,
            series_instance_uid=result_uid(self.kind, f"series {content}", report, reference, stamp),
            series_number=series_number(stamp, 8),
            sop_instance_uid=result_uid(self.kind, f"instance {content}", report, reference, stamp),
            sop_class_uid=EncapsulatedPDFStorage,
            instance_number=1,
            modality="DOC",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            series_description=f"{SERIES_DESCRIPTION_PREFIX}Tumor report PDF (research)",
            **equipment,
        )
        if contributing:  # no model ran: the sequence may be absent, not empty
            dataset.ContributingEquipmentSequence = list(contributing)
        dataset.ConversionType = "WSD"
        dataset.BurnedInAnnotation, dataset.RecognizableVisualFeatures = "YES", "NO"
        dataset.AcquisitionDateTime = None
        dataset.DocumentTitle = "Brain tumor analysis (research use only)"
        dataset.ConceptNameCodeSequence = [highdicom.sr.CodedConcept.from_code(IMAGING_MEASUREMENT_REPORT)]
        dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
        dataset.SourceInstanceSequence = [reference_to(image) for image in reference.datasets]
        dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
        dataset.EncapsulatedDocumentLength = len(pdf)
        predecessor = stamp.predecessors.get(self.kind)
        if predecessor is not None:
            dataset.PredecessorDocumentsSequence = [document_predecessor(predecessor)]
        finish(dataset, reference, stamp)
        return EncodedObject(kind=self.kind, dataset=dataset)
