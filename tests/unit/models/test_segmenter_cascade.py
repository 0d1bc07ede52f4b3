from __future__ import annotations

import numpy as np

from pipeline.models.protocols import Progress
from pipeline.models.segmenter_cascade import refined

SPACING = (1.0, 1.0, 1.0)


def test_only_what_the_coarse_look_found_is_read_finely() -> None:
    image = np.zeros((4, 120, 60, 60), np.float32)
    image[:, 14:26, 20:32, 20:32] = 1.0
    image[:, 90:98, 20:32, 20:32] = 1.0
    seen: list[tuple[int, ...]] = []

    def read(part: np.ndarray, progress: Progress) -> np.ndarray:
        seen.append(part.shape[1:])
        progress(1.0)
        return part[:3] * (0.9 if len(seen) > 1 else 0.5)

    done: list[float] = []
    answer = refined(read, image, SPACING, 2.0, done.append)
    assert seen[0] == (60, 30, 30)
    assert len(seen) == 3
    assert all(max(shape) <= 48 for shape in seen[1:])
    np.testing.assert_allclose(answer[:, 20, 25, 25], 0.9, rtol=1e-6)
    np.testing.assert_allclose(answer[:, 94, 25, 25], 0.9, rtol=1e-6)
    assert not answer[:, 60].any()
    assert done[-1] == 1.0
    assert done == sorted(done)


def test_where_nothing_is_found_the_coarse_answer_stands() -> None:
    calls: list[int] = []

    def read(part: np.ndarray, progress: Progress) -> np.ndarray:
        calls.append(1)
        return np.full((3, *part.shape[1:]), 0.1, np.float32)

    answer = refined(read, np.ones((4, 20, 20, 20), np.float32), SPACING, 2.0, lambda share: None)
    assert len(calls) == 1
    np.testing.assert_allclose(answer[:, 5, 5, 5], 0.1, rtol=1e-6)


def test_pieces_whose_surroundings_touch_are_read_once() -> None:
    image = np.zeros((4, 80, 60, 60), np.float32)
    image[:, 20:26, 20:26, 20:26] = 1.0
    image[:, 40:46, 30:36, 30:36] = 1.0
    seen: list[tuple[int, ...]] = []

    def read(part: np.ndarray, progress: Progress) -> np.ndarray:
        seen.append(part.shape[1:])
        return part[:3]

    refined(read, image, SPACING, 2.0, lambda share: None)
    assert len(seen) == 2
