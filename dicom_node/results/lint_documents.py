"""What is demanded of our documents: the SRs, the key objects, the encapsulated PDF, and of the secondary capture."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    KeyObjectSelectionDocumentStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node.results.evidence import ReferenceSeries
from dicom_node.results.lint_rule import Profile, Rule, code_of, named, rule, walk

_RESEARCH_WORD = "research"
_SR = frozenset({str(Comprehensive3DSRStorage)})
_KO = frozenset({str(KeyObjectSelectionDocumentStorage)})
_PDF = frozenset({str(EncapsulatedPDFStorage)})
_SC = frozenset({str(SecondaryCaptureImageStorage), str(MultiFrameTrueColorSecondaryCaptureImageStorage)})
#: Groups that OHIF draws are named after one of its tools; those need coordinates.
_OHIF_TOOL = "Cornerstone3DTools@"


def _title(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if code_of(dataset.get("ConceptNameCodeSequence")) != ("126000", "DCM"):
        yield "the document title is not (126000, DCM, Imaging Measurement Report)"


def _template(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    template = dataset.get("ContentTemplateSequence")
    if not template or (template[0].MappingResource, template[0].TemplateIdentifier) != ("DCMR", "1500"):
        yield "Content Template Sequence does not say DCMR 1500"


def _verification(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    verified = dataset.get("VerificationFlag") == "VERIFIED"
    if verified and not dataset.get("VerifyingObserverSequence"):
        yield "no person has verified this, yet Verification Flag says so"
    elif not verified and dataset.get("VerificationFlag") != "UNVERIFIED":
        yield "Verification Flag is neither VERIFIED nor UNVERIFIED"


def _completion(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if dataset.get("CompletionFlag") not in ("COMPLETE", "PARTIAL"):
        yield "Completion Flag is neither COMPLETE nor PARTIAL"


def _image_library(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    library = named(list(walk(dataset)), "111028")
    referenced = {
        str(sop.ReferencedSOPInstanceUID)
        for entry in library
        for item in walk(entry)
        for sop in item.get("ReferencedSOPSequence", [])
    }
    if referenced != {source.sop_instance_uid for source in reference.slices}:
        yield "the Image Library is not the reference series, whole and alone"


def _tracking(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    seen: set[str] = set()
    for group in named(list(walk(dataset)), "125007"):
        children = list(group.ContentSequence)
        uids = [str(item.UID) for item in named(children, "112040")]
        if not uids or not named(children, "112039"):
            yield "a measurement group lacks its tracking identifier or UID"
        elif uids[0] in seen:
            yield "two measurement groups have one tracking UID: viewers merge them"
        seen.update(uids)


def _coordinates(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    groups = named(list(walk(dataset)), "125007")
    drawn = [g for g in groups if any(i.ValueType in ("SCOORD", "SCOORD3D") for i in walk(g))]
    tools = [
        g
        for g in groups
        if any(str(i.get("TextValue", "")).startswith(_OHIF_TOOL) for i in named(list(g.ContentSequence), "112039"))
    ]
    for group in tools:
        if not any(group is one for one in drawn):
            yield "a group named after a tool of OHIF has no coordinates"
        for number in (item for item in group.ContentSequence if item.ValueType == "NUM"):
            if len(number.get("ContentSequence", [])) != 1:
                yield "a measurement of a tool of OHIF has not its line as its one child"


def _axes(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    spelling = {"103339001": "Long Axis", "103340004": "Short Axis"}
    for item in walk(dataset):
        code = code_of(item.get("ConceptNameCodeSequence"))
        if code is not None and code[0] in spelling:
            meaning = str(item.ConceptNameCodeSequence[0].CodeMeaning)
            if meaning != spelling[code[0]]:
                yield f"Code Meaning '{meaning}' is not '{spelling[code[0]]}', by which OHIF knows it"


def _evidence(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    listed = {
        str(sop.ReferencedSOPInstanceUID)
        for study in dataset.get("CurrentRequestedProcedureEvidenceSequence", [])
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }
    cited = {
        str(sop.ReferencedSOPInstanceUID) for item in walk(dataset) for sop in item.get("ReferencedSOPSequence", [])
    }
    if cited - listed:
        yield f"{len(cited - listed)} referenced objects are not in the evidence"


def _notice(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    texts = [str(item.get("TextValue", "")) for item in walk(dataset)]
    texts += [str(dataset.get(keyword, "")) for keyword in ("DocumentTitle", "ImageComments")]
    if not any(_RESEARCH_WORD in text.lower() for text in texts):
        yield "no text carries the research notice"


def _key_title(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if code_of(dataset.get("ConceptNameCodeSequence")) is None:
        yield "the selection has no coded title"
    if not any(item.ValueType in ("IMAGE", "COMPOSITE") for item in walk(dataset)):
        yield "the selection selects nothing"


def _pdf(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    if dataset.get("MIMETypeOfEncapsulatedDocument") != "application/pdf":
        yield "MIME Type of Encapsulated Document is not application/pdf"
    if not bytes(dataset.get("EncapsulatedDocument", b"")).startswith(b"%PDF-"):
        yield "the encapsulated document is no PDF"
    if dataset.get("BurnedInAnnotation") != "YES":
        yield "the document names the patient, yet Burned In Annotation does not say YES"


def _capture(dataset: Dataset, reference: ReferenceSeries) -> Iterator[str]:
    expected = int(dataset.Rows) * int(dataset.Columns) * 3 * int(dataset.get("NumberOfFrames", 1))
    if (
        dataset.get("PhotometricInterpretation") != "RGB"
        or len(dataset.get("PixelData", b"")) != expected + expected % 2
    ):
        yield "the picture is not RGB of its rows and columns"
    if dataset.get("BurnedInAnnotation") is None:
        yield "Burned In Annotation is absent"


RULES: tuple[Rule, ...] = (
    rule("title", _title, Profile.OHIF, classes=_SR),
    rule("template", _template, classes=_SR),
    rule("verification", _verification, classes=_SR),
    rule("completion", _completion, classes=_SR),
    rule("image-library", _image_library, Profile.OHIF, classes=_SR),
    rule("tracking", _tracking, Profile.DICOM, Profile.OHIF, classes=_SR),
    rule("coordinates", _coordinates, Profile.OHIF, classes=_SR),
    rule("axis-spelling", _axes, Profile.OHIF, classes=_SR),
    rule("evidence", _evidence, classes=_SR | _KO),
    rule("research-notice", _notice, classes=_SR | _KO | _PDF | _SC),
    rule("key-objects", _key_title, classes=_KO),
    rule("pdf", _pdf, classes=_PDF),
    rule("picture", _capture, classes=_SC),
)
