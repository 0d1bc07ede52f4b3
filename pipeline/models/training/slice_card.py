"""The card of a 2D model: what it is, what it saw, how well it did, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

from pipeline.evaluation.slice_table import slice_table
from pipeline.models.training.slice_study import StudyThreshold
from pipeline.report import RESEARCH_NOTICE
from pipeline.stages import SLICE_COUNT
from pipeline.study_findings import HIGHEST_SLICES

_TASKS = {
    "detection": "Does this slice show a tumour? Two classes: notumor, tumor.",
    "type": "Which tumour does this slice show? Four classes: glioma, meningioma, notumor, pituitary.",
}


def threshold_text(chosen: StudyThreshold) -> str:
    """How the study's threshold was chosen and what it gives, as a paragraph and a table of the card."""
    rows = "\n".join(
        f"{source:<20}{f'{found} of {tumours}' if tumours else '-':>10}{f'{passed} of {clear}':>24}"
        for source, (found, tumours, passed, clear) in chosen.by_source.items()
    )
    return f"""
A slice counts as tumour from 0.5 in these tables. A study counts as tumour from {chosen.threshold:.3f} on, the mean
of its {HIGHEST_SLICES} highest of up to {SLICE_COUNT} slices. Rule and threshold were chosen on these
validation studies, every source counting alike; parts of a stack away from its tumour stand in for studies without one:

```
validation           tumour found   no tumour, rightly
{rows}
```
"""


def probe_text(probe: Mapping[str, float]) -> str:
    """What a probe can tell of the source, as a paragraph of the card."""
    return f"""
Source shortcut: a linear probe reads the dataset of a validation slice from the features behind the answers with a mean
recall of {probe["features"]:.2f} (from the bare picture at 16 x 16: {probe["picture"]:.2f}; by chance:
{probe["chance"]:.2f}), patients apart. The features still tell the source: read the figures per dataset.
"""


def card_text(
    entry: Mapping[str, Any],
    figures: Mapping[str, Mapping[str, Any]],
    epoch: Mapping[str, Any],
    rounding: float,
    *,
    note: str = "",
    study: str = "",
) -> str:
    """Markdown. entry: the manifest's. figures: split to `summarise`'s dict. epoch: its row of the curves, with
    'epochs', the number of all, 'stages', how many at which size, and in a mix of weights 'share_of_start', the
    earlier version's share, or 'share_of_epoch', that epoch's beside the last one's. rounding: how far float16
    storage moves a probability at most. note: anything to add about the training. study: how the study's threshold
    was chosen.
    """
    architecture, side = entry["architecture"], entry["input_size"]
    tables = "\n\n".join(f"{split}:\n\n```\n{slice_table(one)}\n```" for split, one in figures.items())
    unseen = "" if "test" in figures else "\nThe test slices have not been read for this interim version.\n"
    works_at = int(architecture["works_at"])
    reduced = (
        ""
        if works_at == side
        else (
            f"\nThe first layers bring the slice down to {works_at} x {works_at} (training: {int(epoch['size'])}):\n"
            "the smallest lesions are lost."
        )
    )
    share = float(epoch.get("share_of_start", 0.0))
    mixed = f", {share:.0%} of it of the version the run began with (`slice_soup`)" if share else ""
    if of_epoch := float(epoch.get("share_of_epoch", 0.0)):
        mixed = f", {of_epoch:.0%} of it of that epoch and the rest of the last (`slice_soup`)"
    added = f"\n\n{fill(note, 118)}" if note else ""
    return f"""# {entry["name"]} {entry["version"]}

**{RESEARCH_NOTICE}**

{_TASKS[entry["task"]]}
Date: {entry["date"]}. File: `{entry["file"]}`.

## Network

{architecture["network"]} at {architecture["width"]:g} of its published width, {architecture["parameters"]:,}
parameters, trained from random weights. Beside the mean of the last stage, the answer reads the features where an
outline head of its own says the tumour is (attention pooling). Input: one grey slice of {side} x {side} in 0..1,
cropped to the head, in the radiological orientation (`pipeline/slices.py`). Output: {len(entry["classes"])}
probabilities, in the order {", ".join(entry["classes"])}.{reduced} Weights are stored as float16 and computed in
float32; this moved a probability by at most {rounding:.4f} on 32 validation slices. Calibrated on the validation
slices with temperature {entry["temperature"]:g}.

## Training

`python -m pipeline.models.training.slice_training` (one backbone, a detection head, a type head, and the tumour's
outline and the type at each place of it as auxiliary targets), then `slice_release`. Epochs: {epoch["stages"]} pixels;
epoch {epoch["epoch"]} of {epoch["epochs"]} was chosen by validation among those of the last size. What shipped is the
running average of the weights{mixed}.
CPU only, on part of one core. Curves: `ResNet50-slices-curves.csv` and `.png`;
what was tried and what it gave: docs/models/2d-networks.md.{added}

## Data

- Cheng et al. (PLoS ONE 2015, 10.1371/journal.pone.0140381; figshare 1512427): T1CE, 233 patients, glioma, meningioma,
  pituitary. CC BY 4.0 as stated by third parties.
- TCGA-LGG by Buda et al. (`kaggle_3m`; Comput Biol Med 2019): FLAIR or T1CE, glioma, and slices of the same patients
  well away from it as no tumour. CC BY-NC-SA 4.0, not verified.
- Br35H and the no-tumour part of Sartaj's collection: web images, patients unknown, licences not verified.
- For training only: slices of TCGA-LGG stacks of the training patients, of 11 BraTS cases (2013-2021), of one
  open_ms_data volume without tumour (CC BY) and of synthetic heads; tumours carried from one slice into another, and
  slices from which the tumour was taken out. BraTS is by registration; redistribution is not cleared.

Split by patient where known, else by look-alike group: no known patient of val or test is in train. BraTS also took
cases from TCGA under other names, so that an overlap of its 11 training cases with TCGA-LGG cannot be excluded.
Validation chose the epoch, the temperature and the study's threshold. The test slices were read once, after all three.

## Figures

{tables}
{unseen}{study}{probe_text(figures["val"]["source_probe"])}
Patient-grouped bootstrap for the intervals. `lgg` has tumour and no-tumour slices of the same patients and is the
honest test of detection; in `figshare` every slice has a tumour.

## Limits

- Meningioma and pituitary come from one source (T1CE), so the source says something about the type.
- 'No tumour' in TCGA means no visible abnormality in that slice, not a healthy brain. Other lesions (stroke, MS,
  abscess, metastasis) and children were not in the data, or hardly: the answer there is undefined.
- One slice is read at a time; the study's answer is an aggregate of slices (`pipeline/analysis.py`).
- A licence for use beyond research has not been established for all of the data above.
"""
