"""Run-length masks: coding, area, boxes, overlap, votes, outlines. No dense mask where runs will do.

A mask is read down its columns, background first, as in COCO. Every Rle made here is canonical (no run of length zero
but perhaps the first), so two masks are equal exactly when their Rle are. Functions of two or more masks raise
ValueError when the sizes differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from .types import Rle

Polygons = list[list[float]]
"""One flat list x0, y0, x1, y1, … a part, in pixel-edge coordinates: pixel (x, y) covers [x, x + 1] × [y, y + 1]."""

_GROUP_BITS = 5  # payload of one character of the compressed string
_FIRST_CHARACTER = ord("0")
_MAX_GROUPS = 7  # 35 bits hold every 32-bit run length and every difference of two


def encode(mask: NDArray[np.bool_]) -> Rle:
    """mask bool (H, W) → Rle."""
    return encode_stack(mask[None])[0]


def encode_stack(masks: NDArray[np.bool_]) -> tuple[Rle, ...]:
    """masks bool (N, H, W) → N Rle."""
    columns_first = np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8)
    return tuple(_from_coco(row) for row in coco.encode(columns_first))


def encode_columns(columns: NDArray[np.bool_], corner_yx: tuple[int, int], size_hw: tuple[int, int]) -> Rle:
    """Rle of a mask that is empty outside a rectangle; columns bool (w, h), column by column, its first pixel given."""
    top, left = corner_yx
    width, height = columns.shape
    padded = np.zeros((width, height + 2), np.bool_)
    padded[:, 1:-1] = columns
    column, row = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), height + 1)
    return _from_changes((left + column) * size_hw[0] + top + row, size_hw)


def decode(rle: Rle) -> NDArray[np.bool_]:
    """Rle → bool (H, W), a new array in row order."""
    runs = _parse(rle.counts)
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(rle.size_hw[::-1])
    return np.ascontiguousarray(columns.T)


def empty(size_hw: tuple[int, int]) -> Rle:
    """The mask without a pixel."""
    return _from_changes(np.zeros(0, np.int64), size_hw)


def area(rle: Rle) -> int:
    """Number of foreground pixels."""
    return int(coco.area(_to_coco(rle)))


def box_xywh(rle: Rle) -> tuple[int, int, int, int] | None:
    """The tight box in whole pixels, None when the mask is empty."""
    x, y, width, height = (int(value) for value in coco.toBbox(_to_coco(rle)))
    return (x, y, width, height) if width and height else None


def intersection_matrix(a: Sequence[Rle], b: Sequence[Rle]) -> NDArray[np.int64]:
    """Pixels that each of `a` shares with each of `b`, (A, B)."""
    if not a or not b:
        return np.zeros((len(a), len(b)), np.int64)
    _common_size([*a, *b])
    rows, columns = [_to_coco(rle) for rle in a], [_to_coco(rle) for rle in b]
    # For a crowd column COCO divides the intersection by the area of the row alone.
    shares = np.asarray(coco.iou(rows, columns, [1] * len(b)))
    areas = np.asarray(coco.area(rows), np.float64)
    return np.rint(shares * areas[:, None]).astype(np.int64)


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
    return _from_changes(positions[np.diff(inside, prepend=False)], size_hw)


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
    return tuple(_parse(rle.counts).tolist())


def from_counts(counts: Sequence[int], size_hw: tuple[int, int]) -> Rle:
    """Rle of run lengths, background first; ValueError when they are negative or do not fill the picture."""
    try:
        return _from_runs(np.asarray(counts, dtype=np.int64), size_hw)
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
        return _from_runs(_parse(counts.encode() if isinstance(counts, str) else counts), (size[0], size[1]))
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
    return _from_changes(_changes(rle), rle.size_hw)


def _changes(rle: Rle) -> NDArray[np.int64]:
    """Column-order positions, rising, where the mask flips; the last may be the end of the picture."""
    return np.cumsum(_parse(rle.counts))[:-1]


def _from_runs(runs: NDArray[np.int64], size_hw: tuple[int, int]) -> Rle:
    pixels = size_hw[0] * size_hw[1]
    if (runs < 0).any() or (runs > pixels).any():
        wrong = int(runs.min() if (runs < 0).any() else runs.max())
        raise ValueError(f"a run length is negative or longer than the picture: {wrong}")
    if runs.sum() != pixels:
        raise ValueError(f"run lengths cover {int(runs.sum())} pixels, size {list(size_hw)} has {pixels}")
    return _from_changes(np.cumsum(runs)[:-1], size_hw)


def _from_changes(changes: NDArray[np.int64], size_hw: tuple[int, int]) -> Rle:
    """The inverse of `_changes`; positions that come twice cancel."""
    end = size_hw[0] * size_hw[1]
    positions, times = np.unique(changes, return_counts=True)
    kept = positions[(times % 2 == 1) & (positions < end)]
    bounds = np.zeros(len(kept) + 2, np.int64)
    bounds[1:-1], bounds[-1] = kept, end
    return Rle(size_hw, _spell(bounds[1:] - bounds[:-1]))


def _parse(text: bytes) -> NDArray[np.int64]:
    """Compressed string → run lengths. Each is a signed number in groups of 5 bits, least significant first, the sixth
    bit saying that more follow; from the fourth on it is the difference to the run two before."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if codes.size == 0 or codes.min() < 0 or codes.max() >= 64 or codes[-1] & 32:
        raise ValueError(f"not a compressed run-length string: {_shorten(text)}")
    last = np.flatnonzero(codes & 32 == 0)
    first = np.r_[0, last[:-1] + 1]
    if (last - first).max() >= _MAX_GROUPS:
        raise ValueError(f"a run length of the compressed string is too long: {_shorten(text)}")
    shift = _GROUP_BITS * (np.arange(codes.size) - np.repeat(first, last - first + 1))
    values = np.add.reduceat((codes & 31) << shift, first)
    values -= (codes[last] >> 4 & 1) << (shift[last] + _GROUP_BITS)  # sign of the last group
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _spell(runs: NDArray[np.int64]) -> bytes:
    """Run lengths → compressed string, the inverse of `_parse`."""
    values = runs.copy()
    values[3:] -= runs[1:-2]
    bits = int(np.abs(values).max()).bit_length() + 1  # and the sign
    shifts = _GROUP_BITS * np.arange(-(-bits // _GROUP_BITS))
    groups = values[:, None] >> shifts  # what is left before each group is written
    rest = groups >> _GROUP_BITS
    more = rest != np.where(groups & 16, -1, 0)
    used = np.ones_like(more)
    used[:, 1:] = np.logical_and.accumulate(more[:, :-1], axis=1)
    codes = (groups & 31) + 32 * more + _FIRST_CHARACTER
    return bytes(codes[used].astype(np.uint8))


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
