"""From received to running: applies the completeness rule and people's requests, and hands studies to the engine.

Every pass is safe to repeat and safe to run in several workers: what it decides is applied by guarded state changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from dicom_node.errors import Permanent
from dicom_node.inbound.assembly import AssemblyPolicy, Mode, Outcome, decide
from dicom_node.inbound.series_roles import assign
from dicom_node.inbound.study_facts import save_roles, study_facts
from dicom_node.inbound.unfiled import Unfiled, unfiled
from dicom_node.study_rows import candidate_instances
from storage.clock import Clock
from storage.deliveries import DeliveryRepository
from storage.errors import Conflict, ImpossibleTransition, NotFound
from storage.files import FileStore
from storage.lifecycle import OPEN_STATES, TRANSITIONS, ScanEvent, ScanState
from storage.receivers import ReceiverRow
from storage.requests import RequestRepository, RequestRow
from storage.restoring import IMAGES_REMOVED
from storage.runs import RunRow
from storage.scan_rows import ScanRow
from storage.scans import ScanRepository
from storage.studies import StudyRepository
from storage.study_rows import ScanFacts
from storage.vocabulary import RequestKind, RunState, Source

log = structlog.get_logger("intake")

#: A scan that says it is being analysed but whose run never reached the engine (a crash in between) is handed over
#: again after this long.
_RESUBMIT_AFTER = timedelta(seconds=15)
#: Requests of people that are dealt with here; fetching from a PACS takes minutes and has a loop of its own.
_HANDLED = frozenset(RequestKind) - {RequestKind.FETCH}


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """The engine's side. submit: take a run, once, however often told. gave_up: why the engine will not run it."""

    submit: Callable[[RunRow], None]
    gave_up: Callable[[RunRow], str | None]


class Intake:
    """Watches open scans.

    model_digest: everything besides the images that decides a result. held_by_pacs: from a Study Instance UID to the
    instances the PACS says each series has, where it was asked and answered. receivers: the condition of the listeners.
    try_destination: has a destination that is left alone tried at once.
    priors_of: from a Study Instance UID to the runs of earlier studies that its run is compared with. awaits_priors:
    how many earlier studies a ready one is to wait for.
    removed: from a study's row id to the SOP Instance UIDs whose files policy has removed.
    judge_held: has what is held of a run released where its destination's lint profiles do not mind it any more.
    """

    def __init__(
        self,
        *,
        studies: StudyRepository,
        scans: ScanRepository,
        requests: RequestRepository,
        deliveries: DeliveryRepository,
        files: FileStore,
        jobs: Jobs,
        policy: AssemblyPolicy,
        model_digest: Callable[[], str],
        clock: Clock,
        held_by_pacs: Callable[[str], Mapping[str, int]] = lambda _study_uid: {},
        receivers: Callable[[], Sequence[ReceiverRow]] = tuple,
        try_destination: Callable[[str], None] = lambda _name: None,
        priors_of: Callable[[str], Sequence[str]] = lambda _study_uid: (),
        awaits_priors: Callable[[str], int] = lambda _study_uid: 0,
        removed: Callable[[int], Collection[str]] = lambda _study_id: (),
        judge_held: Callable[[RunRow], None] = lambda _run: None,
    ) -> None:
        self._studies = studies
        self._scans = scans
        self._requests = requests
        self._deliveries = deliveries
        self._files = files
        self._jobs = jobs
        self._policy = policy
        self._model_digest = model_digest
        self._held_by_pacs = held_by_pacs
        self._receivers = receivers
        self._try_destination = try_destination
        self._priors_of = priors_of
        self._awaits_priors = awaits_priors
        self._removed = removed
        self._judge_held = judge_held
        self._clock = clock
        self._look_again_at: dict[str, datetime] = {}
        # A new object can make a study ready no sooner than `series_quiet_s` later: looking this often misses nothing.
        self._look_every = timedelta(seconds=min(5.0, policy.series_quiet_s / 2))

    def tick(self) -> None:
        """One pass over requests, open scans, ready scans and runs that were lost between the tables."""
        for request in self._requests.pending(kinds=_HANDLED):
            self._handle(request)
        for scan in self._studies.open_scans():
            if scan.source is Source.UPLOAD_NIFTI:
                # Its row is made when all its files are on disk.
                self._move(scan.id, ScanEvent.COMPLETE, "the upload is complete")
            else:
                self._consider(scan)
        for scan in self._scans.in_states(ScanState.READY):
            self._start(scan)
        for scan in self._scans.in_states(ScanState.ANALYSING, ScanState.REPORTING):
            if self._clock() - scan.updated_at > _RESUBMIT_AFTER:
                self._rescue(scan)

    def _consider(self, scan: ScanRow, *, process_now: bool = False) -> None:
        now = self._clock()
        if now < self._look_again_at.get(scan.id, now) and not process_now:
            return
        # Before the study's rows are read: those that the listeners' rows speak of are then among them.
        behind = unfiled(self._receivers(), now)
        facts = self._studies.scan_facts(scan.id)
        held = self._held_by_pacs(scan.study_instance_uid or "")
        arrived = study_facts(facts, process_now=process_now, held_by_pacs=held, sender=self._sender(facts, behind))
        decision = decide(arrived, self._policy, now, behind)
        save_roles(self._studies, scan.id, decision.roles)
        match decision.outcome:
            case Outcome.WAIT:
                if scan.status is ScanState.RECEIVED:
                    self._move(scan.id, ScanEvent.ASSEMBLE, "waiting for the rest of the study")
                self._scans.set_waiting(scan.id, "; ".join(decision.waiting_for))
                again = decision.decide_again_at or now
                self._look_again_at[scan.id] = min(again, now + self._look_every)
                return
            case Outcome.READY:
                text = {
                    Mode.FULL: "complete: every role is filled",
                    Mode.REDUCED: "no more is expected; reduced analysis: " + "; ".join(decision.reasons),
                    Mode.INCOMPLETE: "still growing at the time limit; marked incomplete: "
                    + "; ".join(decision.reasons),
                }[decision.mode or Mode.FULL]
                self._move(scan.id, ScanEvent.COMPLETE, text, mode=str(decision.mode))
            case Outcome.INELIGIBLE:
                text = "nothing here can be analysed: " + "; ".join(decision.reasons)
                self._move(scan.id, ScanEvent.REJECT, text, error_code="ineligible")
        self._look_again_at.pop(scan.id, None)

    def _sender(self, facts: ScanFacts, behind: Unfiled) -> str:
        """Who brought the study's latest object, where it is of interest and this is still the study at hand there."""
        latest = max(facts.instances, key=lambda instance: instance.received_at, default=None)
        if latest is None or facts.study is None or latest.calling_ae not in behind.senders:
            return ""
        at_hand = self._studies.latest_from(latest.calling_ae)
        return latest.calling_ae if at_hand == facts.study.study_instance_uid else ""

    def _start(self, scan: ScanRow) -> None:
        awaited = self._awaits_priors(scan.study_instance_uid) if scan.study_instance_uid else 0
        if awaited:
            self._scans.set_waiting(scan.id, f"{awaited} earlier studies of this patient are analysed first")
            return
        if scan.source is Source.UPLOAD_NIFTI:
            inputs = sorted(path.name for path in self._files.upload_folder(scan.id).iterdir())
            said = ""
        else:
            rows = self._studies.scan_facts(scan.id)
            facts = study_facts(rows)
            inputs = candidate_instances(assign([s.headers for s in facts.series], facts.overrides), rows.instances)
            said = ",".join(f"{uid}={role}" for uid, role in sorted((facts.overrides or {}).items()))
        priors = self._priors_of(scan.study_instance_uid) if scan.study_instance_uid else ()
        digest = f"{self._model_digest()};{said}"
        if self._lacks_images(scan, inputs, digest, priors):
            return
        try:
            run = self._scans.start_run(scan.id, inputs, digest, priors)
        except ImpossibleTransition:
            return  # another worker took it, or something new came: the next pass sees which
        if run.state is RunState.DONE:
            # The same images and models as before: the results exist; what a destination refused is tried anew, and
            # owed before the delivery loop sees the scan, which would end it again.
            self._judge_held_safely(run)
            self._deliveries.owe_again(scan.id)
            for destination in sorted({row.destination for row in self._deliveries.outstanding(scan.id)}):
                self._try_destination(destination)
            self._move(scan.id, ScanEvent.UNCHANGED, "nothing that matters has changed; the earlier results stand")
        elif run.claimed:
            log.info("run queued", scan=scan.id, run=run.id, instances=len(inputs))
            self._jobs.submit(run)

    def _lacks_images(self, scan: ScanRow, inputs: Sequence[str], digest: str, priors: Sequence[str]) -> bool:
        """True where a run would need images that were removed by policy; the scan says so then."""
        if scan.study_id is None:
            return False
        gone = set(self._removed(scan.study_id)).intersection(inputs)
        if not gone or self._scans.has_result(scan.id, inputs, digest, priors):
            return False
        text = (
            f"{len(gone)} of the {len(inputs)} images a new run needs were removed after delivery: "
            "send the study again, or fetch it from the PACS; earlier results stand"
        )
        self._move(scan.id, ScanEvent.FAIL, text, error_code=IMAGES_REMOVED)
        return True

    def _rescue(self, scan: ScanRow) -> None:
        run = next((run for run in reversed(self._scans.runs_of(scan.id)) if run.number == scan.run), None)
        if run is None or run.state is not RunState.RUNNING:
            return
        reason = self._jobs.gave_up(run)
        if reason is None:
            self._jobs.submit(run)
            return
        self._scans.finish_run(run.id, RunState.FAILED)
        self._move(scan.id, ScanEvent.FAIL, reason, error_code="poison")

    def _handle(self, request: RequestRow) -> None:
        scan = self._scans.get(request.scan_id)
        match request.kind:
            case RequestKind.PROCESS_NOW if scan.status in OPEN_STATES and scan.source is not Source.UPLOAD_NIFTI:
                self._consider(scan, process_now=True)
            case RequestKind.RETRY if (scan.status, ScanEvent.RETRY) in TRANSITIONS:
                self._move(scan.id, ScanEvent.RETRY, "a person asked for another run")
            case RequestKind.ROLE_OVERRIDE:
                self._override(scan, request)
            case RequestKind.RESEND:
                self._resend(scan, request)
            case _:
                log.info("request has no meaning now", scan=scan.id, kind=str(request.kind), status=str(scan.status))
        self._requests.mark_handled(request.id)

    def _override(self, scan: ScanRow, request: RequestRow) -> None:
        for uid, role in request.payload["roles"].items():
            self._studies.override_role(scan.id, uid, role, str(request.payload["by"]))
        self._look_again_at.pop(scan.id, None)
        if (scan.status, ScanEvent.RETRY) in TRANSITIONS:
            self._move(scan.id, ScanEvent.RETRY, "a person changed a series' role")

    def _judge_held_safely(self, run: RunRow) -> None:
        try:
            self._judge_held(run)
        except Exception as error:  # what was found then cannot be read any more: what is held stays so, others go on
            log.error("held objects not judged", run=run.id, exc_info=error)

    def _resend(self, scan: ScanRow, request: RequestRow) -> None:
        try:
            delivery = self._deliveries.owe_once_more(int(request.payload["delivery_id"]))
        except (NotFound, Conflict):  # gone, or a review withholds it by now
            log.info("request has no meaning now", scan=scan.id, kind=str(request.kind))
            return
        self._try_destination(delivery.destination)
        if scan.status is ScanState.FAILED and scan.failed_in is ScanState.DELIVERING:
            self._move(scan.id, ScanEvent.RESEND, f"a person asked to send {delivery.kind} once more")

    def _move(self, scan_id: str, event: ScanEvent, text: str, **data: str) -> None:
        try:
            self._scans.apply_event(scan_id, event, text, **data)
        except ImpossibleTransition:
            log.info("another worker was first", scan=scan_id, with_event=str(event))


def error_fields(error: Exception) -> tuple[str, str]:
    """(code, text) of an error for the scan's row; an unexpected one by its class, its text stays in the log."""
    code = getattr(error, "code", None)
    if isinstance(error, Permanent) or code is not None:
        return str(code), str(error)
    return "internal-error", f"{type(error).__name__}: see the worker's log, then retry or report it"
