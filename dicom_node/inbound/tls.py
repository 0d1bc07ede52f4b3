"""TLS of the listener by BCP 195 (RFC 9325; PS3.15 annex B.9): 1.2 and 1.3, forward secrecy, AEAD ciphers."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dicom_node.errors import Permanent

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"


class TlsInvalid(Permanent):
    """A certificate or key cannot be used; the message names the file."""

    code = "tls-invalid"


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files. client_ca: whose certificates clients show. clients: whether they must."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    clients: Literal["none", "optional", "required"] = "none"


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """The listener's context.

    Raises:
        TlsInvalid: a file is missing, is no PEM, or key and certificate do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # Without the callback OpenSSL would ask the terminal for a pass phrase, and the node wait for ever.
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise TlsInvalid(f"{files.certificate} with {files.key}: {_reason(error)}") from None
    if files.clients != "none":
        if files.client_ca is None:
            raise TlsInvalid("client certificates are asked for, but no client_ca says whose")
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise TlsInvalid(f"{files.client_ca}: {_reason(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED if files.clients == "required" else ssl.CERT_OPTIONAL
    return context


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or type(error).__name__)
