"""When a PACS is asked, what is believed, and that nothing waits for it. The PACS is scripted, the clock moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicom_node.inbound.headers import read_header
from dicom_node.outbound.asking import FoundStudy, NoAnswer, PatientIdentity, ReceivedObject, Retrieved, Take
from dicom_node.pacs_questions import PacsQuestions, QuestionPolicy
from storage.audit import AuditRepository
from storage.database import Database, upgrade
from storage.pacs_answers import PacsAnswerRepository, PacsAnswerRow, PacsSeries, PacsStudy
from storage.requests import RequestRepository
from storage.scans import ScanRepository
from storage.studies import InstanceRecord, StudyRepository
from storage.vocabulary import PacsAnswerState, RequestKind
from tests.mr_series import mr_series
from tests.outbox import SteppedClock

SERIES = mr_series(series="FLAIR")
STUDY = str(SERIES.datasets[0].StudyInstanceUID)
UID = str(SERIES.datasets[0].SeriesInstanceUID)
OURS = PatientIdentity(patient_id="ID-7", issuer_of_patient_id="WARD9")
NOW = datetime(2026, 3, 4, tzinfo=UTC)


class ScriptedPacs:
    """Has one study of one series, and two others under the same Patient ID."""

    name = "pacs"

    def __init__(self, clock: SteppedClock) -> None:
        self.clock = clock
        self.patient = OURS
        self.held = 6
        self.away = False
        self.has_study = True
        self.questions = 0
        self.retrieved: list[list[str]] = []

    def study(self, study_instance_uid: str) -> FoundStudy | None:
        self.questions += 1
        if self.away:
            self.clock.advance(60)
            raise NoAnswer("pacs: no answer in time")
        if not self.has_study:
            return None
        return FoundStudy(patient=self.patient, study=PacsStudy(study_instance_uid=study_instance_uid))

    def series(self, study_instance_uid: str) -> list[PacsSeries]:
        return [PacsSeries(series_instance_uid=UID, modality="MR", description="FLAIR", instances=self.held)]

    def studies_of(self, patient: PatientIdentity) -> list[FoundStudy]:
        other = PatientIdentity(patient_id="ID-7", issuer_of_patient_id="ELSEWHERE")
        loose = PatientIdentity(patient_id="id-7")
        return [
            FoundStudy(patient=OURS, study=PacsStudy(study_instance_uid=STUDY, study_date="20260102")),
            FoundStudy(
                patient=OURS, study=PacsStudy(study_instance_uid="1.1", study_date="20240101", modalities=("MR",))
            ),
            FoundStudy(
                patient=OURS, study=PacsStudy(study_instance_uid="1.2", study_date="20250101", modalities=("MR", "SR"))
            ),
            FoundStudy(patient=other, study=PacsStudy(study_instance_uid="1.3", study_date="20250101")),
            FoundStudy(patient=loose, study=PacsStudy(study_instance_uid="1.4", study_date="20250101")),
        ]

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        return [str(one.SOPInstanceUID) for one in SERIES.datasets] + ["2.25.6"][: self.held - 5]

    def retrieve(
        self, study_instance_uid: str, series_instance_uid: str, sop_instance_uids: Sequence[str], take: Take
    ) -> Retrieved:
        self.retrieved.append(list(sop_instance_uids))
        for uid in sop_instance_uids:
            take(ReceivedObject(sop_class_uid="1", sop_instance_uid=uid, transfer_syntax_uid="1", data_set=b""))
        return Retrieved(arrived=len(sop_instance_uids), failed=0)


class Bench:
    def __init__(self, folder: Path) -> None:
        upgrade(f"sqlite:///{folder / 'node.db'}")
        self.database = Database(f"sqlite:///{folder / 'node.db'}")
        self.clock = SteppedClock(NOW)
        self.studies = StudyRepository(self.database, self.clock)
        self.scans = ScanRepository(self.database, self.clock)
        self.requests = RequestRepository(self.database, self.clock)
        self.answers = PacsAnswerRepository(self.database, self.clock)
        self.audit = AuditRepository(self.database, self.clock)
        self.pacs = ScriptedPacs(self.clock)
        self.taken: list[str] = []

    def receive(self, *numbers: int) -> None:
        for number in numbers:
            header = read_header(SERIES.datasets[number])
            self.studies.record_instance(
                InstanceRecord(
                    sop_instance_uid=header.sop_instance_uid, sop_class_uid=header.sop_class_uid,
                    transfer_syntax_uid="1.2.840.10008.1.2.1", study_instance_uid=STUDY, series_instance_uid=UID,
                    modality="MR", study_date="20260102",
                    patient_id=header.patient_id, issuer_of_patient_id=header.issuer_of_patient_id,
                    path=f"studies/{number}", size=1, sha256=f"{number:064x}", header=header.to_json(),
                )
            )  # fmt: skip

    def questions(self, **policy: object) -> PacsQuestions:
        def take(received: ReceivedObject) -> bool:
            self.taken.append(received.sop_instance_uid)
            return True

        return PacsQuestions(
            pacs=self.pacs, studies=self.studies, scans=self.scans, answers=self.answers, requests=self.requests,
            audit=self.audit, take=take, policy=QuestionPolicy(**policy), clock=self.clock,  # type: ignore[arg-type]
        )  # fmt: skip

    @property
    def answer(self) -> PacsAnswerRow:
        (row,) = self.answers.of_study(STUDY)
        return row

    @property
    def scan_id(self) -> str:
        scan = self.scans.by_study(STUDY)
        assert scan is not None
        return scan.id


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.database.close()


def test_a_study_is_asked_about_once_it_is_quiet_and_again_while_it_waits(bench: Bench) -> None:
    bench.receive(0, 1)
    asking = bench.questions(quiet_s=5, again_s=60)
    asking.tick()
    assert bench.pacs.questions == 0
    bench.clock.advance(5)
    asking.tick()
    asking.tick()
    assert bench.pacs.questions == 1
    assert bench.answers.instances_of(STUDY) == {UID: 6}
    bench.receive(2)
    bench.clock.advance(5)
    asking.tick()
    assert bench.pacs.questions == 2
    bench.clock.advance(60)
    asking.tick()
    assert bench.pacs.questions == 3


def test_priors_are_the_same_patients_and_what_is_not_is_said(bench: Bench) -> None:
    bench.receive(0)
    bench.clock.advance(10)
    bench.questions().tick()
    assert bench.answer.state is PacsAnswerState.ANSWERED
    assert [prior.study_instance_uid for prior in bench.answer.priors] == ["1.2", "1.1"]
    assert bench.answer.reason == "2 studies under this Patient ID are another patient's or issuer's and not used"


def test_a_study_filed_under_another_patient_is_refused_and_shown(bench: Bench) -> None:
    bench.receive(0)
    bench.clock.advance(10)
    bench.pacs.patient = PatientIdentity(patient_id="ID-8")
    asking = bench.questions(fetch_missing=True)
    asking.tick()
    assert (bench.answer.state, bench.answer.series, bench.pacs.retrieved) == (PacsAnswerState.MISMATCH, (), [])
    assert "another patient" in bench.answer.reason
    assert "ID-" not in bench.answer.reason
    assert bench.answers.instances_of(STUDY) == {}
    bench.requests.add(bench.scan_id, RequestKind.FETCH)
    asking.tick()
    assert bench.pacs.retrieved == []
    assert "another patient" in bench.audit.list(kind="fetch")[-1].text


def test_a_pacs_that_answers_after_a_minute_is_left_alone_for_a_while(bench: Bench) -> None:
    bench.receive(0)
    bench.clock.advance(10)
    bench.pacs.away = True
    asking = bench.questions(again_s=60)
    asking.tick()
    assert (bench.answer.state, bench.answer.reason) == (PacsAnswerState.NO_ANSWER, "pacs: no answer in time")
    for _ in range(5):
        bench.clock.advance(10)
        asking.tick()
    assert bench.pacs.questions == 1
    bench.pacs.away = False
    bench.clock.advance(60)
    asking.tick()
    assert bench.answer.state is PacsAnswerState.ANSWERED


def test_a_study_the_pacs_does_not_have_is_said(bench: Bench) -> None:
    bench.receive(0)
    bench.clock.advance(10)
    bench.pacs.has_study = False
    bench.questions(fetch_missing=True).tick()
    assert bench.answer.state is PacsAnswerState.UNKNOWN


def test_what_is_missing_is_fetched_where_that_is_wanted(bench: Bench) -> None:
    bench.receive(0, 1, 2)
    bench.clock.advance(10)
    bench.questions(fetch_missing=True).tick()
    here = {str(SERIES.datasets[number].SOPInstanceUID) for number in range(3)}
    assert bench.taken == [uid for uid in bench.pacs.instances(STUDY, UID) if uid not in here]
    assert "3 of 3 instances fetched from pacs" in bench.audit.list(kind="fetch", scan_id=bench.scan_id)[-1].text


def test_a_person_fetches_what_is_missing_or_a_prior(bench: Bench) -> None:
    bench.receive(0, 1, 2, 3, 4)
    asking = bench.questions()
    bench.requests.add(bench.scan_id, RequestKind.FETCH)
    asking.tick()
    assert bench.taken == ["2.25.6"]
    bench.requests.add(bench.scan_id, RequestKind.FETCH, {"study_instance_uid": "1.1"})
    asking.tick()
    assert len(bench.pacs.retrieved[-1]) == 6
    assert bench.requests.pending() == []
    bench.pacs.away = True
    bench.requests.add(bench.scan_id, RequestKind.FETCH)
    asking.tick()
    assert bench.audit.list(kind="fetch")[-1].text == "not fetched: pacs: no answer in time"
    assert bench.requests.pending() == []


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (("A1", ""), ("A1", ""), True),
        (("A1 ", ""), ("A1", "X"), True),
        (("A1", "X"), ("A1", "X "), True),
        (("A1", "X"), ("A1", "Y"), False),
        (("A1", ""), ("a1", ""), False),
        (("A1", ""), ("A12", ""), False),
    ],
)
def test_the_same_patient(ours: tuple[str, str], theirs: tuple[str, str], same: bool) -> None:
    one, other = (PatientIdentity(patient_id=pid, issuer_of_patient_id=issuer) for pid, issuer in (ours, theirs))
    assert one.same(other) is same


def test_when_to_ask() -> None:
    policy = QuestionPolicy(quiet_s=5, again_s=60)

    def ago(seconds: float) -> datetime:
        return NOW - timedelta(seconds=seconds)

    assert not policy.due(ago(4), None, NOW)
    assert policy.due(ago(5), None, NOW)
    assert not policy.due(ago(30), ago(20), NOW)
    assert policy.due(ago(30), ago(31), NOW)
    assert policy.due(ago(100), ago(60), NOW)


@pytest.mark.parametrize(("most", "fetched"), [(0, 0), (1, 1), (5, 2)])
def test_the_latest_earlier_studies_are_fetched_where_that_is_wanted(bench: Bench, most: int, fetched: int) -> None:
    bench.receive(0, 1)
    asking = bench.questions(quiet_s=5, again_s=60, fetch_priors=most)
    for _ in range(2):  # asked again, nothing is fetched twice
        bench.clock.advance(70)
        asking.tick()
    assert len(bench.pacs.retrieved) == fetched
