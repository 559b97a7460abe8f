"""How well identities are kept: IDF1, MOTA and switches of one video, in sums that add up over videos.

The CLEAR MOT metrics (Bernardin and Stiefelhagen, 2008) and the identity metrics (Ristani et al., ECCV 2016 workshops)
with the semantics of py-motmetrics. Knows distances between tracks; whether these are of boxes or of masks, which pairs
are too far apart and which predictions take part is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from operator import add

import numpy as np
from numpy.typing import NDArray

MOSTLY_TRACKED = 0.8  # of the frames of an object, at least
MOSTLY_LOST = 0.2  # of the frames of an object, less than

UNDEFINED = -1.0
_NOBODY = -1


@dataclass(frozen=True, slots=True)
class IdentityCounts:
    """Sums over object-frames, predicted frames and objects; whole numbers, unless a weighted sum made fractions."""

    objects: float  # frames of all annotated tracks
    predictions: float  # frames of all predicted tracks
    matches: float  # object-frames with a prediction, without the switches
    switches: float  # object-frames with another prediction than the one the object had before
    misses: float  # object-frames without a prediction
    false_positives: float  # predicted frames without an object
    idtp: float  # frames covered when each object has one prediction for the whole video, and the reverse
    idfp: float
    idfn: float
    fragmentations: float  # interruptions of objects that are found again later
    mostly_tracked: float  # objects
    partially_tracked: float  # objects
    mostly_lost: float  # objects
    distance_sum: float  # over matches and switches

    @classmethod
    def zero(cls) -> IdentityCounts:
        """The counts of no video, where a sum starts."""
        return cls.from_array(np.zeros(len(cls.__slots__)))

    @classmethod
    def from_array(cls, values: NDArray[np.float64]) -> IdentityCounts:
        """The inverse of `as_array`, also of weighted sums of its results; values (F,)."""
        return cls(*(int(value) if value.is_integer() else value for value in values.tolist()))

    def as_array(self) -> NDArray[np.float64]:
        """All fields in their order, (F,)."""
        return np.array(astuple(self), np.float64)

    def __add__(self, other: IdentityCounts) -> IdentityCounts:
        return IdentityCounts(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True)
class IdentityNumbers:
    """Fractions and counts. Without an annotated frame IDR, MOTA and recall are -1, without a predicted one IDP and
    precision, without either IDF1, and without a match MOTP; as MOTA has no lower bound, only `GT` tells its -1 apart.
    """

    IDF1: float
    IDP: float
    IDR: float
    MOTA: float  # at most 1
    MOTP: float  # mean distance of matched pairs: lower is better
    IDs: float  # switches
    FP: float
    FN: float
    GT: float  # annotated frames
    precision: float
    recall: float
    MT: float  # objects mostly tracked, partially tracked, mostly lost
    PT: float
    ML: float
    Frag: float


def count_identity(
    distances: NDArray[np.float64], objects: NDArray[np.bool_], hypotheses: NDArray[np.bool_]
) -> IdentityCounts:
    """The counts of one video of T frames with G annotated and D predicted tracks.

    distances (T, G, D): 1 - IoU, NaN where a pair is not allowed; objects (T, G) and hypotheses (T, D): whether the
    track is on the frame. What stands in rows and columns of absent tracks is not read. Among equal distances the order
    of the tracks may decide.
    """
    allowed = objects[:, :, None] & hypotheses[:, None] & ~np.isnan(distances)
    partners, switched = _associate(distances, objects, hypotheses, allowed)
    tracked = partners != _NOBODY  # (T, G)
    found, switches = int(tracked.sum()), int(switched.sum())
    wanted, predicted = int(objects.sum()), int(hypotheses.sum())
    idtp = _covered_frames(allowed.sum(axis=0))

    frames = objects.sum(axis=0)
    share = tracked.sum(axis=0)[frames > 0] / frames[frames > 0]
    mostly_tracked, mostly_lost = int((share >= MOSTLY_TRACKED).sum()), int((share < MOSTLY_LOST).sum())
    on_frame, rows = np.nonzero(tracked)
    return IdentityCounts(
        objects=wanted,
        predictions=predicted,
        matches=found - switches,
        switches=switches,
        misses=wanted - found,
        false_positives=predicted - found,
        idtp=idtp,
        idfp=predicted - idtp,
        idfn=wanted - idtp,
        fragmentations=sum(_interruptions(tracked[present, g]) for g, present in enumerate(objects.T)),
        mostly_tracked=mostly_tracked,
        partially_tracked=len(share) - mostly_tracked - mostly_lost,
        mostly_lost=mostly_lost,
        distance_sum=float(distances[on_frame, rows, partners[on_frame, rows]].sum()),
    )


def identity_numbers(counts: IdentityCounts) -> IdentityNumbers:
    """The metrics of one video, or of many when the counts were added first."""
    found = counts.matches + counts.switches
    errors = counts.misses + counts.switches + counts.false_positives
    return IdentityNumbers(
        IDF1=_ratio(2 * counts.idtp, counts.objects + counts.predictions),
        IDP=_ratio(counts.idtp, counts.idtp + counts.idfp),
        IDR=_ratio(counts.idtp, counts.idtp + counts.idfn),
        MOTA=1 - errors / counts.objects if counts.objects else UNDEFINED,
        MOTP=_ratio(counts.distance_sum, found),
        IDs=counts.switches,
        FP=counts.false_positives,
        FN=counts.misses,
        GT=counts.objects,
        precision=_ratio(found, found + counts.false_positives),
        recall=_ratio(found, counts.objects),
        MT=counts.mostly_tracked,
        PT=counts.partially_tracked,
        ML=counts.mostly_lost,
        Frag=counts.fragmentations,
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else UNDEFINED


def _associate(
    distances: NDArray[np.float64],
    objects: NDArray[np.bool_],
    hypotheses: NDArray[np.bool_],
    allowed: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The hypothesis of each object on each frame, or _NOBODY, and whether the object had another before; both (T, G).

    An object keeps its last hypothesis wherever the pair is allowed, however far away and long ago; only what is left
    over is assigned by distance.
    """
    partners = np.full(objects.shape, _NOBODY, np.int64)
    switched = np.zeros(objects.shape, np.bool_)
    last = np.full(objects.shape[1], _NOBODY, np.int64)
    for t in range(len(objects)):
        free = hypotheses[t].copy()
        for g, d in _remembered(last):  # two objects may remember one hypothesis: the first has it
            if free[d] and allowed[t, g, d]:
                partners[t, g] = d
                free[d] = False
        rows, columns = np.flatnonzero(objects[t] & (partners[t] == _NOBODY)), np.flatnonzero(free)
        some, others = _assign(distances[t][rows][:, columns], allowed[t][rows][:, columns])
        some, others = rows[some], columns[others]
        switched[t, some] = last[some] != _NOBODY  # of another: the same one was free and allowed, or is not now
        partners[t, some] = last[some] = others
    return partners, switched


def _remembered(last: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    return ((g, d) for g, d in enumerate(last.tolist()) if d != _NOBODY)


def _assign(distances: NDArray[np.float64], allowed: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of as many allowed pairs as there can be and, among such choices, of the least distance."""
    if not _leaves_a_choice(allowed):
        rows, columns = np.nonzero(allowed)
        return rows, columns
    from scipy.optimize import linear_sum_assignment

    worst = float(distances[allowed].max()) + 1
    forbidden = 2 * min(distances.shape) * worst + 1  # dearer than any set of allowed pairs
    rows, columns = linear_sum_assignment(np.where(allowed, distances, forbidden))
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def _leaves_a_choice(allowed: NDArray[np.bool_]) -> bool:
    """Whether some row or column has more than one candidate."""
    return bool((allowed.sum(axis=0) > 1).any() or (allowed.sum(axis=1) > 1).any())


def _covered_frames(shared: NDArray[np.int64]) -> int:
    """The most frames that a one-to-one choice of pairs covers; shared (G, D): frames where the pair is allowed.

    With n frames of the object and m of the hypothesis a pair makes n + m - 2 · shared errors, and the two alone n + m:
    fewest errors are most shared frames.
    """
    if not _leaves_a_choice(shared > 0):
        return int(shared.sum())
    from scipy.optimize import linear_sum_assignment

    return int(shared[linear_sum_assignment(shared, maximize=True)].sum())


def _interruptions(tracked: NDArray[np.bool_]) -> int:
    """Runs of misses between two matches; tracked: one value a frame of the object."""
    return int((np.diff(np.flatnonzero(tracked)) > 1).sum())
