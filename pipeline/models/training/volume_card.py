"""The model card of the segmenter, filled from the run and the figures; nothing in it is typed in by hand twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.volumes_table import render_volumes_table
from pipeline.label_map import SMALLEST_COMPONENT_ML
from pipeline.models.training.volume_card_tables import calibration_table, heads_table, stacks_table

_CARD = """# {name} {version}

Segments glioma on co-registered MRI series into whole tumour (WT), tumour core (TC) and enhancing tumour (ET).
**For research only. Not a medical device; not clinically validated.** Released {date}.

## Network
A U-Net in nnU-Net's shape, written for this project (`pipeline/models/unet3d_network.py`): {stages} stages, channels
{channels}, instance normalisation, leaky ReLU, strided convolutions down, transposed convolutions up, deep supervision
in training, one sigmoid for each region. Weights in half precision ({size_mb:.1f} MB), loaded and run as float32.

| | |
| --- | --- |
| input | {inputs} x 128 x 128 x 128 in the order {order}, z-scored in the brain, 0 outside; a missing series is 0 |
| needs | {needs}; the core and its enhancement can be told only with T1CE |
| grid | RAS+ axis-aligned, isotropic, {spacing_mm} mm; a larger brain by sliding window with Gaussian weights |
| output | 3 x 128 x 128 x 128 probabilities of WT, TC, ET, calibrated |
| label map | regions nested, cut at 0.5; {piece_rule} |

## Training
{steps} steps in all. Dice and cross-entropy over the regions that a case's labels tell; AdamW, averaged weights.
Augmentation: flips, rotation, scale, contrast, brightness, gamma, blur, coarse slices, noise, missing channels, remains
of skull outside the brain; one brain's tumour blended into another, enhancement taken away, fluid in the core.
The attempts are told in `docs/models/3d-segmentation.md`.

    {command}

{note}![Curves](segmentation-curves.png)

## Data
{cases}

Cases with two or one series, or with a whole-tumour label only, train the regions that they can show. Held out for
validation, and used to choose the checkpoint and to calibrate: {validation}.
There is no third, untouched set of cases with all regions: their figures below are somewhat kind. The stacks' test
split was read once, for this release.

Sources: BraTS 2017 to 2023 (The Cancer Imaging Archive and contributing hospitals; access by registration,
redistribution not cleared), BRATS 2013 (CC BY-NC-SA 3.0), the Medical Segmentation Decathlon's brain task (CC BY-SA
4.0, of BraTS origin), TCGA-LGG by way of kaggle_3m (CC BY-NC-SA 4.0, not verified), open_ms_data (CC BY), and the head
phantoms of this project. The licences of these data do not allow more than research with this model.

## Figures
Validation cases on their own 1 mm grid, through the same analysis that the node runs (registration, brain mask,
resampling, network, label map). HD95: 95th percentile of the surface distances.

```
{table}
```

### Low-grade glioma stacks
Whole tumour, skull on, thick slices whose spacing is a guess (pixels of 1.875 mm, slices that share 160 mm), through
the same analysis, also where a series is missing that the node would want.

{stacks}

### Heads without a tumour
Volume of what was found where nothing is. Mirrored: the healthy hemisphere of a validation case on both sides.

{heads}

### Calibration
One temperature for each region, of least cross-entropy on the validation cases, folded into the last layer. Voxels in
and around the tumour, told or found (five voxels); ECE in 15 bins; after: each case under the temperature fitted
without it. Dice is that of the calibrated probabilities on the network's own grid.

{calibration}

## Where it falls short
{shortfalls}
"""

_ALWAYS = (
    "Trained on skull-stripped, co-registered 1 mm research images, low-grade glioma stacks and phantoms; other"
    " clinical series with thick slices, motion or other field strengths were only imitated by augmentation.",
    "Adults with glioma only: metastases, meningioma, children, and brains after surgery were not in the data.",
    "Calibrated on four cases only.",
)
_PIECE_RULE = f"pieces of less than {SMALLEST_COMPONENT_ML} mL dropped"
#: The figures that were aimed at, by region of the validation cases.
_AIMS = {"WT": 0.88, "TC": 0.80, "ET": 0.75}
_STACK_AIM = 0.80
_CLEAN_AIM = 0.95


def render_card(
    entry: Mapping[str, Any], figures: Mapping[str, Any], state: Mapping[str, Any], *, size_mb: float, note: str = ""
) -> str:
    """The card as Markdown.

    figures: 'volumes', 'stacks', 'heads' and 'calibration', as the release measured them. state: the checkpoint, with
    its steps, the count of training cases of each kind and the command that starts such a run. note: how it differed.
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
        needs=", ".join(entry.get("needs", entry["channels"])),
        spacing_mm=entry["spacing_mm"],
        piece_rule=_PIECE_RULE,
        size_mb=size_mb,
        steps=state["step"],
        command=state["command"],
        note=f"{note}\n\n" if note else "",
        cases="\n".join(f"- {count} {kind}" for kind, count in state["cases"].items()),
        validation=", ".join(row["case"] for row in figures["volumes"]["cases"]),
        table=render_volumes_table(figures["volumes"]),
        stacks=stacks_table(figures["stacks"]),
        heads=heads_table(figures["heads"]),
        calibration=calibration_table(figures["calibration"]),
        shortfalls="\n".join(f"- {line}" for line in (*measured_shortfalls(figures), *_ALWAYS)),
    )


def measured_shortfalls(figures: Mapping[str, Any]) -> Sequence[str]:
    """What the figures say is weak: what was aimed at and not reached, and every case under one half."""
    lines = []
    for region, aim in _AIMS.items():
        mean = figures["volumes"]["mean"][region]
        if mean["dice"] is not None and mean["dice"] < aim:
            lines.append(f"{region}: mean Dice {mean['dice']:.3f} over {mean['cases']} cases, aimed at {aim:.2f}.")
        if mean["false_volume_ml"]:
            lines.append(f"{region}: {mean['false_volume_ml']:.2f} mL found, on average, where there is none.")
    for row in figures["volumes"]["cases"]:
        scores = row["regions"] or {}
        low = [f"{name} {score['dice']:.2f}" for name, score in scores.items() if (score["dice"] or 1.0) < 0.5]
        if low:
            lines.append(f"{row['case']}: {', '.join(low)}.")
    for split, scores in figures["stacks"].items():
        if scores["mean_dice"] < _STACK_AIM:
            mean_dice = scores["mean_dice"]
            lines.append(f"Stacks, {split}: mean WT Dice {mean_dice:.3f}, aimed at {_STACK_AIM:.2f}.")
    for region, values in figures["calibration"].items():
        if values["ece"] > values["ece_before"]:
            lines.append(
                f"{region}: the temperature did not lower the ECE of cases it was not fitted on"
                f" ({values['ece_before']:.3f} to {values['ece']:.3f}); it lowered their cross-entropy"
                f" ({values['cross_entropy_before']:.3f} to {values['cross_entropy']:.3f}),"
                " which punishes false certainty."
            )
    for seen, count in figures["heads"]["clean"].items():
        if count["heads"] and count["clean"] < _CLEAN_AIM * count["heads"]:
            lines.append(
                f"Heads without a tumour, {seen}: {count['clean']} of {count['heads']} clean, aimed at 95 %."
                " A tumour-free brain can get a false lesion."
            )
    return lines
