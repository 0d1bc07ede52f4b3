"""What PACS said of our studies: instances a series there, and earlier studies of the same patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.clock import Clock, utc_now
from storage.columns import one_line
from storage.database import Database
from storage.errors import NotFound
from storage.outward_tables import PacsAnswer
from storage.tables import Study
from storage.vocabulary import PacsAnswerState


@dataclass(frozen=True, kw_only=True)
class PacsSeries:
    """One series as the PACS holds it. instances: how many, None where it does not say."""

    series_instance_uid: str
    modality: str = ""
    description: str = ""
    instances: int | None = None


@dataclass(frozen=True, kw_only=True)
class PacsStudy:
    """An earlier study of the patient. study_date: DICOM's text. modalities: of its series."""

    study_instance_uid: str
    study_date: str = ""
    description: str = ""
    modalities: tuple[str, ...] = ()
    instances: int | None = None


@dataclass(frozen=True, kw_only=True)
class PacsAnswerRow:
    """The latest answer of one PACS about one study. `reason`: one line without patient data."""

    study_instance_uid: str
    peer: str
    state: PacsAnswerState
    reason: str
    series: tuple[PacsSeries, ...]
    priors: tuple[PacsStudy, ...]
    asked_at: datetime

    def instances_of(self) -> dict[str, int]:
        """Series Instance UID to the number of instances the PACS says it has."""
        return {one.series_instance_uid: one.instances for one in self.series if one.instances is not None}


class PacsAnswerRepository:
    """One row a study and PACS."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def keep(
        self,
        study_instance_uid: str,
        peer: str,
        state: PacsAnswerState,
        *,
        reason: str = "",
        series: Sequence[PacsSeries] = (),
        priors: Sequence[PacsStudy] = (),
    ) -> None:
        """Replace what this PACS said before. One that did not answer now leaves its earlier series and priors.

        Raises:
            NotFound: no such study.
        """

        def write(session: Session) -> None:
            study_id = session.scalar(select(Study.id).where(Study.study_instance_uid == study_instance_uid))
            if study_id is None:
                raise NotFound("study", study_instance_uid)
            query = select(PacsAnswer).where(PacsAnswer.study_id == study_id, PacsAnswer.peer == peer)
            row = session.scalars(query.with_for_update()).one_or_none()
            if row is None:
                row = PacsAnswer(study_id=study_id, peer=peer, series=[], priors=[])
                session.add(row)
            row.state, row.reason, row.asked_at = state.value, one_line(reason), self._clock()
            if state is not PacsAnswerState.NO_ANSWER:
                row.series = [asdict(one) for one in series]
                row.priors = [asdict(one) for one in priors]

        self._database.run(write)

    def of_study(self, study_instance_uid: str) -> list[PacsAnswerRow]:
        """What each PACS said last, by name."""
        query = select(PacsAnswer).join(Study, PacsAnswer.study_id == Study.id)
        query = query.where(Study.study_instance_uid == study_instance_uid).order_by(PacsAnswer.peer)
        with self._database.read() as session:
            return [
                PacsAnswerRow(
                    study_instance_uid=study_instance_uid,
                    peer=row.peer,
                    state=PacsAnswerState(row.state),
                    reason=row.reason,
                    series=tuple(PacsSeries(**one) for one in row.series),
                    priors=tuple(PacsStudy(**{**one, "modalities": tuple(one["modalities"])}) for one in row.priors),
                    asked_at=row.asked_at,
                )
                for row in session.scalars(query)
            ]

    def instances_of(self, study_instance_uid: str) -> dict[str, int]:
        """Series Instance UID to the most instances any PACS says it has."""
        most: dict[str, int] = {}
        for answer in self.of_study(study_instance_uid):
            for uid, count in answer.instances_of().items():
                most[uid] = max(count, most.get(uid, 0))
        return most
