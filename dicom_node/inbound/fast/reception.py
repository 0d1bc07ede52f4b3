"""One object on its way from the wire into the journal, in constant memory, and the answer to its sender."""

from __future__ import annotations

import time
from collections.abc import Callable

from isal.isal_zlib import crc32

from dicom_node.inbound.answers import STORED, Answer, answer, out_of_resources
from dicom_node.inbound.fast.big_objects import BigObject, BigObjects
from dicom_node.inbound.fast.journal import MAX_RECORD_DATA_BYTES, Journal
from dicom_node.inbound.fast.peek import named_instance
from dicom_node.inbound.fast.records import checksum, pack_claim
from dicom_node.inbound.ingest import Claim, Ingest
from dicom_node.inbound.part10 import valid_uid
from storage.errors import StorageError

#: The disk is asked no more often: in that time less comes in than `min_free_bytes` keeps free.
_ROOM_FOR_S = 0.2


class Reception:
    """Receives one object after another: `begin`, then `space` and `filled` in turn, then `finish` or `discard`.

    Holds one buffer of MAX_RECORD_DATA_BYTES. One thread at a time.

    Args:
        check_room: raises StorageError where no more may be received.
        ingest: the slow way, for an object whose UIDs are in doubt: its answer has to wait for a look at it.
    """

    def __init__(
        self, journal: Journal, big_objects: BigObjects, ingest: Ingest, check_room: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._big_objects = big_objects
        self._ingest = ingest
        self._check_room = check_room
        self._room_until = 0.0
        self._buffer = memoryview(bytearray(MAX_RECORD_DATA_BYTES))
        self._fill = 0
        self._crc = 0
        self._claim: Claim | None = None
        self._claim_bytes = b""
        self._big: BigObject | None = None
        self._doubtful = False
        self._refusal: Answer | None = None
        self.size = 0

    def begin(self, claim: Claim) -> None:
        """Make ready for an object. Where it cannot be kept its bytes are dropped and `finish` says why."""
        self._claim = claim
        self._claim_bytes = pack_claim(claim)
        self._crc = crc32(self._claim_bytes)
        self._fill = self.size = 0
        self._big = None
        self._doubtful = False
        self._refusal = None
        now = time.monotonic()
        if now < self._room_until:
            return
        try:
            self._check_room()
            self._room_until = now + _ROOM_FOR_S
        except (StorageError, OSError) as error:
            self._refusal = out_of_resources(error, claim.calling_ae)

    def space(self, wanted: int) -> memoryview:
        """Where the next bytes go: at least one byte, at most `wanted`."""
        if self._fill == len(self._buffer):
            self._spill()
        return self._buffer[self._fill : self._fill + wanted]

    def filled(self, count: int) -> None:
        """`count` bytes were put into the space that was given."""
        if self._big is None and self._refusal is None:
            self._crc = crc32(self._buffer[self._fill : self._fill + count], self._crc)
        self._fill += count
        self.size += count

    def finish(self) -> Answer:
        """Keep the object; the answer, success only when it lasts."""
        if self._refusal is not None:
            return self._refusal
        assert self._claim is not None
        try:
            return self._keep_large(self._claim) if self._big is not None else self._keep(self._claim)
        except (StorageError, OSError) as error:
            self.discard()
            return out_of_resources(error, self._claim.calling_ae)

    def discard(self) -> None:
        """Leave nothing of an object that did not come to its end."""
        if self._big is not None:
            self._big.discard()
            self._big = None
        self._fill = 0

    def store(self, data: bytes, claim: Claim) -> Answer:
        """A whole object at once."""
        self.begin(claim)
        rest = memoryview(data)
        while rest:
            space = self.space(len(rest))
            space[:] = rest[: len(space)]
            rest = rest[len(space) :]
            self.filled(len(space))
        return self.finish()

    def _keep(self, claim: Claim) -> Answer:
        data = self._buffer[: self._fill]
        if not self._is_as_claimed(data):
            return answer(self._ingest.receive(bytes(data), claim), claim)
        self._journal.commit(self._journal.append(self._claim_bytes, data, self._crc))
        return STORED

    def _keep_large(self, claim: Claim) -> Answer:
        assert self._big is not None
        self._big.write(self._buffer[: self._fill])
        self._big.finish()
        path, self._big = self._big.path, None
        if self._doubtful:
            receipt = self._ingest.receive(path, claim)
            path.unlink()
            return answer(receipt, claim)
        said = pack_claim(claim, path.name)
        try:
            self._journal.commit(self._journal.append(said, b"", checksum(said, b"")))
        except StorageError:
            path.unlink()
            raise
        return STORED

    def _spill(self) -> None:
        """The buffer is full: the object is a large one."""
        if self._refusal is None:
            assert self._claim is not None
            try:
                if self._big is None:
                    self._doubtful = not self._is_as_claimed(self._buffer)
                    self._big = self._big_objects.begin(self._claim)
                self._big.write(self._buffer)
            except (StorageError, OSError) as error:
                self._big = None
                self._refusal = out_of_resources(error, self._claim.calling_ae)
        self._fill = 0

    def _is_as_claimed(self, data: memoryview) -> bool:
        claim = self._claim
        assert claim is not None
        return (
            valid_uid(claim.sop_class_uid)
            and valid_uid(claim.sop_instance_uid)
            and named_instance(data, claim.transfer_syntax_uid) == (claim.sop_class_uid, claim.sop_instance_uid)
        )
