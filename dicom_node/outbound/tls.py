"""TLS towards destinations by BCP 195 (RFC 9325; PS3.15 annex B.9): 1.2 and 1.3, the peer always checked."""

from __future__ import annotations

import ssl

from dicom_node.errors import Permanent
from dicom_node.outbound.sending import Destination

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"


class DestinationTlsInvalid(Permanent):
    """A certificate or key for a destination cannot be used."""

    code = "destination-tls-invalid"


def client_context(destination: Destination) -> ssl.SSLContext:
    """The context for associations with a destination: it trusts `ca_file`, or what the system trusts.

    Raises:
        DestinationTlsInvalid: a file is missing, is no PEM, or key and certificate do not belong together.
    """
    try:
        context = ssl.create_default_context(cafile=destination.ca_file)
        if destination.certificate is not None:
            context.load_cert_chain(destination.certificate, destination.key)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise DestinationTlsInvalid(
            f"destination '{destination.name}': its TLS files cannot be used: {reason}"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    return context
