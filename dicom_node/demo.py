"""`make demo`: a node and a receiving PACS on loopback, a synthetic study in, SEG and SR back, and what was found."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydicom import dcmread

from dicom_node.config import load_config
from dicom_node.demo_pacs import DemoPacs, free_port
from dicom_node.errors import Permanent
from dicom_node.outbound.scu import DicomSender, echo
from dicom_node.outbound.sending import Destination, Verdict, outgoing_file
from dicom_node.phantom.study import PhantomStudy, make_study
from dicom_node.phantom.write_dicom import write_study
from dicom_node.store import Store, open_store
from pipeline.report import REGION_LABELS, Label, Region
from pipeline.volume import SeriesRole
from storage.lifecycle import ScanState
from storage.vocabulary import AccountStatus, Role

Say = Callable[[str], None]

_START_WITHIN_S = 60.0
_DONE_WITHIN_S = 240.0


class DemoFailed(Permanent):
    """The demonstration did not end as it should; the message says where it stopped and where the log is."""

    code = "demo-failed"


def run_demo(folder: Path, models: Path, say: Say) -> None:
    """Run it all in `folder`, which is made. Raises DemoFailed, OSError."""
    folder.mkdir(parents=True)
    with DemoPacs(folder / "pacs") as pacs:
        config_path = _write_config(folder, models, pacs)
        config = load_config(config_path)
        store = open_store(config)
        password = _add_demo_user(store)
        say("making a synthetic study (a head with a tumour, Siemens habits, clutter included) ...")
        study = make_study(7, "siemens", clutter=True)
        written = write_study(folder / "study", study)
        files = [path for series in written for path in series.paths]
        say(f"starting the node: AE {config.node.ae_title}, port {config.node.port} ...")
        with _node(config_path, folder / "node.log"):
            node = Destination(name="node", ae_title=config.node.ae_title, host=config.node.host, port=config.node.port)
            _wait_for_node(node, folder)
            started = time.monotonic()
            _send(node, files)
            say(f"sent {len(files)} objects in {len(written)} series by C-STORE in {time.monotonic() - started:.1f} s")
            scan_id = _wait_for_result(store, study.study_instance_uid, folder, say)
            received = pacs.wait_for({"SEG", "SR"}, 30.0)
            if received.keys() != {"SEG", "SR"}:
                raise DemoFailed(f"the PACS received {sorted(received) or 'nothing'}; see {folder / 'node.log'}")
            say(f"SEG and SR came back by C-STORE {time.monotonic() - started:.1f} s after the first image was sent\n")
            _tell(store, scan_id, received, true_volumes_ml(study), say)
    say("")
    say(f"received at the PACS   {received['SEG']}, {received['SR']}")
    say(f"run's files            {store.files.run_folder(_last_run(store, scan_id))}")
    say(f"node's log             {folder / 'node.log'}")
    say(
        f"dashboard              make serve CONFIG={config_path}, then http://127.0.0.1:{config.web.port}/scans/{scan_id}"
    )
    say(f"                       sign in as demo, password {password}")
    store.database.close()


def _write_config(folder: Path, models: Path, pacs: DemoPacs) -> Path:
    values = {
        "node": {"port": free_port(), "peers": []},
        "storage": {"root": str(folder.absolute() / "node")},
        "assembly": {"series_quiet_s": 3, "study_quiet_s": 20, "poll_s": 0.5},
        # All demonstrations share what was converted; none is to begin with a minute of converting.
        "models": {
            "folder": str(models.absolute()),
            "cache": str(folder.parent.absolute() / "model-cache"),
            "convert": False,
        },
        "web": {"port": free_port()},
        "delivery": {"poll_s": 0.5},
        "destinations": [{"name": "demo-pacs", "ae_title": pacs.ae_title, "host": "127.0.0.1", "port": pacs.port}],
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def _add_demo_user(store: Store) -> str:
    # Imported here: the web package is not needed to run the node's DICOM side.
    from web.passwords import PasswordHasher

    password = secrets.token_urlsafe(12)
    store.users.create(
        username="demo",
        email="demo@localhost",
        hashed_password=PasswordHasher().hash(password),
        role=Role.ADMIN,
        status=AccountStatus.ACTIVE,
    )
    return password


@contextmanager
def _node(config: Path, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _wait_for_node(node: Destination, folder: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN_S
    while not echo(node, "DEMOPACS").ok:
        if time.monotonic() > deadline:
            raise DemoFailed(
                f"the node did not answer C-ECHO within {_START_WITHIN_S:.0f} s; see {folder / 'node.log'}"
            )
        time.sleep(0.5)


def _send(node: Destination, files: list[Path]) -> None:
    objects = [outgoing_file(path) for path in files]
    outcomes = DicomSender(node, "DEMOPACS").send(objects)
    refused = [outcome for outcome in outcomes if outcome.verdict is not Verdict.SENT]
    if refused:
        raise DemoFailed(f"the node refused {len(refused)} of {len(objects)} objects: {refused[0].text}")


def _wait_for_result(store: Store, study_instance_uid: str, folder: Path, say: Say) -> str:
    deadline = time.monotonic() + _DONE_WITHIN_S
    told = ""
    while time.monotonic() < deadline:
        scan = store.scans.by_study(study_instance_uid)
        if scan is not None:
            now = f"  {scan.status}: {scan.pipeline_step or scan.waiting_for or ''}"
            if now.split("; ")[0][:60] != told:
                told = now.split("; ")[0][:60]
                say(told)
            if scan.status in (ScanState.FAILED, ScanState.INELIGIBLE):
                raise DemoFailed(f"the scan ended {scan.status}: {scan.error_text}; see {folder / 'node.log'}")
            if scan.status is ScanState.DELIVERED:
                return scan.id
        time.sleep(0.5)
    raise DemoFailed(f"no result within {_DONE_WITHIN_S:.0f} s; see {folder / 'node.log'}")


def _last_run(store: Store, scan_id: str) -> str:
    return store.scans.runs_of(scan_id)[-1].id


def true_volumes_ml(study: PhantomStudy) -> dict[str, float]:
    """Region or label name to the phantom's true volume on the T1CE grid."""
    reference = study.of_role(SeriesRole.T1CE)
    truth, voxel_ml = study.truth_of(reference), reference.volume.grid.voxel_volume_ml
    labels = {label.name: (label,) for label in Label} | {region.value: REGION_LABELS[region] for region in Region}
    return {name: float(np.isin(truth, list(values)).sum()) * voxel_ml for name, values in labels.items()}


def _tell(store: Store, scan_id: str, received: dict[str, Path], true_ml: dict[str, float], say: Say) -> None:
    told: dict[str, Any] = json.loads((store.files.run_folder(_last_run(store, scan_id)) / "report.json").read_bytes())
    for role, choice in sorted(told["series_roles"]["roles"].items()):
        say(f"{role:<22} '{choice['chosen']['description']}', score {choice['chosen']['score']}")
    say(f"{'left out':<22} {len(told['series_roles']['excluded'])} series, each with its reason in report.json")
    for part, title in (("detection", "detection"), ("tumour_type", "tumour type")):
        if not told[part]["skipped"]:
            say(f"{title:<22} {told[part]['value']}, probability {told[part]['probability']:.2f}")
    if not told["measurements"]["skipped"]:
        for m in (m for m in told["measurements"]["values"] if m["lesion"] is None):
            truth = f"   (true {true_ml[m['subject']]:.1f})" if m["quantity"] == "volume" else ""
            say(f"{m['subject'] + ' ' + m['quantity']:<34} {m['value']:8.1f} {m['unit']}{truth}")
    for part in ("detection", "tumour_type", "segmentation", "measurements"):
        if told[part]["skipped"]:
            say(f"{'skipped':<22} {told[part]['stage']}: {told[part]['reason']}")
    segments = [str(item.SegmentLabel) for item in dcmread(received["SEG"], stop_before_pixels=True).SegmentSequence]
    say(f"{'segments in the SEG':<22} {', '.join(segments)}")
    say(f"{'convert':<22} {told['convert_seconds']:.1f} s")
    for timing in told["timings"]:
        say(f"{timing['stage']:<22} {timing['seconds']:.1f} s, peak memory {timing['peak_memory_mb']:.0f} MB")
    say(str(told["notice"]))


def demo_folder(base: Path) -> Path:
    """A new folder for one demonstration."""
    return base / f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
