"""Which of a scan's runs the API and the pages show, and which a review is of."""

from __future__ import annotations

from storage.runs import RunRow
from storage.scan_rows import ScanRow
from storage.vocabulary import RunState
from web.context import WebContext


def shown_run(context: WebContext, scan: ScanRow) -> RunRow | None:
    """Return the run whose results the scan shows, None before one is done.

    While another run is under way, and where it failed, those of the latest that is done are still shown.
    """
    done = [run for run in context.scans.runs_of(scan.id) if run.state is RunState.DONE]
    return max(done, key=lambda run: (run.number == scan.run, run.number), default=None)


def reviewed_run(context: WebContext, scan: ScanRow) -> str | None:
    """Return the id of the run that a review of the scan is of, None while an earlier run's are shown in its place."""
    run = shown_run(context, scan)
    return run.id if run is not None and run.number == scan.run else None
