"""Composition of what keeps the store in order beside its work, built from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dicom_node.config import NodeConfig
from dicom_node.outward import Loop, removals_of
from dicom_node.scrub import Scrub
from dicom_node.store import Store
from storage.clock import Clock
from storage.scrubbing import ScrubRepository


def scrub_of(config: NodeConfig, store: Store, encode: Callable[[str], Mapping[str, bytes]], clock: Clock) -> Scrub:
    """What reads the files at rest. encode: a run's result objects by path, once more."""
    return Scrub(
        ScrubRepository(store.database, clock),
        removals_of(config, store, clock),
        store.requests,
        store.files,
        asks_pacs=config.query.destination is not None,
        encode=encode,
    )


def housekeeping_loops(
    config: NodeConfig, store: Store, encode: Callable[[str], Mapping[str, bytes]], clock: Clock
) -> list[Loop]:
    """The worker's loops that keep the store in order."""
    section, scrub = config.scrub, scrub_of(config, store, encode, clock)
    if section.every_days is None:
        return []
    days, every_s = section.every_days, section.poll_s
    return [("scrub", lambda: scrub.share(days, every_s), every_s)]
