"""A thousand kills and more: many studies in flight, and the node's processes killed at every step and at random.

python -m tests.acceptance.kill_thousand --kills 1000 --seed 1 [--database sqlite|postgresql] [--workers 3]
    [--log kills.jsonl] [--report FILE.md] [--for-s 170]

Goes in batches: new studies are sent and analysed while a receiver and its workers die again and again; then all are
left alive, what was not acknowledged is sent again (as a modality does), and files, rows and the PACS are checked.
With --log a campaign that was cut off goes on where it was; --for-s ends it after the batch in which that time is over.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.acceptance.kill_batches import Batch, BatchCampaign
from tests.acceptance.kill_thousand_report import report
from tests.unit.storage.postgres_server import empty_database, postgres_server


def _earlier(log: Path | None) -> list[Batch]:
    if log is None or not log.exists():
        return []
    return [Batch(**json.loads(line)) for line in log.read_text().splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--receive-path", choices=("fast", "pynetdicom"), default="fast")
    parser.add_argument("--log", type=Path, help="one line of JSON a batch; those in it are not run again")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--for-s", type=float, default=float("inf"))
    parser.add_argument("--keep", type=Path, help="a folder for what the campaign leaves behind; else it is removed")
    arguments = parser.parse_args()
    batches, began = _earlier(arguments.log), time.monotonic()
    done = sum(batch.total for batch in batches)
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = None
        if arguments.database == "postgresql" and done < arguments.kills:
            url = empty_database(stack.enter_context(postgres_server()), "node")
        # A campaign that goes on draws other moments than one that runs through.
        seed = arguments.seed + 1000 * len(batches)
        campaign = BatchCampaign(
            folder, seed, workers=arguments.workers, database_url=url, receive_path=arguments.receive_path
        )
        if done < arguments.kills:
            stack.enter_context(campaign)
        while done < arguments.kills and time.monotonic() - began < arguments.for_s:
            batches.append(campaign.batch(len(batches), most=arguments.kills - done))
            done += batches[-1].total
            print(f"{done} kills; {batches[-1].told()}", flush=True)
            if arguments.log is not None:
                with arguments.log.open("a") as log:
                    log.write(json.dumps(asdict(batches[-1])) + "\n")
            if not batches[-1].good:
                break
    text = report(batches, arguments.database, arguments.workers, arguments.seed)
    print("\n" + text)
    if arguments.report is not None:
        arguments.report.write_text(text)
    return 0 if all(batch.good for batch in batches) else 1


if __name__ == "__main__":
    sys.exit(main())
