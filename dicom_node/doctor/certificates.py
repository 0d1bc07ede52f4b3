"""The TLS files the configuration names: whether key and certificate belong together, and until when they hold.

A certificate is read by a handshake of it with itself in memory: what that says is what a peer will say.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dicom_node.config import NodeConfig
from dicom_node.doctor.findings import Fault, Finding, ok, warning, wrong
from storage.clock import Clock

EXPIRES_SOON = timedelta(days=30)

_EXPIRED, _NOT_YET_VALID = 10, 9


def examine_certificates(config: NodeConfig, clock: Clock) -> Iterator[Finding]:
    """The listener's files and every destination's."""
    tls = config.node.tls
    if tls.certificate is not None and tls.key is not None:
        yield from examine_pair("listener's certificate", tls.certificate, tls.key, clock())
        if tls.client_ca is not None:
            yield from examine_authority("listener's client_ca", tls.client_ca, clock())
    for section in config.destinations:
        if section.certificate is not None and section.key is not None:
            what = f"certificate for {section.name}"
            yield from examine_pair(what, section.certificate, section.key, clock())
        if section.ca_file is not None:
            yield from examine_authority(f"ca_file of {section.name}", section.ca_file, clock())


def examine_pair(what: str, certificate: Path, key: Path, now: datetime) -> Iterator[Finding]:
    """A certificate with its key: readable, of one another, in its time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        if reason == "KEY_VALUES_MISMATCH":
            text = f"{certificate} and {key} do not belong together: name the key it was made with"
            yield wrong(what, Fault.CERTIFICATE_KEY_MISMATCH, text)
        else:
            missing = next((path for path in (certificate, key) if not path.is_file()), certificate)
            yield wrong(what, Fault.CERTIFICATE_UNREADABLE, f"{missing} cannot be used: {reason}")
        return
    try:
        seen = _shown(context, certificate)
    except ssl.SSLCertVerificationError as error:
        yield wrong(what, _fault(error), f"{certificate}: {error.verify_message}: have it issued anew")
        return
    except ssl.SSLError as error:
        yield wrong(what, Fault.CERTIFICATE_UNREADABLE, f"{certificate} cannot be used: {error.reason}")
        return
    yield _in_its_time(what, certificate, seen, now)


def examine_authority(what: str, file: Path, now: datetime) -> Iterator[Finding]:
    """The certificates that others are trusted by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(file)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        yield wrong(what, Fault.CERTIFICATE_UNREADABLE, f"{file} cannot be used: {reason}")
        return
    authorities = context.get_ca_certs()
    if not authorities:
        yield wrong(what, Fault.CHAIN_BROKEN, f"{file} holds no certificate of an authority, so it vouches for none")
        return
    findings = [_in_its_time(what, file, seen, now) for seen in authorities]
    yield next((finding for finding in findings if finding.fault is not None), findings[0])


def _fault(error: ssl.SSLCertVerificationError) -> Fault:
    known = {_EXPIRED: Fault.CERTIFICATE_EXPIRED, _NOT_YET_VALID: Fault.CERTIFICATE_NOT_YET_VALID}
    return known.get(error.verify_code, Fault.CHAIN_BROKEN)


def _in_its_time(what: str, file: Path, seen: dict[str, Any], now: datetime) -> Finding:
    begins, ends = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(str(seen[key])), UTC) for key in ("notBefore", "notAfter")
    )
    if now > ends:
        return wrong(what, Fault.CERTIFICATE_EXPIRED, f"{file} expired on {ends:%Y-%m-%d}: have it issued anew")
    if now < begins:
        text = f"{file} is valid from {begins:%Y-%m-%d} on, and this machine's clock says {now:%Y-%m-%d}"
        return wrong(what, Fault.CERTIFICATE_NOT_YET_VALID, text)
    if ends - now < EXPIRES_SOON:
        return warning(what, Fault.CERTIFICATE_EXPIRES_SOON, f"{file} expires on {ends:%Y-%m-%d}")
    return ok(what, f"valid until {ends:%Y-%m-%d}")


def _shown(serving: ssl.SSLContext, certificate: Path) -> dict[str, Any]:
    """The certificate as a peer sees it that trusts it. Raises ssl.SSLError."""
    # The one TLS 1.3 would need a message more to end with.
    serving.maximum_version = ssl.TLSVersion.TLSv1_2
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.load_verify_locations(certificate)
    asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(back, there)
    server = serving.wrap_bio(there, back, server_side=True)
    waiting = [client, server]
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    return dict(client.getpeercert() or {})
