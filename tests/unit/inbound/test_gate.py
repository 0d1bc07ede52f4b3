from __future__ import annotations

import socket

from dicom_node.inbound.gate import Gate


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
