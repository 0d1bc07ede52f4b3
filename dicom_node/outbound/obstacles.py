"""What can be in the way of a connection to a peer, by names that are stable for scripts."""

from __future__ import annotations

from enum import StrEnum


class Obstacle(StrEnum):
    """The first thing that is in the way."""

    HOST_UNKNOWN = "host-unknown"
    PORT_CLOSED = "port-closed"
    NO_CONNECTION = "no-connection"
    TLS_NOT_SPOKEN = "tls-not-spoken"
    CERTIFICATE_EXPIRED = "peer-certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "peer-certificate-not-yet-valid"
    WRONG_CA = "wrong-ca"
    OTHER_NAME = "certificate-for-another-name"
    CLIENT_CERTIFICATE = "client-certificate-refused"
    TLS_FAILED = "tls-failed"
    CALLED_AE = "called-ae-unknown"
    CALLING_AE = "calling-ae-unknown"
    REJECTED = "association-rejected"
    NO_ASSOCIATION = "no-association"
    ECHO_FAILED = "echo-failed"
