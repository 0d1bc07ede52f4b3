"""The kinds of value a manifest entry holds, each read from JSON into a checked one.

Every reader raises a ValueError (or what `float` and `int` raise) whose text names the key and what was wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.volume import CHANNEL_ORDER, SeriesRole

#: active answers; shadow runs and is recorded, never sent; ab answers its share of the studies.
MODES = ("active", "shadow", "ab")
ACQUISITIONS = ("2d", "3d")
#: What a file's last layer gives. probabilities: softmax, or one sigmoid for two classes (regions: sigmoids).
OUTPUTS = ("probabilities", "softmax", "sigmoid", "logits", "labels")
#: How a slice reaches a network: grey as the network takes it, or the network must take three equal channels.
CHANNEL_ORDERS = ("grey", "rgb")
LAYOUTS = ("NHWC", "NCHW")
#: What a segmenter is given: z-scored in the brain and 0 outside; as scanned, 0 outside the brain; the head as scanned.
INTENSITIES = ("brain-zscore", "brain", "head")
RUNTIMES = ("reference", "onnxruntime", "openvino")
PRECISIONS = ("f32", "bf16")


def choice(values: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    """The text under `key`, one of `allowed`; the first of them where the key is absent."""
    value = str(values.get(key, allowed[0]))
    if value not in allowed:
        raise ValueError(f"{key} is '{value}', not one of {', '.join(allowed)}")
    return value


def names(values: Mapping[str, Any], key: str, allowed: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The list of texts under `key`, or (); each one of `allowed` where that is given."""
    found = _listed(values, key)
    for value in found:
        if not isinstance(value, str) or (allowed and value not in allowed):
            raise ValueError(f"{key} holds {value!r}, not {' or '.join(allowed) or 'a name'}")
    return tuple(found)


def numbers(values: Mapping[str, Any], key: str) -> tuple[float, ...]:
    """The number, or list of numbers, under `key` as floats, or ()."""
    value = values.get(key)
    return (float(value),) if isinstance(value, int | float) else tuple(float(n) for n in _listed(values, key))


def roles(values: Mapping[str, Any], key: str) -> tuple[SeriesRole, ...]:
    """The list of roles under `key`, or ()."""
    return tuple(SeriesRole(role) for role in names(values, key))


def needs(values: Mapping[str, Any]) -> tuple[SeriesRole, ...]:
    """The roles under 'needs'; where the key is absent those among 'channels', and where that is absent all four."""
    if "needs" in values:
        found = roles(values, "needs")
    else:
        channels = names(values, "channels")
        found = tuple(role for role in CHANNEL_ORDER if role.value in channels) or CHANNEL_ORDER
    if not found:
        raise ValueError("needs is empty: a segmenter needs at least one series")
    return found


def sha256(values: Mapping[str, Any], key: str) -> str | None:
    """64 hex digits in lower case, or None where the key is absent or null."""
    value = values.get(key)
    if value is None:
        return None
    if re.fullmatch("[0-9a-f]{64}", str(value).lower()) is None:
        raise ValueError(f"{key} is not 64 hex digits")
    return str(value).lower()


def share(values: Mapping[str, Any]) -> float:
    """Share of the studies, 0 to 1; an entry of mode 'ab' has to name it, elsewhere it is 0."""
    if values.get("mode") == "ab" and "share" not in values:
        raise ValueError("its mode is 'ab', and share (of the studies, 0 to 1) is not given")
    value = float(values.get("share", 0.0))
    if not 0 <= value <= 1:
        raise ValueError(f"share is {value}, not between 0 and 1")
    return value


def text_map(values: Mapping[str, Any], key: str) -> dict[str, str]:
    """The mapping of text to text under `key`, or an empty one."""
    found = values.get(key, {})
    if not isinstance(found, Mapping) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{key} is no mapping of names to names")
    return dict(found)


def label_map(values: Mapping[str, Any]) -> dict[str, str]:
    """Output label, a whole number as text, to the name of a region or label; or an empty mapping."""
    found = text_map(values, "label_map")
    wrong = [label for label in found if re.fullmatch("0|[1-9][0-9]*", label) is None]
    if wrong:
        raise ValueError(f"label_map has the label '{wrong[0]}', which is no whole number")
    return found


def normalisation(values: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """'mean' and 'std': both absent, or lists of one length, every std above 0."""
    mean, std = numbers(values, "mean"), numbers(values, "std")
    if len(mean) != len(std):
        raise ValueError(f"mean has {len(mean)} values and std {len(std)}: give both, one for each channel")
    if not all(value > 0 for value in std):
        raise ValueError(f"std is {list(std)}, not above 0")
    return mean, std


def input_range(values: Mapping[str, Any]) -> tuple[float, float]:
    """Two numbers, low and high; 0 and 1 where the key is absent."""
    found = numbers(values, "input_range") or (0.0, 1.0)
    if len(found) != 2:
        raise ValueError(f"input_range has {len(found)} values, not the low and the high one")
    return found[0], found[1]


def orientation(values: Mapping[str, Any]) -> str:
    """Which way the three axes of a segmenter's arrays run, as three letters such as 'RAS'; '' where it is absent."""
    value = str(values.get("orientation", "")).upper()
    if value and (len(value) != 3 or any(len(set(value) & set(pair)) != 1 for pair in ("RL", "AP", "SI"))):
        raise ValueError(f"orientation is '{value}', not three letters, one each of R or L, A or P, S or I")
    return value


def overlap(values: Mapping[str, Any]) -> float | None:
    """Share of a window that neighbouring windows have in common, 0 to 0.9; None where the key is absent."""
    if values.get("overlap") is None:
        return None
    value = float(values["overlap"])
    if not 0 <= value <= 0.9:
        raise ValueError(f"overlap is {value}, not between 0 and 0.9")
    return value


def coarse_spacing(values: Mapping[str, Any]) -> float | None:
    """Voxel size of a first look at the whole brain in mm, coarser than spacing_mm; None where there is none."""
    if values.get("coarse_spacing_mm") is None:
        return None
    value = float(values["coarse_spacing_mm"])
    if not float(values.get("spacing_mm") or 0) < value <= 5:
        raise ValueError(f"coarse_spacing_mm is {value}, not above spacing_mm and up to 5 mm")
    return value


def calibration_error(values: Mapping[str, Any]) -> float | None:
    """Expected calibration error on held-out slices, from 'metrics' (test, task, overall, ece), or None."""
    found: Any = values.get("metrics", {})
    for key in ("test", str(values.get("task")), "overall", "ece"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if found is None:
        return None
    value = float(found)
    if not 0 <= value <= 1:
        raise ValueError(f"metrics has the calibration error {value}, not between 0 and 1")
    return value


def yes_or_no(values: Mapping[str, Any], key: str) -> bool:
    """The JSON true or false under `key`; false where it is absent."""
    value = values.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"{key} is {value!r}, not true or false")
    return value


def _listed(values: Mapping[str, Any], key: str) -> list[Any]:
    found = values.get(key, ())
    if isinstance(found, str | Mapping) or not isinstance(found, Iterable):
        raise ValueError(f"{key} is {found!r}, not a list")
    return list(found)
