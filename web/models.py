"""The node's models and how their versions agree, for the API and the page alike."""

from __future__ import annotations

from storage.model_agreement import Agreement, Version, agreements
from storage.model_answers import AnswerTally
from web.context import WebContext
from web.model_schemas import AgreementOut, AgreementTable, ModelList, ModelOut, TallyOut, VersionOut


def model_list(context: WebContext) -> ModelList:
    """Return the models the worker found."""
    return ModelList(
        items=[
            ModelOut(
                name=model.name,
                task=model.task,
                version=model.version,
                ok=model.ok,
                detail=model.detail,
                mode=model.mode,
                share=model.share if model.mode == "ab" else None,
                ensemble=model.ensemble,
                sha256=model.sha256,
            )
            for model in context.models()
        ]
    )


def agreement_table(context: WebContext) -> AgreementTable:
    """Return how far versions agree, and how each answered by itself."""
    return AgreementTable(
        items=[_agreement(one) for one in agreements(context.answers.pairs())],
        answers=[_tally(one) for one in context.answers.tallies()],
    )


def _version(version: Version) -> VersionOut:
    return VersionOut(name=version.name, version=version.version, sha256=version.sha256)


def _agreement(one: Agreement) -> AgreementOut:
    return AgreementOut(
        task=one.version.task,
        model=_version(one.version),
        reference=_version(one.reference),
        studies=one.n,
        share=one.share,
        kappa=one.kappa,
        mean_dice=dict(one.mean_dice),
        mean_volume_difference_ml=dict(one.mean_volume_difference_ml),
        first_at=one.first_at,
        last_at=one.last_at,
    )


def _tally(one: AnswerTally) -> TallyOut:
    return TallyOut(
        task=one.version.task,
        model=_version(one.version),
        mode=one.mode.value,
        answers=one.answers,
        errors=one.errors,
        values=dict(one.values),
        mean_seconds=one.mean_seconds,
        first_at=one.first_at,
        last_at=one.last_at,
    )
