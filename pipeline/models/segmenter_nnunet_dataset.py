"""Channels and labels of an nnU-Net dataset.json, matched with what the manifest declares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.case_files import ROLE_WORDS
from pipeline.errors import ModelUnusable
from pipeline.models.manifest import ManifestEntry
from pipeline.models.segmenter_outputs import Outputs
from pipeline.report import Region
from pipeline.volume import SeriesRole

_FIX = "Correct its entry in manifest.json"
_CHANNEL_WORDS: Mapping[str, SeriesRole] = {
    **ROLE_WORDS,
    "t1native": SeriesRole.T1,
    "t1post": SeriesRole.T1CE,
    "t1wce": SeriesRole.T1CE,
    "t1wgd": SeriesRole.T1CE,
    "t2flair": SeriesRole.FLAIR,
    "fla": SeriesRole.FLAIR,
}
#: Names of labels and regions, letters only, to ours.
_LABEL_WORDS: Mapping[str, str] = {
    "background": "background",
    "wholetumor": "WT",
    "wholetumour": "WT",
    "wt": "WT",
    "tumorcore": "TC",
    "tumourcore": "TC",
    "tc": "TC",
    "enhancingtumor": "ET",
    "enhancingtumour": "ET",
    "enhancing": "ET",
    "et": "ET",
    "edema": "ED",
    "oedema": "ED",
    "peritumoraledema": "ED",
    "ed": "ED",
    "snfh": "ED",
    "necrosis": "NCR",
    "necrotic": "NCR",
    "necroticcore": "NCR",
    "nonenhancing": "NCR",
    "nonenhancingtumor": "NCR",
    "nonenhancingtumorcore": "NCR",
    "ncr": "NCR",
    "net": "NCR",
    "ncrnet": "NCR",
    "netc": "NCR",
}


def dataset_channels(entry: ManifestEntry, dataset: Mapping[str, Any]) -> tuple[SeriesRole, ...]:
    """The role of each input channel: from `channel_names` where the names are known, else from the entry's channels.

    Raises:
        ModelUnusable: the two contradict each other, or neither tells.
    """
    named = dataset.get("channel_names", dataset.get("modality", {}))
    if not isinstance(named, Mapping) or not named:
        raise ModelUnusable(entry.name, "dataset.json names no channels", "Copy the results folder again, whole")
    names = [str(named[key]) for key in sorted(named, key=int)]
    known = [_CHANNEL_WORDS.get(_letters(name)) for name in names]
    if not entry.channels:
        if None in known or len(set(known)) < len(known):
            reason = f"the channels {names} of dataset.json do not tell which series they are"
            raise ModelUnusable(entry.name, reason, "Declare channels, in this order, in its entry in manifest.json")
        return tuple(role for role in known if role is not None)
    declared = tuple(SeriesRole(channel) for channel in entry.channels)
    clash = len(declared) != len(known) or any(
        role not in (None, own) for role, own in zip(known, declared, strict=False)
    )
    if clash:
        reason = f"its channels are declared as {list(entry.channels)}, dataset.json says {names}"
        raise ModelUnusable(entry.name, reason, _FIX)
    return declared


def dataset_outputs(entry: ManifestEntry, dataset: Mapping[str, Any]) -> Outputs:
    """Region heads (sigmoid) where a label of dataset.json is a list of several values, else labels (softmax).

    Raises:
        ModelUnusable: names that are neither known nor declared (`regions` or `label_map`), or contradict what is.
    """
    labels = {name: value for name, value in dict(dataset.get("labels", {})).items() if name != "ignore"}
    if not labels or any(not _label_values(value) for value in labels.values()):
        raise ModelUnusable(entry.name, "dataset.json names no labels", "Copy the results folder again, whole")
    try:
        if any(len(_label_values(value)) > 1 for value in labels.values()):
            return _region_heads(entry, labels)
        return _exclusive(entry, labels)
    except ValueError as error:
        raise ModelUnusable(entry.name, str(error), _FIX) from error


def _region_heads(entry: ManifestEntry, labels: Mapping[str, Any]) -> Outputs:
    heads = {name: set(_label_values(value)) for name, value in labels.items() if set(_label_values(value)) != {0}}
    known = [_LABEL_WORDS.get(_letters(name)) for name in heads]
    regions = _agreed(entry.regions, known, list(heads), "regions")
    outputs = Outputs.of_regions(regions, kind="logits", temperature=entry.temperature)
    members = dict(zip(outputs.regions, heads.values(), strict=True))
    if not members[Region.ET] <= members[Region.TC] <= members[Region.WT]:
        raise ValueError(f"its regions do not lie in each other as {regions} should: dataset.json has {dict(labels)}")
    return outputs


def _exclusive(entry: ManifestEntry, labels: Mapping[str, Any]) -> Outputs:
    by_value = sorted((_label_values(value)[0], name) for name, value in labels.items())
    names = [name for _, name in by_value]
    declared = [entry.label_map.get(str(value), "background" if value == 0 else "") for value, _ in by_value]
    known = [_LABEL_WORDS.get(_letters(name)) for name in names]
    agreed = _agreed(declared if entry.label_map else (), known, names, "label_map")
    numbered = {str(value): name for (value, _), name in zip(by_value, agreed, strict=True)}
    return Outputs.of_labels(numbered, kind="logits", temperature=entry.temperature)


def _agreed(declared: Sequence[str], known: Sequence[str | None], names: Sequence[str], key: str) -> list[str]:
    if not declared:
        if None in known:
            raise ValueError(f"the labels {list(names)} of dataset.json are not all known; declare {key}")
        return [name for name in known if name is not None]
    if len(declared) != len(known) or any(name not in (None, own) for name, own in zip(known, declared, strict=False)):
        raise ValueError(f"its {key} are declared as {list(declared)}, dataset.json says {list(names)}")
    return list(declared)


def _label_values(value: Any) -> list[int]:
    values = value if isinstance(value, list | tuple) else [value]
    return [int(number) for number in values if isinstance(number, int) and not isinstance(number, bool)]


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
