"""A phantom study all the way through: in by C-STORE, analysed, out to every destination, and found there again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from dicom_node.config import NodeConfig
from dicom_node.doctor.findings import Fault, Finding, ok, skipped, wrong
from dicom_node.doctor.listener import own_address, runs
from dicom_node.doctor.temporary_node import TemporaryNodeSilent, temporary_node
from dicom_node.outbound.asking import NoAnswer, PacsQuery
from dicom_node.outbound.qido import DicomwebPacs
from dicom_node.outbound.retrieve import DicomPacs
from dicom_node.outbound.scu import DicomSender, echo
from dicom_node.outbound.sending import Destination, Verdict, outgoing_file
from dicom_node.outward import destinations_of
from dicom_node.phantom.patients import PhantomPatient
from dicom_node.phantom.study import make_study
from dicom_node.phantom.write_dicom import write_study
from dicom_node.store import Store
from storage.clock import Clock
from storage.lifecycle import END_STATES, ScanState
from storage.scan_rows import ScanRow
from storage.vocabulary import DeliveryState

#: Whoever meets it in a PACS sees what it is.
PATIENT = PhantomPatient(patient_id="TUMOR-NODE-TEST", name="TEST^PHANTOM^NOT A PATIENT")

_WHAT = "phantom study"
_SEED = 7
_LOOK_EVERY_S = 0.5
_FOUND_WITHIN_S = 20.0


def examine_study(config: NodeConfig, store: Store | None, clock: Clock, *, within_s: float) -> Iterator[Finding]:
    """Send it through the running node, or one that is started for the purpose, and follow it to its end."""
    with tempfile.TemporaryDirectory(prefix="tumor-node-doctor-") as name, ExitStack() as stack:
        folder = Path(name)
        # Each examination brings a study of its own: one that is known already would not be analysed again.
        salt = f"doctor {clock().isoformat()}"
        study = make_study(_SEED, "siemens", size="small", clutter=False, patient=PATIENT, salt=salt)
        paths = [path for series in write_study(folder / "study", study) for path in series.paths]
        own = own_address(config)
        through_running = store is not None and not own.tls and runs(config) and echo(own, config.node.ae_title).ok
        if through_running and store is not None:
            node = own
        else:
            try:
                node, store = stack.enter_context(temporary_node(config, folder))
            except TemporaryNodeSilent as error:
                yield wrong(_WHAT, Fault.STUDY_REFUSED, str(error))
                return
        which = "the running node" if through_running else "a node started for it"
        yield from _followed(config, node, store, paths, study.study_instance_uid, which, within_s)


def _followed(
    config: NodeConfig, node: Destination, store: Store, paths: list[Path], uid: str, which: str, within_s: float
) -> Iterator[Finding]:
    begun = time.monotonic()
    outcomes = DicomSender(node, config.node.ae_title).send([outgoing_file(path) for path in paths])
    refused = [outcome for outcome in outcomes if outcome.verdict is not Verdict.SENT]
    if refused:
        text = f"{which} refused {len(refused)} of {len(paths)} objects: {refused[0].text}"
        yield wrong(_WHAT, Fault.STUDY_REFUSED, text)
        return
    yield ok(_WHAT, f"{which} took {len(paths)} objects of '{PATIENT.patient_id}'")
    scan = _ended(store, uid, begun + within_s)
    spent_s = time.monotonic() - begun
    rows = [] if scan is None else store.deliveries.of_scan(scan.id)
    if scan is None or (not rows and scan.status is not ScanState.DELIVERED):
        told = "it made no scan of it" if scan is None else f"it is {scan.status}: {_said(scan)}"
        yield wrong(_WHAT, Fault.STUDY_NOT_ANALYSED, f"after {spent_s:.0f} s {told}")
        return
    yield ok(_WHAT, f"analysed, and its results on their way, after {spent_s:.0f} s")
    for destination in destinations_of(config):
        mine = [row for row in rows if row.destination == destination.name]
        what = f"{_WHAT} to {destination.name}"
        late = [row for row in mine if row.state is not DeliveryState.SENT]
        if not mine:
            yield skipped(what, "it is owed nothing of this study")
        elif late:
            text = "; ".join(sorted({f"{row.kind}: {row.last_error or 'not sent yet'}" for row in late}))
            yield wrong(what, Fault.STUDY_NOT_DELIVERED, text)
        else:
            yield ok(what, f"took {', '.join(sorted(row.kind for row in mine))}")
            yield _found(config, destination, uid, {row.sop_instance_uid for row in mine})


def _ended(store: Store, uid: str, deadline: float) -> ScanRow | None:
    """The scan when it is at an end, or as it stands when the time is over or the outbox has an answer from all."""
    while True:
        scan = store.scans.by_study(uid)
        if scan is not None and scan.status in END_STATES:
            return scan
        if scan is not None and scan.status is ScanState.DELIVERING:
            rows = store.deliveries.of_scan(scan.id)
            if rows and all(row.state is not DeliveryState.OWED or row.last_error for row in rows):
                return scan
        if time.monotonic() > deadline:
            return scan
        time.sleep(_LOOK_EVERY_S)


def _said(scan: ScanRow) -> str:
    return scan.error_text or scan.waiting_for or scan.pipeline_step or "no reason is given"


def _found(config: NodeConfig, destination: Destination, uid: str, sent: set[str]) -> Finding:
    """The results as the destination lists them: by QIDO-RS, or by C-FIND where it is the PACS that is asked."""
    what = f"{_WHAT} back from {destination.name}"
    pacs: PacsQuery
    if destination.kind == "dicomweb":
        pacs = DicomwebPacs(destination, retrieve_timeout_s=config.query.retrieve_timeout_s)
    else:
        pacs = DicomPacs(
            destination,
            config.node.ae_title,
            by=config.query.retrieve,
            retrieve_timeout_s=config.query.retrieve_timeout_s,
        )
    asked = destination.name == config.query.destination
    deadline = time.monotonic() + _FOUND_WITHIN_S
    try:
        while not sent <= (listed := _listed(pacs, uid)) and time.monotonic() < deadline:
            time.sleep(1.0)
    except NoAnswer as error:
        if asked:
            return wrong(what, Fault.QUERY_FAILED, str(error))
        return skipped(what, f"it cannot be asked, and need not be: {error}")
    if sent <= listed:
        text = f"lists all {len(sent)} results; the study stays there under '{PATIENT.patient_id}', delete it at will"
        return ok(what, text)
    return wrong(what, Fault.STUDY_NOT_FOUND, f"it took {len(sent)} results and lists {len(sent & listed)} of them")


def _listed(pacs: PacsQuery, uid: str) -> set[str]:
    if pacs.study(uid) is None:
        return set()
    return {one for series in pacs.series(uid) for one in pacs.instances(uid, series.series_instance_uid)}
