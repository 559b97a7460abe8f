"""How alike two sights of objects are, by direction and by place, and which go together one to one.

Boxes are x, y, width and height in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Scalar = TypeVar("Scalar", bound=np.floating[Any])

REACH = 4.0  # object sizes from where it was expected at which the hope to find an object has fallen to 1/e


def directions(vectors: NDArray[Scalar]) -> NDArray[Scalar]:
    """Vectors (N, D) scaled to length 1; a zero vector stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), vectors.dtype)


def cosines(a: NDArray[Scalar], b: NDArray[Scalar]) -> NDArray[Scalar]:
    """Of each of a (N, D) with each of b (M, D), (N, M); 0 with a zero vector."""
    return np.asarray(directions(a) @ directions(b).T)


def nearness(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each of the boxes a (N, 4) and b (M, 4), (N, M) in (0, 1]: 1 where centres meet, 1/e `REACH` sizes apart.

    A size is the root of the larger area of the two, a pixel at least.
    """
    gaps = (a[:, :2] + a[:, 2:] / 2)[:, None] - (b[:, :2] + b[:, 2:] / 2)
    sizes = np.sqrt(np.maximum(np.maximum(a[:, 2:].prod(1)[:, None], b[:, 2:].prod(1)), 1))
    return np.asarray(np.exp(-np.hypot(gaps[..., 0], gaps[..., 1]) / (REACH * sizes)))


def one_to_one(gains: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Row and column of each pair of the assignment of the greatest sum, of pairs above 0; gains (N, M)."""
    pairs = zip(*(side.tolist() for side in linear_sum_assignment(gains, maximize=True)), strict=True)
    return ((row, column) for row, column in pairs if gains[row, column] > 0)
