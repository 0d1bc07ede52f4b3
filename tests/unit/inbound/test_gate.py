"""The gate outlives whatever one connection brings about."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from dicom_node.inbound.gate import Gate, Opening


def request(calling: bytes) -> bytes:
    body = struct.pack(">HH16s16s32x", 1, 0, b"BTNODE".ljust(16), calling.ljust(16))
    return struct.pack(">BBL", 1, 0, len(body)) + body


def test_an_error_at_one_connection_ends_that_one_alone(caplog: pytest.LogCaptureFixture) -> None:
    passed: list[Opening] = []
    came = threading.Event()

    def judge(opening: Opening) -> None:
        if opening.calling_ae == "TROUBLE":
            raise RuntimeError("no thread can be started")

    def admit(opening: Opening) -> None:
        passed.append(opening)
        came.set()

    gate = Gate(context=None, wait_s=5, most_waiting=10, judge=judge, admit=admit, note=lambda *_: None)
    gate.start()
    try:
        pairs = [socket.socketpair() for _ in range(2)]
        for (ours, theirs), name in zip(pairs, (b"TROUBLE", b"MODALITY"), strict=True):
            gate.add(theirs, ("192.0.2.1", 1))
            ours.settimeout(5)
            ours.sendall(request(name))
            if name == b"TROUBLE":
                assert ours.recv(1) == b""  # closed
        assert came.wait(5)
        assert [opening.calling_ae for opening in passed] == ["MODALITY"]
        assert "closed at the gate" in caplog.text
    finally:
        gate.stop()
        for ours, theirs in pairs:
            ours.close()
            theirs.close()


def make_gate() -> Gate:
    return Gate(
        context=None,
        wait_s=5.0,
        most_waiting=10,
        judge=lambda opening: None,
        admit=lambda opening: None,
        note=lambda *refusal: None,
    )


def test_a_gate_whose_thread_saw_the_end_by_itself_is_stopped_all_the_same() -> None:
    """The thread looks every 0.1 s whether it is to end: on a busy machine it has ended before it is woken."""
    gate = make_gate()
    gate.start()
    gate._stopping.set()
    gate._thread.join(5)
    gate.stop()


def test_stopping_closes_what_waits() -> None:
    gate = make_gate()
    gate.start()
    ours, theirs = socket.socketpair()
    gate.add(theirs, ("127.0.0.1", 1))
    gate.stop()
    assert ours.recv(1) == b""
    assert theirs.fileno() == -1
    ours.close()
