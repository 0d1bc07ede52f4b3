"""The tables of the segmenter's card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CALIBRATION_KEYS = ("temperature", "cross_entropy_before", "cross_entropy", "ece_before", "ece", "ece_brain")


def stacks_table(stacks: Mapping[str, Any]) -> str:
    """Dice of each patient of each split, and their means."""
    lines = ["| split | patient | series | Dice | found mL | told mL |", "| --- | --- | --- | --- | --- | --- |"]
    for split, scores in stacks.items():
        for row in scores["cases"]:
            dice = "-" if row["dice"] is None else f"{row['dice']:.3f}"
            lines.append(
                f"| {split} | {row['case']} | {' '.join(row['roles'])} | {dice} | {row['volume_ml']:.1f}"
                f" | {row['truth_volume_ml']:.1f} |"
            )
        lines.append(
            f"| **{split}** | {scores['patients']} patients | | **mean {scores['mean_dice']:.3f}**,"
            f" median {scores['median_dice']:.3f} | | |"
        )
    return "\n".join(lines)


def heads_table(heads: Mapping[str, Any]) -> str:
    """False volume of each head, and how many are clean."""
    lines = ["| head | training | series | found mL |", "| --- | --- | --- | --- |"]
    for row in heads["cases"]:
        found = row.get("not_scored") or f"{row['false_volume_ml']:.2f}"
        lines.append(f"| {row['case']} | {row['seen']} | {' '.join(row['roles'])} | {found} |")
    counts = [f"{seen}: {count['clean']} of {count['heads']} clean" for seen, count in heads["clean"].items()]
    return "\n".join([*lines, "", f"{'; '.join(counts)}."])


def calibration_table(calibration: Mapping[str, Any]) -> str:
    """Temperature, cross-entropy, ECE and Dice by threshold of each region."""
    cuts = list(next(iter(calibration.values()))["dice_at"])
    head = ["region", "temperature", "cross-entropy before", "after", "ECE before", "after", "whole brain"]
    head += [f"Dice at {cut}" for cut in cuts]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for region, values in calibration.items():
        dices = ["-" if values["dice_at"][cut] is None else f"{values['dice_at'][cut]:.3f}" for cut in cuts]
        numbers = [f"{values[key]:.3f}" for key in _CALIBRATION_KEYS]
        lines.append(f"| {' | '.join([region, *numbers, *dices])} |")
    return "\n".join(lines)
