"""A slice beside the same slice under its heat."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.attention_picture import attention_picture
from pipeline.errors import InvalidVolume


def test_cold_places_stay_grey_and_hot_ones_glow():
    pixels = np.full((4, 4), 0.5, np.float32)
    heat = np.zeros((4, 4), np.float32)
    heat[1, 2] = 1
    picture = attention_picture(pixels, heat)
    assert picture.shape == (4, 16, 3)
    left, right = picture[:, :4], picture[:, 12:]
    assert (left == 128).all()
    assert (right[heat == 0] == 128).all()
    red, green, blue = (int(channel) for channel in right[1, 2])
    assert red > green > blue
    assert not picture[:, 4:12].any()


def test_what_is_no_picture_is_refused():
    with pytest.raises(InvalidVolume, match="no picture"):
        attention_picture(np.zeros((4, 4), np.float32), np.zeros((2, 2), np.float32))
    with pytest.raises(InvalidVolume, match="NaN"):
        attention_picture(np.full((4, 4), np.nan, np.float32), np.zeros((4, 4), np.float32))
