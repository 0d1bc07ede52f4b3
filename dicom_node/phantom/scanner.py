"""The phantom's scanner: one head, measured with any sequence on any grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_node.phantom.acquisition import Sampling, Size, head_grid
from dicom_node.phantom.anatomy import Head
from dicom_node.phantom.contrast import PulseSequence, signal_table
from dicom_node.phantom.fields import generator
from dicom_node.phantom.imaging import Imperfections, receive, slice_through, texture_on
from dicom_node.phantom.tissues import Tissue, patient_tissues
from pipeline.volume import FloatArray, Grid


class Scanner:
    """Measures one head, drawn once, with any sequence on any grid."""

    def __init__(self, head: Head, seed: int, size: Size, flaws: Imperfections) -> None:
        self._seed, self._flaws = seed, flaws
        self._grid = head_grid(size)
        self._tissue = head.tissues_on(self._grid)
        self._texture = texture_on(self._grid, generator(head.seed, "texture"), flaws.texture)
        self._relaxation = patient_tissues(head.seed)

    def measure(
        self, sequence: PulseSequence, where: Sampling, name: str, motion: NDArray[np.float64]
    ) -> tuple[FloatArray, Grid]:
        """The image (white matter about 1) and its grid; `name` tells this series' noise from another's."""
        clean = self._tissue.image(signal_table(sequence, self._relaxation)) * self._texture
        grid = where.grid()
        seen = slice_through(clean, self._grid, grid, motion, where.thickness_mm)
        return receive(seen, grid, generator(self._seed, "receive", name), self._flaws), grid

    def diffusion_map(self, where: Sampling, motion: NDArray[np.float64]) -> FloatArray:
        """ADC relative to white matter's."""
        table = np.zeros(len(Tissue), np.float32)
        for tissue, values in self._relaxation.items():
            table[tissue] = values.adc / 0.72 if values.proton_density > 0.2 else 0
        return slice_through(self._tissue.image(table), self._grid, where.grid(), motion, where.thickness_mm)
