from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from pipeline.models.segmenter_axes import Axes, rescaled


@pytest.mark.parametrize("letters", ["RAS", "LPS", "SPL", "SAR", "IAL", "ASR"])
def test_axes_are_turned_as_nibabel_turns_them_and_back(letters: str) -> None:
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(letters))
    expected = np.stack([nib.orientations.apply_orientation(channel, turn) for channel in array])
    axes = Axes.from_letters(letters)
    np.testing.assert_array_equal(axes.to_network(array), expected)
    np.testing.assert_array_equal(axes.to_ras(expected), array)


def test_a_transposition_comes_on_top() -> None:
    array = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    axes = Axes.from_letters("SPL")
    turned = axes.transposed((2, 0, 1))
    np.testing.assert_array_equal(turned.to_network(array), axes.to_network(array).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(turned.to_ras(turned.to_network(array)), array)


def test_another_voxel_size_keeps_the_box_and_the_values() -> None:
    ramp = np.broadcast_to(np.arange(12, dtype=np.float32)[None, :, None, None], (1, 12, 8, 6)).copy()
    coarse = rescaled(ramp, (1.0, 1.0, 1.0), (3.0, 2.0, 1.0))
    assert coarse.shape == (1, 4, 4, 6)
    np.testing.assert_allclose(coarse[0, :, 1, 2], [1, 4, 7, 10], atol=1e-5)
    back = rescaled(coarse, (3.0, 2.0, 1.0), (1.0, 1.0, 1.0), (12, 8, 6))
    np.testing.assert_allclose(back[0, 1:11, 3, 2], np.arange(1, 11), atol=1e-5)
