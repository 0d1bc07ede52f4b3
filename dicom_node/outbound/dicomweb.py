"""A DICOMweb client for a destination: signed in, with time-outs, trusting only what it is told to."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from dicomweb_client.api import DICOMwebClient
from requests.auth import HTTPBasicAuth

from dicom_node.outbound.sending import Destination


def client_for(destination: Destination) -> DICOMwebClient:
    """A client whose every request ends within the destination's time-out for connecting and for each answer.

    It follows no redirects, retries nothing and reads neither proxies nor passwords from the surroundings: trying
    again is the outbox's, and where a result goes is the configuration's.
    """
    session = requests.Session()
    session.trust_env = False
    session.max_redirects = 0
    if destination.ca_file is not None:
        session.verify = str(destination.ca_file)
    if destination.certificate is not None:
        session.cert = (str(destination.certificate), str(destination.key))
    if destination.auth == "basic":
        # Bytes: as text the library would encode it in Latin-1, and fail on other letters.
        session.auth = HTTPBasicAuth(destination.username.encode(), destination.secret.encode())
    headers = {"Authorization": f"Bearer {destination.secret}"} if destination.auth == "bearer" else {}
    client = DICOMwebClient(
        destination.url.rstrip("/"),
        session=session,
        headers=headers,
        timeout=(destination.timeout_s, destination.timeout_s),
    )
    client.set_http_retry_params(retry=False)
    return client


def close(client: DICOMwebClient) -> None:
    """Close the connections a client keeps."""
    session: Any = client._session
    session.close()


def server_time(destination: Destination) -> datetime | None:
    """What the service's clock says (Date, RFC 9110 6.6.1), to the second; None where it does not say or not answer."""
    client = client_for(destination)
    try:
        session: Any = client._session
        answer = session.get(
            f"{destination.url.rstrip('/')}/studies?limit=1", timeout=destination.timeout_s, stream=True
        )
        told = parsedate_to_datetime(answer.headers["Date"])
        return told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    except (requests.exceptions.RequestException, KeyError, ValueError, TypeError):
        return None
    finally:
        close(client)


def why_failed(error: Exception) -> str:
    """One line on a request that failed, without the URL's query or any header."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the peer's certificate is not trusted, or TLS could not be agreed"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection, or the peer closed it"
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "the peer redirects elsewhere; name the service's own URL"
    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    return f"an answer that cannot be read ({type(error).__name__})"
