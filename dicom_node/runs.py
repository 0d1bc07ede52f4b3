"""One analysis run, step by step: assign, analyse, encode, publish. Each step may be run twice and does no harm.

Between the steps only files in the run's folder and rows: `series-roles.json`, `report.json`, `segmentation.nii.gz`,
`reference.nii.gz`, `space.npz`, `evidence.json`, then the result objects.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from dicom_node.engine import Step
from dicom_node.follow_up import FollowUps
from dicom_node.follow_up_notes import FAILED
from dicom_node.inbound.study_facts import role_records, study_facts
from dicom_node.intake import error_fields
from dicom_node.kept_analysis import json_bytes, keep_analysis, read_analysis
from dicom_node.results.encoders import encode_checked
from dicom_node.results.stamp import EncodingOptions, PredecessorDocument, RunStamp
from dicom_node.results.written_report import subject_of, write_report
from dicom_node.routing import Routing
from dicom_node.run_inputs import LINT, REPORT, lint_of, uploaded_volumes
from dicom_node.study import StudyIneligible, StudyReading, read_study
from dicom_node.study_rows import study_files
from pipeline.analysis import analyse
from pipeline.longitudinal.compare import unmeasured
from pipeline.models.protocols import Models
from pipeline.prognosis import with_prognosis
from pipeline.report import Flag, Report, Stage
from pipeline.volume import SeriesRole
from storage.deliveries import DeliveryRepository
from storage.files import FileStore
from storage.lifecycle import ScanEvent
from storage.results import ResultRecord, ResultRepository
from storage.reviews import ReviewRepository
from storage.runs import RunRow
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.study_reading import SeriesRoleRecord
from storage.vocabulary import RunState, Source
from web.result_view import headline

log = structlog.get_logger("runs")


#: Share of the progress bar at which each stage of the analysis ends, in percent.
_STAGE_ENDS = {Stage.PREPARE: 35, Stage.DETECT: 45, Stage.CLASSIFY: 50, Stage.SEGMENT: 80, Stage.MEASURE: 85}


class RunSteps:
    """The handlers of the engine's steps, over the repositories and the models."""

    def __init__(
        self,
        *,
        studies: StudyRepository,
        scans: ScanRepository,
        results: ResultRepository,
        deliveries: DeliveryRepository,
        reviews: ReviewRepository,
        files: FileStore,
        models: Callable[[], Models],
        routing: Routing,
        software_version: str,
        options: EncodingOptions | None = None,
        follow_ups: FollowUps | None = None,
        review_first: bool = False,
        prognosis: bool = False,
    ) -> None:
        self._studies = studies
        self._scans = scans
        self._results = results
        self._deliveries = deliveries
        self._reviews = reviews
        self._review_first, self._prognosis = review_first, prognosis
        self._files = files
        self._models = models
        self._routing = routing
        self._software_version = software_version
        self._options = options or EncodingOptions()
        self._follow_ups = follow_ups

    def steps(self) -> list[Step]:
        """The steps in order, for `Engine`."""
        return [
            Step(name="analyse", handler=self.analyse),
            Step(name="encode", handler=self.encode),
            Step(name="publish", handler=self.publish),
        ]

    def analyse(self, run_id: str) -> None:
        """Read the study, run the models, keep report and voxels in the run's folder.

        Raises:
            StudyIneligible: nothing of it can be read. ImagesDamaged: a file of it changed since it was received.
            OSError, StorageError: worth another try.
        """
        run = self._scans.run(run_id)
        scan = self._scans.get(run.scan_id)
        self._scans.set_progress(scan.id, 5, "convert")
        started = time.perf_counter()
        if scan.source is Source.UPLOAD_NIFTI:
            reading, volumes = None, uploaded_volumes(self._files, scan.id)
            roles: dict[str, Any] = {
                "roles": {str(role): {"basis": "file name"} for role in volumes},
                "missing": [str(role) for role in SeriesRole if role not in volumes],
            }
        else:
            reading = self._read(run)
            volumes, roles = reading.volumes, reading.explanation()
        convert_s = time.perf_counter() - started
        report = analyse(
            volumes,
            self._models(),
            lambda stage, share: self._show(scan.id, stage, share),
            study_uid=scan.study_instance_uid or scan.id,
        )
        if reading is not None:
            report = replace(report, flags=(*report.flags, *reading.flags))
            report = self._compared(run, reading, report)
        if self._prognosis:
            report = with_prognosis(report, self._models(), None if reading is None else reading.age_years)
        told = {"series_roles": roles, "convert_seconds": round(convert_s, 3)}
        keep_analysis(self._files, run_id, report, volumes[report.reference_role], reading, told)
        self._scans.apply_event_once(scan.id, ScanEvent.ANALYSED, "analysed")

    def _compared(self, run: RunRow, reading: StudyReading, report: Report) -> Report:
        """The report among the patient's earlier visits; what cannot be compared costs this study nothing but that."""
        if self._follow_ups is None:
            return report
        reference = reading.volumes[report.reference_role]
        try:
            compared = self._follow_ups.compare(run, reading.study_instance_uid, report, reference)
        except Exception as error:  # files of years ago, in whatever state: they must not stop today's study
            log.error("not compared", run=run.id, exc_info=error)
            text = f"The earlier studies of this patient could not be compared: {type(error).__name__}."
            return replace(report, flags=(*report.flags, Flag(code=FAILED, text=text)))
        if compared.follow_up is not None and unmeasured(compared) is None:
            self._follow_ups.keep(run.id, compared.follow_up)
        return compared

    def _read(self, run: RunRow) -> StudyReading:
        facts = self._studies.scan_facts(run.scan_id)
        files = study_files(facts.instances, self._files.root, run.started_at)
        reading = read_study(files, study_facts(facts).overrides)
        refused = [
            SeriesRoleRecord(series_instance_uid=r.series_instance_uid, excluded_reason=f"{r.code}: {r.reason}")
            for r in reading.refused
        ]
        records = [*role_records(reading.assignment), *refused]
        self._studies.set_roles(run.scan_id, records, [str(role) for role in reading.series])
        return reading

    def _show(self, scan_id: str, stage: Stage, share: float) -> None:
        stages = list(_STAGE_ENDS)
        begin = 10 if stage is stages[0] else _STAGE_ENDS[stages[stages.index(stage) - 1]]
        self._scans.set_progress(scan_id, round(begin + share * (_STAGE_ENDS[stage] - begin)), str(stage))

    def encode(self, run_id: str) -> None:
        """Write the result objects and the report for people into the run's folder, and the objects' rows.

        An upload without DICOM gets the report for people alone.
        """
        run = self._scans.run(run_id)
        scan = self._scans.get(run.scan_id)
        self._scans.set_progress(scan.id, 90, "report")
        kept, stamp, header = read_analysis(self._files, run_id), self._stamp(run), None
        if kept.evidence is not None:
            header = kept.evidence.reference.first
            found: dict[str, list[dict[str, Any]]] = {}
            for encoded, defects in encode_checked(kept.report, kept.evidence, stamp, self._routing.kinds()):
                found[encoded.sop_instance_uid] = [
                    {"code": d.code, "text": d.text, "profiles": sorted(d.profiles)} for d in defects
                ]
                data = encoded.to_bytes()
                path = self._files.write_result(run_id, f"{encoded.kind.lower()}.dcm", data)
                self._results.upsert(
                    ResultRecord(
                        run_id=run_id,
                        kind=encoded.kind,
                        sop_instance_uid=encoded.sop_instance_uid,
                        sop_class_uid=encoded.sop_class_uid,
                        series_instance_uid=encoded.series_instance_uid,
                        path=path,
                        size=len(data),
                        sha256=hashlib.sha256(data).hexdigest(),
                    )
                )
            self._files.write_result(run_id, LINT, json_bytes(found))
        written = write_report(kept.report, subject_of(header, stamp), kept.volume, options=stamp.options)
        self._files.write_result(run_id, "report.html", written.html.encode())
        self._files.write_result(run_id, "report.pdf", written.pdf)
        self._scans.set_results(scan.id, kept.told, headline(kept.told))

    def encoded_again(self, run_id: str) -> dict[str, bytes]:
        """The result objects of a run by their paths, encoded once more; nothing is written. Raises as `encode`."""
        kept, stamp = read_analysis(self._files, run_id), self._stamp(self._scans.run(run_id))
        if kept.evidence is None:
            return {}
        encoded = encode_checked(kept.report, kept.evidence, stamp, self._routing.kinds())
        return {f"results/{run_id}/{one.kind.lower()}.dcm": one.to_bytes() for one, _ in encoded}

    def _stamp(self, run: RunRow) -> RunStamp:
        return RunStamp(
            started_at=run.started_at,
            inputs_digest=run.inputs_digest,
            run_number=run.number,
            software_version=self._software_version,
            predecessors=self._predecessors(run),
            options=self._options,
        )

    def _predecessors(self, run: RunRow) -> dict[str, PredecessorDocument]:
        """Of each kind, the object of the latest run before this one that has one."""
        study_uid = self._scans.get(run.scan_id).study_instance_uid
        numbers = {earlier.id: earlier.number for earlier in self._scans.runs_of(run.scan_id)}
        if study_uid is None:
            return {}
        return {
            row.kind: PredecessorDocument(
                study_instance_uid=study_uid,
                series_instance_uid=row.series_instance_uid,
                sop_class_uid=row.sop_class_uid,
                sop_instance_uid=row.sop_instance_uid,
            )
            for row in self._results.of_scan(run.scan_id)
            if numbers[row.run_id] < run.number
        }

    def publish(self, run_id: str) -> None:
        """Owe every result to every destination that asks for its kind; the delivery loop does the rest.

        One in which the lint found a defect by the destination's profiles is held, and the page says why. Where results
        may leave only once a review accepted them, they wait for it.
        """
        run = self._scans.run(run_id)
        folder = self._files.run_folder(run_id)
        found = lint_of(self._files, run_id) or {}
        for result in self._results.of_run(run_id):
            defects = found.get(result.sop_instance_uid, [])
            for destination in self._routing.destinations(result.kind):
                held = self._routing.held(destination, defects)
                if held:
                    log.error("held", run=run_id, kind=result.kind, destination=destination, reason=held)
                    self._deliveries.hold(result.id, destination, held)
                elif self._review_first:
                    self._reviews.hold_back(result.id, [destination])
                else:
                    self._deliveries.owe(result.id, [destination])
        timings = json.loads((folder / REPORT).read_bytes()).get("timings", [])
        self._scans.finish_run(run_id, RunState.DONE, {timing["stage"]: timing["seconds"] for timing in timings})
        # Only a run that is done takes the place of those before it.
        self._reviews.supersede(run_id)
        self._scans.apply_event_once(run.scan_id, ScanEvent.REPORTED, "results are ready to be sent")
        self._scans.set_progress(run.scan_id, 95, "deliver")
        log.info("run done", scan=run.scan_id, run=run_id)

    def failed(self, run_id: str, error: Exception) -> None:
        """End the run after an error that trying again does not mend."""
        run = self._scans.run(run_id)
        code, text = error_fields(error)
        log.error("run failed", scan=run.scan_id, run=run_id, code=code, exc_info=error)
        self._scans.finish_run(run_id, RunState.FAILED)
        event = ScanEvent.REJECT if isinstance(error, StudyIneligible) else ScanEvent.FAIL
        self._scans.apply_event_once(run.scan_id, event, text, error_code=code)
