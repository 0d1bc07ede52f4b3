"""What stands between this node and a peer, step by step: its address, a connection, TLS, an association, contexts."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom.sop_class import Verification

from dicom_node.outbound.association import (
    HostUnknown,
    all_contexts_refused,
    association,
    why_class_refused,
    why_not_established,
)
from dicom_node.outbound.obstacles import Obstacle
from dicom_node.outbound.sending import Destination

#: How long a peer has to object to our certificate: with TLS 1.3 it does so after the handshake.
_OBJECTS_WITHIN_S = 0.5

_EXPIRED, _NOT_YET_VALID = 10, 9
_OF_ANOTHER_NAME = frozenset({62, 64})
_UNTRUSTED = frozenset({18, 19, 20, 21, 24})

#: A-ASSOCIATE-RJ by the service user (PS3.8 table 9-21).
_BY_USER, _CALLING_UNKNOWN, _CALLED_UNKNOWN = 1, 3, 7


@dataclass(frozen=True, kw_only=True)
class Step:
    """What came of one step. obstacle: None where it went well. not_after: of the peer's certificate, seconds."""

    obstacle: Obstacle | None = None
    text: str = ""
    not_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Negotiated:
    """What came of an association. refused: SOP Class UID to the peer's words; only those without any context."""

    obstacle: Obstacle | None = None
    text: str = ""
    accepted: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def connect(host: str, port: int, timeout_s: float) -> Step:
    """Open a TCP connection and close it again."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except socket.gaierror as error:
        return Step(obstacle=Obstacle.HOST_UNKNOWN, text=f"host '{host}' has no address: {error.strerror}")
    except ConnectionRefusedError:
        return Step(obstacle=Obstacle.PORT_CLOSED, text=f"nothing listens on {host} port {port}")
    except OSError as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
        return Step(obstacle=Obstacle.NO_CONNECTION, text=f"{host} port {port}: {reason}")
    return Step(text=f"{host} port {port} is open")


def shake_hands(host: str, port: int, context: ssl.SSLContext, timeout_s: float) -> Step:
    """A TLS handshake as the senders make it, with what is wrong told apart."""
    try:
        with (
            socket.create_connection((host, port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            _let_object(secured)
            seen = secured.getpeercert() or {}
            until = ssl.cert_time_to_seconds(str(seen["notAfter"])) if "notAfter" in seen else None
            return Step(text=f"{secured.version()}, {(secured.cipher() or ('?',))[0]}", not_after=until)
    except ssl.SSLCertVerificationError as error:
        return Step(obstacle=_certificate_obstacle(error), text=f"{host} port {port}: {error.verify_message}")
    except ssl.SSLError as error:
        said = (error.reason or type(error).__name__).replace("_", " ").lower()
        return Step(obstacle=_handshake_obstacle(error), text=f"{host} port {port}: {said}")
    except (OSError, ValueError) as error:
        text = f"{host} port {port}: it ended the handshake ({type(error).__name__})"
        return Step(obstacle=Obstacle.TLS_NOT_SPOKEN, text=text)


def _let_object(secured: ssl.SSLSocket) -> None:
    secured.settimeout(_OBJECTS_WITHIN_S)
    with contextlib.suppress(TimeoutError):
        secured.recv(1)


def _certificate_obstacle(error: ssl.SSLCertVerificationError) -> Obstacle:
    if error.verify_code == _EXPIRED:
        return Obstacle.CERTIFICATE_EXPIRED
    if error.verify_code == _NOT_YET_VALID:
        return Obstacle.CERTIFICATE_NOT_YET_VALID
    if error.verify_code in _OF_ANOTHER_NAME:
        return Obstacle.OTHER_NAME
    return Obstacle.WRONG_CA if error.verify_code in _UNTRUSTED else Obstacle.TLS_FAILED


def _handshake_obstacle(error: ssl.SSLError) -> Obstacle:
    reason = error.reason or ""
    if any(word in reason for word in ("CERTIFICATE_REQUIRED", "UNKNOWN_CA", "BAD_CERTIFICATE", "ALERT_CERTIFICATE")):
        return Obstacle.CLIENT_CERTIFICATE
    spoke_otherwise = any(word in reason for word in ("WRONG_VERSION_NUMBER", "UNEXPECTED_EOF", "RECORD_LAYER"))
    return Obstacle.TLS_NOT_SPOKEN if spoke_otherwise else Obstacle.TLS_FAILED


def negotiate(
    destination: Destination,
    our_ae_title: str,
    contexts: Sequence[tuple[str, str | None]] = (),
    *,
    tls: ssl.SSLContext | None = None,
) -> Negotiated:
    """One association with C-ECHO on it that proposes `contexts` beside. tls: instead of the destination's own.

    Raises:
        DestinationTlsInvalid: its certificates or key cannot be used.
    """
    try:
        with association(destination, our_ae_title, [(Verification, None), *contexts], tls=tls) as peer:
            if not peer.is_established and not all_contexts_refused(peer):
                return Negotiated(obstacle=_why_rejected(peer), text=why_not_established(peer))
            taken = {str(context.abstract_syntax) for context in peer.accepted_contexts}
            asked = dict.fromkeys(uid for uid, _ in contexts)
            echoed = _echo(peer, taken)
            return Negotiated(
                obstacle=None if not echoed else Obstacle.ECHO_FAILED,
                text=echoed,
                accepted=tuple(uid for uid in asked if uid in taken),
                refused=tuple((uid, why_class_refused(peer, uid)) for uid in asked if uid not in taken),
            )
    except HostUnknown as error:
        return Negotiated(obstacle=Obstacle.HOST_UNKNOWN, text=str(error))


def _echo(peer: Any, taken: set[str]) -> str:
    """'' where C-ECHO was answered well."""
    if str(Verification) not in taken or not peer.is_established:
        return "the peer does not take C-ECHO"
    status = getattr(peer.send_c_echo(), "Status", None)
    if status is None:
        return "no answer to C-ECHO"
    return "" if status == 0x0000 else f"C-ECHO status 0x{status:04X}"


def _why_rejected(peer: Any) -> Obstacle:
    if not peer.is_rejected:
        return Obstacle.NO_ASSOCIATION
    answer = peer.acceptor.primitive
    if answer.result_source != _BY_USER:
        return Obstacle.REJECTED
    known = {_CALLING_UNKNOWN: Obstacle.CALLING_AE, _CALLED_UNKNOWN: Obstacle.CALLED_AE}
    return known.get(answer.diagnostic, Obstacle.REJECTED)
