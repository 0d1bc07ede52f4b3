"""What the listener offers beside storage and verification: a service brings its SOP classes and its handlers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: One of pynetdicom's events and the function that answers it.
Handler = tuple[Any, Callable[..., Any]]


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service of the listener.

    sop_classes: accepted with the peer in either role, in the uncompressed syntaxes. handlers: run on the thread of
    the association they answer; what they raise is answered as a processing failure.
    """

    sop_classes: tuple[str, ...]
    handlers: tuple[Handler, ...]


def handlers_of(services: Sequence[Service]) -> list[Handler]:
    """The handlers of all services, in order."""
    return [handler for service in services for handler in service.handlers]
