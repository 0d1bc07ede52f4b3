"""Each destination, from its host's address to the last SOP class it is sent; and the PACS that is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.config import NodeConfig
from dicom_node.doctor.certificates import EXPIRES_SOON
from dicom_node.doctor.findings import Fault, Finding, ok, skipped, warning, wrong
from dicom_node.outbound.asking import NoAnswer
from dicom_node.outbound.obstacles import Obstacle
from dicom_node.outbound.probing import connect, negotiate, shake_hands
from dicom_node.outbound.sending import Destination
from dicom_node.outbound.tls import DestinationTlsInvalid, client_context
from dicom_node.outward import destinations_of, pacs_of, reach
from dicom_node.result_kinds import ResultKind
from dicom_node.results import rejection_note
from dicom_node.results.encoders import ENCODERS
from dicom_node.uids import derive_uid
from storage.clock import Clock, utc_now

#: Kind of result to the SOP class it is sent in.
SOP_CLASS_OF_KIND = {
    **{encoder.kind: encoder.sop_class_uid for encoder in ENCODERS},
    rejection_note.KIND: rejection_note.SOP_CLASS_UID,
}

_REMEDY = {
    Obstacle.HOST_UNKNOWN: "correct its host, or the name server",
    Obstacle.PORT_CLOSED: "start the PACS there, or correct its port",
    Obstacle.NO_CONNECTION: "look at the network and firewalls between",
    Obstacle.TLS_NOT_SPOKEN: "that port speaks no TLS: name the other one, or set tls: false",
    Obstacle.CERTIFICATE_EXPIRED: "its administrator has to have it issued anew",
    Obstacle.CERTIFICATE_NOT_YET_VALID: "compare the clocks",
    Obstacle.WRONG_CA: "name the authority that issued its certificate in ca_file",
    Obstacle.OTHER_NAME: "name it by the host that its certificate is for",
    Obstacle.CLIENT_CERTIFICATE: "have our certificate issued by an authority it trusts",
    Obstacle.TLS_FAILED: "compare TLS versions and ciphers",
    Obstacle.CALLED_AE: "correct its ae_title",
    Obstacle.CALLING_AE: "enter this node there, with AE title, host and port",
    Obstacle.REJECTED: "see its log",
    Obstacle.NO_ASSOCIATION: "see whether that port is its DICOM port, with or without TLS",
    Obstacle.ECHO_FAILED: "see its log",
}


def proposals(config: NodeConfig, destination: Destination) -> list[tuple[str, str | None]]:
    """The presentation contexts that are proposed to a DICOM destination over time: SOP class, transfer syntax."""
    found: list[tuple[str, str | None]] = []
    for kind in (*destination.kinds, *destination.fallback):
        if kind in SOP_CLASS_OF_KIND:
            plain = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
            syntaxes = (RLELossless,) if kind == ResultKind.LABELMAP else plain
            found += [(SOP_CLASS_OF_KIND[kind], uid) for uid in syntaxes if (SOP_CLASS_OF_KIND[kind], uid) not in found]
    if destination.commitment == "request":
        found.append((StorageCommitmentPushModel, None))
    if destination.name == config.query.destination:
        found.append((StudyRootQueryRetrieveInformationModelFind, None))
        by_move = config.query.retrieve == "move"
        retrieve = StudyRootQueryRetrieveInformationModelMove if by_move else StudyRootQueryRetrieveInformationModelGet
        found.append((retrieve, None))
    return found


def examine_destinations(config: NodeConfig, *, negotiated: bool, clock: Clock = utc_now) -> Iterator[Finding]:
    """negotiated: also propose every SOP class and ask the PACS. Without it: only whether each answers."""
    for destination in destinations_of(config):
        unknown = [k for k in (*destination.kinds, *destination.fallback) if k not in SOP_CLASS_OF_KIND]
        if unknown:
            text = f"kinds: {', '.join(unknown)} is no kind of result; known: {', '.join(SOP_CLASS_OF_KIND)}"
            yield wrong(f"destination {destination.name}", Fault.RESULT_KIND_UNKNOWN, text)
        if destination.kind == "dicomweb":
            yield from _dicomweb(config, destination, clock)
        else:
            yield from _dicom(config, destination, proposals(config, destination) if negotiated else [], clock)
    if negotiated:
        yield from _query(config)


def obstacle_finding(what: str, obstacle: Obstacle, text: str) -> Finding:
    """What is in the way, with what to do."""
    return wrong(what, obstacle, f"{text}: {_REMEDY[obstacle]}")


def _dicom(
    config: NodeConfig, destination: Destination, contexts: list[tuple[str, str | None]], clock: Clock
) -> Iterator[Finding]:
    what = f"destination {destination.name}"
    step = connect(destination.host, destination.port, destination.timeout_s)
    if step.obstacle is not None:
        yield obstacle_finding(what, step.obstacle, step.text)
        return
    if destination.tls:
        secured = _tls(destination, destination.host, destination.port, clock)
        yield secured
        if secured.fault is not None:
            return
    came = negotiate(destination, config.node.ae_title, contexts)
    if came.obstacle is not None and not came.accepted:
        called = f"called '{destination.ae_title}' at {destination.host} port {destination.port}: {came.text}"
        yield obstacle_finding(what, came.obstacle, called)
        return
    if came.obstacle is not None:
        yield warning(what, came.obstacle, f"takes objects but {came.text}")
    else:
        yield ok(what, "answered")
    for uid in came.accepted:
        yield ok(f"{what} takes", UID(uid).name)
    for _, words in came.refused:
        text = f"{words}: have it enabled there, or take it out of the destination's kinds"
        yield wrong(f"{what} takes", Fault.SOP_CLASS_REFUSED, text)


def _dicomweb(config: NodeConfig, destination: Destination, clock: Clock) -> Iterator[Finding]:
    what = f"destination {destination.name}"
    url = urlsplit(destination.url)
    host, port = str(url.hostname), url.port or (443 if url.scheme == "https" else 80)
    step = connect(host, port, destination.timeout_s)
    if step.obstacle is not None:
        yield obstacle_finding(what, step.obstacle, step.text)
        return
    if url.scheme == "https":
        secured = _tls(destination, host, port, clock)
        yield secured
        if secured.fault is not None:
            return
    answer = reach(destination, config.node.ae_title)
    if answer.ok:
        yield ok(what, "answered")
    else:
        yield wrong(what, Fault.DICOMWEB_FAILED, f"{answer.text}: look at its url and sign-in")


def _tls(destination: Destination, host: str, port: int, clock: Clock) -> Finding:
    what = f"TLS with {destination.name}"
    try:
        context = client_context(destination)
    except DestinationTlsInvalid as error:
        return wrong(what, Fault.CERTIFICATE_UNREADABLE, str(error))
    step = shake_hands(host, port, context, destination.timeout_s)
    if step.obstacle is not None:
        return obstacle_finding(what, step.obstacle, step.text)
    if step.not_after is not None and step.not_after - clock().timestamp() < EXPIRES_SOON.total_seconds():
        text = f"{step.text}; its certificate expires on {datetime.fromtimestamp(step.not_after, UTC):%Y-%m-%d}"
        return warning(what, Fault.CERTIFICATE_EXPIRES_SOON, text)
    return ok(what, step.text)


def _query(config: NodeConfig) -> Iterator[Finding]:
    pacs = pacs_of(config)
    if pacs is None:
        yield skipped("query", "query.destination names nobody")
        return
    try:
        # A UID that no study has: the answer is "none", which is an answer.
        found = pacs.study(derive_uid("doctor", "a study that nobody has"))
    except NoAnswer as error:
        yield wrong("query", Fault.QUERY_FAILED, f"{error}: have queries by this node allowed there")
        return
    yield ok("query", f"{pacs.name} answers" if found is None else f"{pacs.name} answers, and finds what is not there")
