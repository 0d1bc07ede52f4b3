"""multipart/related (RFC 2387) read as it streams in, with limits; each part's bytes go where the caller says."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

_MOST_HEADERS = 8
_LONGEST_HEADER = 1024
_LONGEST_BOUNDARY = 200


class MultipartRefused(Exception):
    """A body that is no multipart/related, or more than the limits allow. Says what is wrong."""


class PartSink(Protocol):
    """What takes the parts, in order."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins; its header names are in lower case."""
        ...

    def data(self, data: bytes) -> None:
        """More of the part."""
        ...

    def end(self) -> None:
        """The part is complete."""
        ...


def boundary_of(content_type: str, wanted: str) -> str:
    """The boundary of a multipart/related of parts of the media type `wanted`.

    Raises:
        MultipartRefused: another type, other parts, or no boundary.
    """
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_type() != "multipart/related":
        raise MultipartRefused("send multipart/related")
    kind = message.get_param("type") or wanted
    if not isinstance(kind, str) or kind.strip('" ').lower() != wanted:
        raise MultipartRefused(f'send multipart/related; type="{wanted}"')
    boundary = message.get_param("boundary")
    # RFC 2046 says 70; Orthanc makes 73.
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
        raise MultipartRefused("the content type names no boundary that can be used")
    return boundary


class RelatedReader:
    """Feed it the body; it feeds the sink.

    Args:
        max_parts: more are refused.
    """

    def __init__(self, boundary: str, sink: PartSink, *, max_parts: int) -> None:
        self._sink = sink
        self._max_parts = max_parts
        self._parts = 0
        self._headers: dict[str, str] = {}
        self._name = bytearray()
        self._value = bytearray()
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header,
                "on_headers_finished": lambda: self._sink.begin(self._headers),
                "on_part_data": lambda data, start, end: self._sink.data(data[start:end]),
                "on_part_end": lambda: self._sink.end(),
                "on_end": self._end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_LONGEST_HEADER,
        )

    def feed(self, data: bytes) -> None:
        """Take more of the body. Raises MultipartRefused, and what the sink raises."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise MultipartRefused("the body is not the multipart its content type says") from error

    def close(self) -> None:
        """The body is over. Raises MultipartRefused where it was cut off, or held no part."""
        if not self._ended:
            raise MultipartRefused("the body ends before its last boundary")
        if not self._parts:
            raise MultipartRefused("the body has no part")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._max_parts:
            raise MultipartRefused(f"the body has more than {self._max_parts} parts")
        self._headers = {}

    def _header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self._ended = True
