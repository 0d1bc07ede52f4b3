"""Asking a PACS about studies on their way: instance counts as a hint of completeness, and earlier studies.

Runs on a thread of its own in the worker. Nothing waits for it: a PACS that does not answer leaves its words on the
page and is not asked again for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from dicom_node.outbound.asking import NoAnswer, PacsQuery, PatientIdentity, ReceivedObject, Retrieved
from storage.audit import AuditRepository
from storage.clock import Clock
from storage.errors import NotFound
from storage.pacs_answers import PacsAnswerRepository, PacsAnswerRow, PacsSeries, PacsStudy
from storage.requests import RequestRepository, RequestRow
from storage.scan_rows import ScanRow
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.study_rows import StudyRow
from storage.vocabulary import PacsAnswerState, RequestKind

log = structlog.get_logger("pacs")

_MOST_PRIORS = 20
_NOT_OURS = "another patient's or issuer's and not used"
_ELSEWHERE = "the PACS files this study under another patient: nothing it says of it is used"


@dataclass(frozen=True, kw_only=True)
class QuestionPolicy:
    """quiet_s: a study is asked about when nothing new came for this long. again_s: and again this often.

    fetch_missing: what the PACS has of it and this node has not is fetched then. fetch_priors: so many of the patient's
    latest earlier MR studies are fetched too, where this node has nothing of them.
    """

    quiet_s: float = 5.0
    again_s: float = 60.0
    fetch_missing: bool = False
    fetch_priors: int = 0

    def due(self, last_received_at: datetime, asked_at: datetime | None, now: datetime) -> bool:
        """Whether to ask about a study now: once it is quiet, and again after something new or a while."""
        if now - last_received_at < timedelta(seconds=self.quiet_s):
            return False
        return asked_at is None or asked_at <= last_received_at or now - asked_at >= timedelta(seconds=self.again_s)


class PacsQuestions:
    """Asks one PACS. take: keeps an object that was fetched, as the listener would.

    removed: from a study's row id to the SOP Instance UIDs whose files were removed by policy: they are fetched again.
    """

    def __init__(
        self,
        *,
        pacs: PacsQuery,
        studies: StudyRepository,
        scans: ScanRepository,
        answers: PacsAnswerRepository,
        requests: RequestRepository,
        audit: AuditRepository,
        take: Callable[[ReceivedObject], bool],
        removed: Callable[[int], Collection[str]] = lambda _study_id: (),
        policy: QuestionPolicy,
        clock: Clock,
    ) -> None:
        self._pacs = pacs
        self._studies = studies
        self._scans = scans
        self._answers = answers
        self._requests = requests
        self._audit = audit
        self._take = take
        self._removed = removed
        self._policy = policy
        self._clock = clock
        self._silent_until: datetime | None = None
        self._brought: set[str] = set()

    def tick(self) -> None:
        """One pass: what people asked to fetch, then every open study that is due a question."""
        for request in self._requests.pending(kinds=(RequestKind.FETCH,)):
            try:
                self._fetch_requested(request)
            finally:
                # Whatever came of it: one that fails in a way nobody thought of must not be begun anew for ever.
                self._requests.mark_handled(request.id)
        for scan in self._studies.open_scans():
            if self._silent_until is not None and self._clock() < self._silent_until:
                return
            if scan.study_instance_uid is not None:
                self._consider(scan, self._studies.study(scan.study_instance_uid))

    def _consider(self, scan: ScanRow, study: StudyRow) -> None:
        before = self._answer(study.study_instance_uid)
        asked_at = None if before is None else before.asked_at
        if not self._policy.due(study.last_received_at, asked_at, self._clock()):
            return
        self._leave_alone()
        try:
            self._ask(scan, study)
            self._silent_until = None
        except NoAnswer as error:
            self._leave_alone()
            self._answers.keep(study.study_instance_uid, self._pacs.name, PacsAnswerState.NO_ANSWER, reason=str(error))
            log.warning("the PACS was asked and did not answer", pacs=self._pacs.name, why=str(error))

    def _leave_alone(self) -> None:
        self._silent_until = self._clock() + timedelta(seconds=self._policy.again_s)

    def _ask(self, scan: ScanRow, study: StudyRow) -> None:
        uid = study.study_instance_uid
        ours = PatientIdentity(patient_id=study.patient_id, issuer_of_patient_id=study.issuer_of_patient_id)
        found = self._pacs.study(uid)
        if found is None:
            self._answers.keep(
                uid, self._pacs.name, PacsAnswerState.UNKNOWN, reason="the PACS does not have this study"
            )
            return
        if not ours.same(found.patient):
            self._answers.keep(uid, self._pacs.name, PacsAnswerState.MISMATCH, reason=_ELSEWHERE)
            log.error("patient mismatch at the PACS", scan=scan.id, pacs=self._pacs.name)
            return
        series = self._pacs.series(uid)
        priors, foreign = self._priors(ours, uid)
        reason = f"{foreign} studies under this Patient ID are {_NOT_OURS}" if foreign else ""
        self._answers.keep(uid, self._pacs.name, PacsAnswerState.ANSWERED, reason=reason, series=series, priors=priors)
        if self._policy.fetch_missing:
            self._fetch(scan.id, uid, series)
        self._fetch_priors(scan.id, study, priors)

    def _fetch_priors(self, scan_id: str, study: StudyRow, priors: Sequence[PacsStudy]) -> None:
        """Fetch the latest earlier MR studies; each becomes a study of its own here. None for one that was fetched.

        priors: newest first.
        """
        # What was fetched would fetch its own priors in turn, back to the patient's first study.
        if study.calling_ae == self._pacs.name[:16]:
            return
        earlier = [one for one in priors if "MR" in one.modalities and "" < one.study_date < study.study_date]
        for prior in earlier[: self._policy.fetch_priors]:
            uid = prior.study_instance_uid
            if uid not in self._brought and not self._instances_here(uid, removed_too=True):
                self._brought.add(uid)
                self._fetch(scan_id, uid, self._pacs.series(uid))

    def _priors(self, ours: PatientIdentity, study_uid: str) -> tuple[list[PacsStudy], int]:
        """Earlier and other studies of the patient, newest first; and how many that came were another's."""
        if not ours.patient_id.strip():
            return [], 0
        found = [one for one in self._pacs.studies_of(ours) if one.study.study_instance_uid != study_uid]
        same = [one.study for one in found if ours.same(one.patient)]
        same.sort(key=lambda one: one.study_date, reverse=True)
        return same[:_MOST_PRIORS], len(found) - len(same)

    def _answer(self, study_uid: str) -> PacsAnswerRow | None:
        return next((row for row in self._answers.of_study(study_uid) if row.peer == self._pacs.name), None)

    def _fetch_requested(self, request: RequestRow) -> None:
        scan = self._scans.get(request.scan_id)
        wanted = str(request.payload.get("study_instance_uid") or scan.study_instance_uid or "")
        try:
            if scan.study_instance_uid is None or not wanted:
                raise NotFound("study of this scan", scan.id)
            study = self._studies.study(scan.study_instance_uid)
            ours = PatientIdentity(patient_id=study.patient_id, issuer_of_patient_id=study.issuer_of_patient_id)
            found = self._pacs.study(wanted)
            if found is None or not ours.same(found.patient):
                self._note(scan.id, "not fetched: " + ("the PACS does not have it" if found is None else _ELSEWHERE))
                return
            self._fetch(scan.id, wanted, self._pacs.series(wanted))
        except (NoAnswer, NotFound) as error:
            self._note(scan.id, f"not fetched: {error}")

    def _fetch(self, scan_id: str, study_uid: str, series: Sequence[PacsSeries]) -> None:
        """Fetch what the PACS has of a study's MR series and this node has not."""
        here = self._instances_here(study_uid)
        for one in series:
            known = here.get(one.series_instance_uid, set())
            if one.modality != "MR" or (one.instances is not None and one.instances <= len(known)):
                continue
            listed = self._pacs.instances(study_uid, one.series_instance_uid)
            missing = [uid for uid in listed if uid not in known]
            if missing:
                came = self._pacs.retrieve(study_uid, one.series_instance_uid, missing, self._take)
                self._note(scan_id, _told(came, one.series_instance_uid, self._pacs.name))

    def _instances_here(self, study_uid: str, *, removed_too: bool = False) -> dict[str, set[str]]:
        """Series to instances. removed_too: also those whose files policy has removed, whose results are here."""
        here: dict[str, set[str]] = {}
        try:
            removed = () if removed_too else self._removed(self._studies.study(study_uid).id)
            for row in self._studies.instances_of(study_uid):
                if row.sop_instance_uid not in removed:
                    here.setdefault(row.series_instance_uid, set()).add(row.sop_instance_uid)
        except NotFound:
            pass  # an earlier study that is not here yet
        return here

    def _note(self, scan_id: str, text: str) -> None:
        self._audit.append("fetch", text, scan_id=scan_id, data={"pacs": self._pacs.name})
        log.info("fetch", scan=scan_id, pacs=self._pacs.name, text=text)


def _told(came: Retrieved, series_uid: str, pacs: str) -> str:
    told = f"series {series_uid}: {came.arrived} of {came.arrived + came.failed} instances fetched from {pacs}"
    return f"{told}; {came.text}" if came.text else told
