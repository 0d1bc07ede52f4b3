"""The model card of the segmenter, filled from the run and the figures; nothing in it is typed in by hand twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.volumes_table import render_volumes_table

_CARD = """# {name} {version}

Segments glioma on four co-registered MRI series into whole tumour (WT), tumour core (TC) and enhancing tumour (ET).
**For research only. Not a medical device; not clinically validated.** Released {date}.

## Network
A U-Net in nnU-Net's shape, written for this project (`pipeline/models/unet3d_network.py`): {stages} stages, channels
{channels}, instance normalisation, leaky ReLU, strided convolutions down, transposed convolutions up, deep supervision
in training, one sigmoid for each region. Weights in half precision ({size_mb:.1f} MB), loaded and run as float32.

| | |
| --- | --- |
| input | {inputs} x 128 x 128 x 128 in the order {order}, z-scored in the brain, 0 outside |
| grid | RAS+ axis-aligned, isotropic, {spacing_mm} mm; a larger brain by sliding window with Gaussian weights |
| output | 3 x 128 x 128 x 128 probabilities of WT, TC, ET |
| label map | regions nested, cut at 0.5, pieces of less than 0.05 mL dropped |

## Training
{steps} steps with patches of 64 x 64 x 64 voxels, {minutes:.0f} minutes on one shared CPU core. Dice and
cross-entropy over the regions that a case's labels tell; AdamW, averaged weights, seed 1.
Augmentation: flips, rotation, scale, contrast, brightness, gamma, blur, coarse slices, noise, missing channels, remains
of skull outside the brain.

    {command}

{note}![Curves](segmentation-curves.png)

## Data
{cases}

Cases with two or one series, or with a whole-tumour label only, train the regions that they can show. Held out for
validation, and used to choose the checkpoint and the spacing: {validation}.
There was no third, untouched set: the figures below are therefore somewhat kind.

Sources: BraTS 2017 to 2023 (The Cancer Imaging Archive and contributing hospitals; access by registration,
redistribution not cleared), BRATS 2013 (CC BY-NC-SA 3.0), the Medical Segmentation Decathlon's brain task (CC BY-SA
4.0, of BraTS origin), open_ms_data (CC BY), and the head phantoms of this project. The licences of these data do not
allow more than research with this model.

## Figures
Validation cases on their own 1 mm grid, through the same analysis that the node runs (registration, brain mask,
resampling, network, label map). HD95: 95th percentile of the surface distances.

```
{table}
```

## Where it falls short
{shortfalls}
"""

_ALWAYS = (
    "Trained on skull-stripped, co-registered 1 mm research images and phantoms; clinical series with thick slices,"
    " motion or other field strengths were only imitated by augmentation.",
    "Adults with glioma only: metastases, meningioma, children, and brains after surgery were not in the data.",
    "Probabilities are not calibrated, and no uncertainty is given.",
)


def render_card(
    entry: Mapping[str, Any],
    figures: Mapping[str, Any],
    *,
    steps: int,
    minutes: float,
    size_mb: float,
    cases: Mapping[str, int],
    command: str,
    note: str = "",
) -> str:
    """The card as Markdown.

    cases: how many training cases of each kind. command: what starts such a run. note: how this run differed from it.
    """
    plan = entry["architecture"]
    channels = [min(plan["base"] * 2**stage, plan["max_channels"]) for stage in range(plan["stages"])]
    return _CARD.format(
        name=entry["name"],
        version=entry["version"],
        date=entry["date"],
        stages=plan["stages"],
        channels=", ".join(map(str, channels)),
        inputs=plan["in_channels"],
        order=", ".join(entry["channels"]),
        spacing_mm=entry["spacing_mm"],
        size_mb=size_mb,
        steps=steps,
        minutes=minutes,
        command=command,
        note=f"{note}\n\n" if note else "",
        cases="\n".join(f"- {count} {kind}" for kind, count in cases.items()),
        validation=", ".join(row["case"] for row in figures["cases"]),
        table=render_volumes_table(figures),
        shortfalls="\n".join(f"- {line}" for line in (*_measured_shortfalls(figures), *_ALWAYS)),
    )


def _measured_shortfalls(figures: Mapping[str, Any]) -> Sequence[str]:
    """What the figures say is weak: regions under what BraTS entrants reach, and every case under one half."""
    lines = []
    usual = {"WT": 0.90, "TC": 0.85, "ET": 0.80}
    for region, level in usual.items():
        mean = figures["mean"][region]
        if mean["dice"] is not None and mean["dice"] < level:
            lines.append(
                f"{region}: mean Dice {mean['dice']:.2f} over {mean['cases']} cases; networks trained on the whole of"
                f" BraTS reach about {level:.2f}."
            )
        if mean["false_volume_ml"]:
            lines.append(f"{region}: {mean['false_volume_ml']:.2f} mL found, on average, where there is none.")
    for row in figures["cases"]:
        scores = row["regions"] or {}
        low = [f"{name} {score['dice']:.2f}" for name, score in scores.items() if (score["dice"] or 1.0) < 0.5]
        if low:
            lines.append(f"{row['case']}: {', '.join(low)}.")
    return lines
