"""Random masks for the properties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

Dense = NDArray[np.bool_]

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def masks_of(size_hw: tuple[int, int]) -> st.SearchStrategy[Dense]:
    """Noise, and rectangles, which are rarely drawn from noise."""
    height, width = size_hw

    def rectangle(top: int, left: int, bottom: int, right: int) -> Dense:
        mask = np.zeros(size_hw, np.bool_)
        mask[min(top, bottom) : max(top, bottom), min(left, right) : max(left, right)] = True
        return mask

    rows, columns = st.integers(0, height), st.integers(0, width)
    return arrays(np.bool_, size_hw) | st.builds(rectangle, rows, columns, rows, columns)


def stacks(min_size: int = 1, max_size: int = 5) -> st.SearchStrategy[Dense]:
    """bool (N, H, W): masks of one size."""
    return sizes.flatmap(lambda size: st.lists(masks_of(size), min_size=min_size, max_size=max_size).map(np.array))


masks = sizes.flatmap(masks_of)
