"""The kinds of destination. A new one is a class in its own file and one line here (docs/adding-a-destination.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dicom_node.errors import Permanent
from dicom_node.outbound.scu import DicomSender
from dicom_node.outbound.sending import Destination, ResultSender
from dicom_node.outbound.stow import DicomwebSender

#: Makes the sender for a destination. The second argument is this node's AE title.
SenderFactory = Callable[[Destination, str], ResultSender]

SENDERS: Mapping[str, SenderFactory] = MappingProxyType(
    {
        "dicom": DicomSender,
        "dicomweb": DicomwebSender,
    }
)


class UnknownDestinationKind(Permanent):
    """A destination whose kind no sender knows."""

    code = "unknown-destination-kind"

    def __init__(self, destination: Destination) -> None:
        known = ", ".join(sorted(SENDERS))
        super().__init__(f"destination '{destination.name}' is of kind '{destination.kind}'; known kinds: {known}")


def sender_for(destination: Destination, our_ae_title: str) -> ResultSender:
    """The sender of a destination.

    Raises:
        UnknownDestinationKind: its kind is not in `SENDERS`.
    """
    factory = SENDERS.get(destination.kind)
    if factory is None:
        raise UnknownDestinationKind(destination)
    return factory(destination, our_ae_title)
