"""Run-length masks: coding, area, boxes, overlap, votes, outlines. No dense mask where runs will do.

A mask is read down its columns, background first, as in COCO. Every Rle made here is canonical (no run of length zero
but perhaps the first), so two masks are equal exactly when their Rle are. Functions of two or more masks raise
ValueError when the sizes differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from . import runs
from .runs import Runs
from .types import Rle

Polygons = list[list[float]]
"""One flat list x0, y0, x1, y1, … a part, in pixel-edge coordinates: pixel (x, y) covers [x, x + 1] × [y, y + 1]."""


def encode(mask: NDArray[np.bool_]) -> Rle:
    """mask bool (H, W) → Rle."""
    return encode_stack(mask[None])[0]


def encode_stack(masks: NDArray[np.bool_]) -> tuple[Rle, ...]:
    """masks bool (N, H, W) → N Rle."""
    columns_first = np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8)
    return tuple(_from_coco(row) for row in coco.encode(columns_first))


def encode_parts(
    parts: Sequence[tuple[NDArray[np.bool_], tuple[int, int]]], size_hw: tuple[int, int]
) -> tuple[Rle, ...]:
    """Masks of one size that are empty outside a rectangle each: bool (w, h), column by column, and its first pixel."""
    return _from_changes([_flips(columns, corner_yx, size_hw[0]) for columns, corner_yx in parts], size_hw)


def _flips(columns: NDArray[np.bool_], corner_yx: tuple[int, int], height: int) -> NDArray[np.int64]:
    """Column-order positions where the mask flips; one that fills two columns from edge to edge flips twice between."""
    top, left = corner_yx
    padded = np.zeros((columns.shape[0], columns.shape[1] + 2), np.bool_)
    padded[:, 1:-1] = columns
    column, row = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), columns.shape[1] + 1)
    return np.asarray((left + column) * height + top + row)


def decode(rle: Rle) -> NDArray[np.bool_]:
    """Rle → bool (H, W), a new array in row order."""
    lengths = runs.parse([rle.counts]).lengths
    columns = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(rle.size_hw[::-1])
    return np.ascontiguousarray(columns.T)


@lru_cache(maxsize=64)
def empty(size_hw: tuple[int, int]) -> Rle:
    """The mask without a pixel."""
    return _from_changes([np.zeros(0, np.int64)], size_hw)[0]


def boxes_xywh(rles: Sequence[Rle]) -> NDArray[np.int64]:
    """The tight boxes of several masks, (N, 4); zeros where a mask is empty."""
    return np.asarray(coco.toBbox([_to_coco(rle) for rle in rles])).astype(np.int64).reshape(-1, 4)


def box_intersection(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Area that boxes x, y, width, height, (…, 4) each, broadcast, have in common."""
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    return np.asarray(np.maximum(high - low, 0).prod(axis=-1))


def box_iou(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of boxes (…, 4), broadcast; 0 where both are empty."""
    shared = box_intersection(a, b)
    joint = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared
    return np.asarray(shared / np.where(joint > 0, joint, 1))


def area(rle: Rle) -> int:
    """Number of foreground pixels."""
    return int(coco.area(_to_coco(rle)))


def box_xywh(rle: Rle) -> tuple[int, int, int, int] | None:
    """The tight box in whole pixels, None when the mask is empty."""
    x, y, width, height = (int(value) for value in coco.toBbox(_to_coco(rle)))
    return (x, y, width, height) if width and height else None


def intersection_matrix(
    a: Sequence[Rle], b: Sequence[Rle], areas: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Pixels that each of `a` shares with each of `b`, (A, B); `areas` (A,) of `a` saves their counting."""
    if not a or not b:
        return np.zeros((len(a), len(b)), np.int64)
    _common_size([*a, *b])
    rows, columns = [_to_coco(rle) for rle in a], [_to_coco(rle) for rle in b]
    # For a crowd column COCO divides the intersection by the area of the row alone.
    shares = np.asarray(coco.iou(rows, columns, [1] * len(b)))
    pixels = np.asarray(coco.area(rows) if areas is None else areas, np.float64)
    return np.rint(shares * pixels[:, None]).astype(np.int64)


def iou_matrix(a: Sequence[Rle], b: Sequence[Rle]) -> NDArray[np.float64]:
    """Intersection over union of each of `a` with each of `b`, (A, B); 0 where both are empty."""
    if not a or not b:
        return np.zeros((len(a), len(b)))
    _common_size([*a, *b])
    return np.asarray(coco.iou([_to_coco(rle) for rle in a], [_to_coco(rle) for rle in b], [0] * len(b)))


def merge(rles: Sequence[Rle], *, how: Literal["union", "intersection"] = "union") -> Rle:
    """The pixels of any, or of all, of at least one mask."""
    _common_size(rles)
    return _from_coco(coco.merge([_to_coco(rle) for rle in rles], intersect=how == "intersection"))


def majority(rles: Sequence[Rle], weights: Sequence[float]) -> Rle:
    """The pixels that masks with at least half of the total weight contain; weights are above 0.

    A tie is foreground: of two equal votes the one that sees something wins. Exact for whole-number weights.
    """
    size_hw = _common_size(rles)
    if len(weights) != len(rles) or min(weights) <= 0:
        raise ValueError(f"{len(rles)} masks need as many weights above 0: {list(weights)}")
    if len(set(rles)) == 1:
        return rles[0]
    heaviest = max(weights)
    if 2 * heaviest > sum(weights):  # it decides every pixel alone
        return rles[list(weights).index(heaviest)]
    changes = [_changes(rle) for rle in rles]
    steps = [np.resize([weight, -weight], len(at)) for at, weight in zip(changes, weights, strict=True)]
    positions, event = np.unique(np.concatenate(changes), return_inverse=True)
    votes = np.cumsum(np.bincount(event, np.concatenate(steps), minlength=len(positions)))
    inside = 2 * votes >= sum(weights)
    return _from_changes([positions[np.diff(inside, prepend=False)]], size_hw)[0]


def from_polygons(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int]) -> Rle:
    """The union of the parts, rasterised exactly as COCO does; ValueError for a part with fewer than three points."""
    for number, part in enumerate(polygons):
        if len(part) < 6 or len(part) % 2:
            raise ValueError(f"polygon {number} has {len(part)} numbers, expected an even count of at least 6")
    if not polygons:
        return empty(size_hw)
    parts = coco.frPyObjects([[float(value) for value in part] for part in polygons], *size_hw)
    return _canonical(_from_coco(coco.merge(parts)))


def to_polygons(rle: Rle) -> Polygons:
    """Outlines along the pixel edges, clockwise, one for each 4-connected component; holes are filled.

    Without holes, `from_polygons` gives the same mask back.
    """
    edges = _boundary_edges(decode(rle))
    polygons = []
    while edges:
        outline = _trace(edges)
        if _encloses_foreground(outline):
            polygons.append([float(coordinate) for corner in outline for coordinate in corner])
    return polygons


def to_counts(rle: Rle) -> tuple[int, ...]:
    """Run lengths, background first: the uncompressed spelling."""
    return tuple(runs.parse([rle.counts]).lengths.tolist())


def from_counts(counts: Sequence[int], size_hw: tuple[int, int]) -> Rle:
    """Rle of run lengths, background first; ValueError when they are negative or do not fill the picture."""
    try:
        return _from_runs(runs.from_lists([counts]), size_hw)
    except OverflowError as error:
        raise ValueError(f"a run length is longer than any picture: {max(counts, key=abs)}") from error


def to_json(rle: Rle) -> dict[str, Any]:
    """{"size": [h, w], "counts": compressed string}."""
    return {"size": list(rle.size_hw), "counts": rle.counts.decode("ascii")}


def from_json(obj: object, size_hw: tuple[int, int] | None = None) -> Rle:
    """Rle of a JSON mask: compressed string, list of run lengths, or, where `size_hw` is known, list of polygons.

    ValueError says what is wrong; a size other than `size_hw` is wrong too.
    """
    if isinstance(obj, list):
        if size_hw is None:
            raise ValueError("a mask of polygons needs the size of the video")
        for part in obj:
            if not isinstance(part, list) or not all(type(value) in (int, float) for value in part):
                raise ValueError(f"a polygon is not a flat list of numbers: {_shorten(part)}")
        return from_polygons(obj, size_hw)
    if not isinstance(obj, dict) or not {"size", "counts"} <= obj.keys():
        raise ValueError(f"expected an object with `size` and `counts`, got {_shorten(obj)}")
    size, counts = obj["size"], obj["counts"]
    if not _are_counts(size) or len(size) != 2 or min(size) < 0:
        raise ValueError(f"`size` is not [height, width]: {_shorten(size)}")
    if size_hw is not None and tuple(size) != tuple(size_hw):
        raise ValueError(f"`size` is {list(size)}, expected {list(size_hw)}")
    if isinstance(counts, str | bytes):
        return _from_runs(runs.parse([counts.encode() if isinstance(counts, str) else counts]), (size[0], size[1]))
    if _are_counts(counts):
        return from_counts(counts, (size[0], size[1]))
    raise ValueError(f"`counts` is neither a string nor a list of whole numbers: {_shorten(counts)}")


def _are_counts(obj: object) -> bool:
    return isinstance(obj, list | tuple) and all(type(value) is int for value in obj)


def _shorten(obj: object) -> str:
    text = repr(obj)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _to_coco(rle: Rle) -> dict[str, object]:
    return {"size": list(rle.size_hw), "counts": rle.counts}


def _from_coco(obj: dict[str, Any]) -> Rle:
    height, width = obj["size"]
    return Rle((int(height), int(width)), obj["counts"])


def _common_size(rles: Sequence[Rle]) -> tuple[int, int]:
    sizes = sorted({rle.size_hw for rle in rles})
    if len(sizes) != 1:
        raise ValueError(f"masks must have one size, got {sizes}")
    return sizes[0]


def _canonical(rle: Rle) -> Rle:
    return _from_changes([_changes(rle)], rle.size_hw)[0]


def _changes(rle: Rle) -> NDArray[np.int64]:
    """Column-order positions, rising, where the mask flips; the last may be the end of the picture."""
    return np.cumsum(runs.parse([rle.counts]).lengths)[:-1]


def _from_runs(read: Runs, size_hw: tuple[int, int]) -> Rle:
    lengths, pixels = read.lengths, size_hw[0] * size_hw[1]
    if (lengths < 0).any() or (lengths > pixels).any():
        wrong = int(lengths.min() if (lengths < 0).any() else lengths.max())
        raise ValueError(f"a run length is negative or longer than the picture: {wrong}")
    if lengths.sum() != pixels:
        raise ValueError(f"run lengths cover {int(lengths.sum())} pixels, size {list(size_hw)} has {pixels}")
    return _from_changes([np.cumsum(lengths)[:-1]], size_hw)[0]


def _from_changes(changes: Sequence[NDArray[np.int64]], size_hw: tuple[int, int]) -> tuple[Rle, ...]:
    """The inverse of `_changes`, for several masks."""
    return tuple(Rle(size_hw, text) for text in runs.spell(runs.from_changes(changes, size_hw[0] * size_hw[1])))


_Edge = tuple[int, int, int]  # x, y of the start, direction
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: one right turn after the other


def _boundary_edges(mask: NDArray[np.bool_]) -> dict[_Edge, None]:
    """Unit edges between foreground and background, foreground on the right hand; a set in row order."""
    inside = np.pad(mask, 1)
    outside_of = {  # direction → background beyond the edge, and where on the pixel the edge starts
        0: (~inside[:-2, 1:-1], (0, 0)),
        1: (~inside[1:-1, 2:], (1, 0)),
        2: (~inside[2:, 1:-1], (1, 1)),
        3: (~inside[1:-1, :-2], (0, 1)),
    }
    edges: dict[_Edge, None] = {}
    for direction, (outside, (dx, dy)) in outside_of.items():
        rows, columns = np.nonzero(mask & outside)
        starts = zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True)
        edges.update(((x, y, direction), None) for x, y in starts)
    return edges


def _trace(edges: dict[_Edge, None]) -> list[tuple[int, int]]:
    """Follow and remove one closed outline; its corners."""
    start = edge = next(iter(edges))
    corners = []
    while True:
        del edges[edge]
        x, y, direction = edge
        x, y = x + _STEPS[direction][0], y + _STEPS[direction][1]
        # Right turns first: where two pixels touch by a corner only, the outline stays with its own.
        turns = ((x, y, (direction + turn) % 4) for turn in (1, 0, 3))
        edge = next(candidate for candidate in turns if candidate in edges or candidate == start)
        if edge[2] != direction:
            corners.append((x, y))
        if edge == start:
            return corners


def _encloses_foreground(outline: list[tuple[int, int]]) -> bool:
    """True for an outer outline, False for the rim of a hole, which runs the other way."""
    x, y = np.array(outline).T
    return int(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) > 0
