"""GET /api/models, GET /api/models/agreement and their page: which models the node has and how versions agree."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from web.dependencies import Clinical, Context
from web.model_schemas import AgreementTable, ModelList
from web.models import agreement_table, model_list
from web.pages import ClinicalVisitor, render
from web.problems import documented

router = APIRouter()


@router.get("/api/models", tags=["models"], responses=documented(401, 403))
def list_models(context: Context, _session: Clinical) -> ModelList:
    """List the models as the worker found them: usable or not, active, shadow or ab."""
    return model_list(context)


@router.get("/api/models/agreement", tags=["models"], responses=documented(401, 403))
def list_agreement(context: Context, _session: Clinical) -> AgreementTable:
    """Tell how far versions of a model agree, from all studies that more than one of them answered."""
    return agreement_table(context)


@router.get("/models", include_in_schema=False)
def models_page(request: Request, context: Context, session: ClinicalVisitor) -> Response:
    """Show the models and how their versions agree."""
    return render(
        request,
        context,
        "models.html",
        session,
        here="models",
        models=model_list(context).items,
        table=agreement_table(context),
    )
