"""Every transfer syntax, classic and enhanced, from a C-STORE to voxels: stored as sent, decoded to the same.

DCMTK encodes all but JPEG 2000, which OpenJPEG does. No encoder of HTJ2K is at hand; its decoder is.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import JPEG2000, UID, EnhancedMRImageStorage, JPEG2000Lossless, MRImageStorage
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE
from scipy import ndimage

from dicom_node.inbound.conversion import load_series
from dicom_node.inbound.headers import read_header
from dicom_node.inbound.parsing import split_part10
from tests.listener import Listener, listening
from tests.mr_series import MrSeries, mr_series

COLUMNS, ROWS, SLICES = 48, 40, 4
#: Largest difference of a stored value that JPEG-LS may make, as asked of its encoder.
NEAR = 2


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """uid: as the file must say afterwards. command: DCMTK's, to which input and output are added. within: largest
    difference of stored values, 0 where not one bit may differ."""

    uid: str
    command: tuple[str, ...] = ()
    within: int = 0


SYNTAXES = {
    "implicit-little": Syntax(uid="1.2.840.10008.1.2", command=("dcmconv", "+ti")),
    "explicit-little": Syntax(uid="1.2.840.10008.1.2.1", command=("dcmconv", "+te")),
    "explicit-big": Syntax(uid="1.2.840.10008.1.2.2", command=("dcmconv", "+tb")),
    "deflated": Syntax(uid="1.2.840.10008.1.2.1.99", command=("dcmconv", "+td")),
    "jpeg-lossless": Syntax(uid="1.2.840.10008.1.2.4.57", command=("dcmcjpeg", "+el")),
    "jpeg-lossless-sv1": Syntax(uid="1.2.840.10008.1.2.4.70", command=("dcmcjpeg", "+e1")),
    "jpeg-ls": Syntax(uid="1.2.840.10008.1.2.4.80", command=("dcmcjpls", "+el")),
    "jpeg-ls-near": Syntax(
        uid="1.2.840.10008.1.2.4.81", command=("dcmcjpls", "+en", "+md", str(NEAR), "+un"), within=NEAR
    ),
    "jpeg-2000": Syntax(uid=JPEG2000Lossless),
    # At 60 dB the root of the mean square is a thousandth of the range; single values may be several times that off.
    "jpeg-2000-lossy": Syntax(uid=JPEG2000, within=24),
    "rle": Syntax(uid="1.2.840.10008.1.2.5", command=("dcmcrle",)),
}
KINDS = ("classic", "enhanced")
Sent = dict[tuple[str, str], list[Path]]


def voxels() -> NDArray[np.uint16]:
    """(slices, rows, columns) of 12 bits: smooth, with noise, all of the range used."""
    random = np.random.default_rng(4)
    smooth = ndimage.gaussian_filter(random.normal(0, 1, (SLICES, ROWS, COLUMNS)), (1, 4, 4))
    shares = (smooth - smooth.min()) / np.ptp(smooth)
    noisy = shares * 4095 + random.normal(0, 3, shares.shape)
    found: NDArray[np.uint16] = np.clip(np.rint(noisy), 0, 4095).astype("<u2")
    return found


def made(name: str, kind: str) -> MrSeries:
    """A series of its own UIDs with the same voxels as all others."""
    enhanced = kind == "enhanced"
    plain = mr_series(
        columns=COLUMNS, rows=ROWS, slices=SLICES, enhanced=enhanced, study="syntaxes", series=name + kind
    )
    for k, dataset in enumerate(plain.datasets):
        dataset.PixelData = (voxels()[::-1] if enhanced else voxels()[k]).tobytes()
        dataset["PixelData"].VR = "OW"
    return plain


def encoded(folder: Path, name: str, kind: str, tool: Callable[[str], str]) -> list[Path]:
    """The series' files in the syntax."""
    syntax = SYNTAXES[name]
    plain = made(name, kind)
    paths = plain.write(folder / "plain" / name / kind)
    target = folder / "sent" / name / kind
    target.mkdir(parents=True)
    for path in paths:
        if syntax.command:
            program, *options = syntax.command
            subprocess.run([tool(program), *options, str(path), str(target / path.name)], check=True, timeout=60)
            continue
        dataset = dcmread(path)
        options_of = {"j2k_psnr": [60]} if syntax.within else {}
        dataset.compress(UID(syntax.uid), generate_instance_uid=False, **options_of)
        dataset.save_as(target / path.name)
    return sorted(target.iterdir())


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, debian_tool: Callable[[str], str]) -> Sent:
    """Files by syntax and kind."""
    folder = tmp_path_factory.mktemp("syntaxes")
    return {(name, kind): encoded(folder, name, kind, debian_tool) for name in SYNTAXES for kind in KINDS}


@pytest.fixture(scope="module", params=["fast", "pynetdicom"])
def node(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sent: Sent,
) -> dict[str, Path]:
    """SOP Instance UID to stored file, after everything was sent to the node's listener over C-STORE."""
    folder = tmp_path_factory.mktemp(request.param)
    with listening(folder, fast=request.param == "fast") as listener:
        files = [path for paths in sent.values() for path in paths]
        _send(listener.address.port, files)
        return _stored(listener, len(files))


def _send(port: int, files: list[Path]) -> None:
    """C-STORE each file's data set byte for byte, each syntax in a presentation context of its own."""
    ae = AE()
    for sop_class in (MRImageStorage, EnhancedMRImageStorage):
        for syntax in SYNTAXES.values():
            ae.add_requested_context(sop_class, [syntax.uid])
    association = ae.associate("127.0.0.1", port, ae_title="BTNODE")
    connection = association.dul.socket.socket
    contexts = {
        (context.abstract_syntax, context.transfer_syntax[0]): context for context in association.accepted_contexts
    }
    for path in files:
        header = read_header(path)
        syntax, data_set = split_part10(path.read_bytes())
        request = C_STORE()
        request.MessageID, request.Priority = 1, 2
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
        request.DataSet = BytesIO(data_set)
        association._reactor_checkpoint.clear()
        association.dimse.send_msg(request, contexts[header.sop_class_uid, syntax].context_id)
        _, response = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        assert response.Status == 0x0000
    association.release()
    connection.close()


def _stored(listener: Listener, count: int) -> dict[str, Path]:
    """The files once all are filed: behind the answer where there is a journal."""
    deadline = time.monotonic() + 60
    while len(paths := list(listener.files.root.rglob("*.dcm"))) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(paths) == count
    return {read_header(path).sop_instance_uid: path for path in paths}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SYNTAXES)
def test_a_syntax_is_stored_as_sent_and_read_to_the_same_voxels(
    node: dict[str, Path], sent: Sent, name: str, kind: str
) -> None:
    syntax = SYNTAXES[name]
    stored = []
    for path in sent[name, kind]:
        stored.append(node[read_header(path).sop_instance_uid])
        as_sent, as_stored = split_part10(path.read_bytes()), split_part10(stored[-1].read_bytes())
        assert as_sent[0] == syntax.uid
        assert as_stored == as_sent
    series = load_series(stored)
    expected = voxels().transpose(2, 1, 0).astype(np.float32)
    difference = np.abs(series.volume.voxels - expected)
    assert difference.max() <= syntax.within
    if syntax.within:
        assert difference.any()
    np.testing.assert_allclose(series.volume.grid.affine, made(name, kind).grid.affine, atol=1e-5)
