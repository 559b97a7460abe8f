"""Tubes → what `vistool eval` counts, video by video, so that any choice of the videos can be summed up later.

Knows which predictions take part in what: AP ranks them all; identities and HOTA look at those above a score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .ap_numbers import UNDEFINED, ApTable, ap_table, gathered
from .attributes import ATTRIBUTES, track_attributes
from .error_analysis import ErrorReport, VideoTubes, analyse
from .hota import HotaCounts, count_hota, hota_numbers
from .identity import IdentityCounts, count_identity, identity_numbers
from .tubes import GroundTruth, Notes, Overlap, Tube, Video, overlap
from .ytvis_ap import AREA_RANGES, OCCLUSION_RANGES, Verdicts, best_first, judge

MIN_IOU = 0.5  # of a pair that identities may join

Figures = dict[str, dict[str, float]]
"""Metric → name → number."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is counted, and how."""

    metrics: Sequence[str] = ("ap", "identity")
    score_min: float = 0.0  # of predictions that identities and HOTA look at
    class_agnostic: bool = False  # all categories are one
    identity_on: Literal["box", "mask"] = "box"


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The counts of each of V videos, in the order of their ids. What was not asked for is None."""

    asked: Sequence[str]  # METRICS
    videos: Sequence[Video]
    ap: ApTable | None
    identity: Mapping[str | None, NDArray[np.float64]] | None  # each category, and None for all of them → (V, F)
    hota: Mapping[str | None, NDArray[np.float64]] | None  # the same
    attributes: Mapping[str, NDArray[np.bool_]] | None  # name → (V,)
    errors: ErrorReport | None
    lengths: NDArray[np.int64]  # (V,) frames
    gt_tracks: NDArray[np.int64]  # (V,)
    pred_tracks: NDArray[np.int64]  # (V,)

    def figures(self, weights: NDArray[np.float64] | None = None) -> Figures:
        """Numbers of AP, identities and HOTA; weights (V,): how often each video counts, by default once."""
        found: Figures = {}
        if self.ap and "ap" in self.asked:
            found["ap"] = self.ap.figures(weights)
        return found | self._tracked(None, weights)

    def per_category(self, weights: NDArray[np.float64] | None = None) -> dict[str, Figures]:
        """The same for each category alone."""
        ap = self.ap.per_category(weights) if self.ap and "ap" in self.asked else {}
        names = [name for name in (ap or self.identity or self.hota or {}) if name is not None]
        return {name: ({"ap": ap[name]} if ap else {}) | self._tracked(name, weights) for name in names}

    def _tracked(self, name: str | None, weights: NDArray[np.float64] | None) -> Figures:
        of_video = np.ones(len(self.videos)) if weights is None else weights
        found: Figures = {}
        if self.identity:
            found["identity"] = asdict(identity_numbers(IdentityCounts.from_array(of_video @ self.identity[name])))
        if self.hota:
            found["hota"] = asdict(hota_numbers(HotaCounts.from_array(of_video @ self.hota[name])))
        return found


def is_defined(name: str, values: Mapping[str, float]) -> bool:
    """Whether a number of one metric says something; MOTA can be -1 and mean it, where something is annotated."""
    return values[name] != UNDEFINED or (name == "MOTA" and values["GT"] > 0)


def score(truth: GroundTruth, found: Sequence[Tube], options: Options, notes: Notes) -> Scores:
    """Count everything that `options` ask for."""
    names = {_ANY: "object"} if options.class_agnostic else _distinct(truth.category_names)
    occlusion = any(tube.occlusion is not None for tube in truth.tubes)
    counter = _Counter(options, names, len(truth.videos), occlusion, notes)
    gts, dets = _by_video(truth.tubes), _by_video(found)
    for row, video in enumerate(truth.videos.values()):
        counter.add(row, video, dets.get(video.id, []), gts.get(video.id, []))
    return counter.scores([*truth.videos.values()])


class _Counter:
    """Goes through the videos once; what is held of each is counts."""

    def __init__(self, options: Options, names: Mapping[int, str], videos: int, occlusion: bool, notes: Notes) -> None:
        self._options, self._names, self._occlusion, self._notes = options, names, occlusion, notes
        asked = set(options.metrics)
        self._ap = "ap" in asked or "attributes" in asked
        self._errors: list[VideoTubes] | None = [] if "errors" in asked else None
        self._verdicts: dict[int, dict[int, Verdicts]] = {key: {} for key in names}
        sums = [None, *names]  # None: all categories together
        of_identity, of_hota = (len(kind.zero().as_array()) for kind in (IdentityCounts, HotaCounts))
        self._identity = {key: np.zeros((videos, of_identity)) for key in sums} if "identity" in asked else None
        self._hota = {key: np.zeros((videos, of_hota)) for key in sums} if "hota" in asked else None
        self._attributes = {name: np.zeros(videos, np.bool_) for name in ATTRIBUTES} if "attributes" in asked else None
        self._gt_tracks, self._pred_tracks, self._lengths = (np.zeros(videos, np.int64) for _ in range(3))

    def add(self, row: int, video: Video, dets: Sequence[Tube], gts: Sequence[Tube]) -> None:
        """The predicted and annotated tubes of the video in row `row`."""
        self._gt_tracks[row], self._pred_tracks[row] = len(gts), len(dets)
        self._lengths[row] = video.length or max((len(tube.masks) for tube in gts or dets), default=0)
        cells = self._cells(dets, gts)
        if self._identity is None and self._hota is None and self._errors is None:
            dets = [dets[d] for rows, _ in cells.values() for d in rows]  # the others count in no number
            cells = self._cells(dets, gts)
        own = self._categories(dets)[:, None] == self._categories(gts)  # (D, G)
        shared = overlap(dets, gts, None if self._errors is not None else own)
        self._note(shared, own, dets, gts)
        iou = shared.tube_iou()
        if self._attributes is not None:
            for name in _attributes_of(gts, shared):
                self._attributes[name][row] = True
        if self._ap:
            for category, (rows, columns) in cells.items():
                self._verdicts[category][row] = judge(
                    [dets[d] for d in rows],
                    [gts[g] for g in columns],
                    iou[rows][:, columns],
                    occlusion=self._occlusion,
                )
        self._track(row, shared, own, dets, gts)
        if self._errors is not None:
            self._errors.append(self._video_tubes(shared, iou, dets, gts))

    def _track(
        self, row: int, shared: Overlap, own: NDArray[np.bool_], dets: Sequence[Tube], gts: Sequence[Tube]
    ) -> None:
        """Identities and HOTA of one video, of all categories and of each."""
        if self._identity is None and self._hota is None:
            return
        kept = np.array([tube.score >= self._options.score_min for tube in dets], np.bool_)
        frames = slice(int(self._lengths[row]))  # masks beyond the end of the video are of no frame
        found, annotated = shared.found.seen[frames, kept], shared.annotated.seen[frames]
        on_masks = np.where(own, shared.frame_iou(), 0.0)[frames, kept]  # (T, D, G)
        on_boxes = self._options.identity_on == "box" and self._identity is not None
        near = np.where(own, shared.box_iou(), 0.0)[frames, kept] if on_boxes else on_masks
        distances = np.where(near >= MIN_IOU, 1 - near, np.nan).transpose(0, 2, 1)
        similarity = on_masks.transpose(0, 2, 1)
        det_categories, gt_categories = self._categories(dets)[kept], self._categories(gts)
        present = [None, *np.unique(np.r_[det_categories, gt_categories]).tolist()]
        for key in present:
            d = slice(None) if key is None else det_categories == key
            g = slice(None) if key is None else gt_categories == key
            some = annotated[:, g], found[:, d]
            if self._identity is not None:
                self._identity[key][row] = count_identity(distances[:, g][:, :, d], *some).as_array()
            if self._hota is not None and key is not None:
                counts = count_hota(similarity[:, g][:, :, d], *some).as_array()
                self._hota[key][row] = counts
                self._hota[None][row] += counts  # over all categories HOTA's counts are sums

    def _note(self, shared: Overlap, own: NDArray[np.bool_], dets: Sequence[Tube], gts: Sequence[Tube]) -> None:
        uneven = int((shared.uneven & own).sum())
        self._notes.add("frames where a predicted mask and an annotated one differ in size, not compared", uneven)
        lengths = np.array([len(tube.masks) for tube in dets])[:, None] != np.array([len(tube.masks) for tube in gts])
        self._notes.add(
            "predictions with more or fewer masks than the annotation", int((lengths & own).any(axis=1).sum())
        )

    def scores(self, videos: Sequence[Video]) -> Scores:
        names = [self._names[key] for key in self._names]
        ranges = len(AREA_RANGES) + (len(OCCLUSION_RANGES) if self._occlusion else 0)
        of_category = [gathered(self._verdicts[key], len(videos), ranges) for key in self._names]
        return Scores(
            self._options.metrics,
            videos,
            ap_table(names, of_category) if self._ap else None,
            self._named(self._identity),
            self._named(self._hota),
            self._attributes,
            analyse(self._errors) if self._errors is not None else None,
            self._lengths,
            self._gt_tracks,
            self._pred_tracks,
        )

    def _named(
        self, table: Mapping[int | None, NDArray[np.float64]] | None
    ) -> dict[str | None, NDArray[np.float64]] | None:
        if table is None:
            return None
        return {None if key is None else self._names[key]: rows for key, rows in table.items()}

    def _categories(self, tubes: Sequence[Tube]) -> NDArray[np.int64]:
        return np.array([self._category(tube) for tube in tubes], np.int64)

    def _category(self, tube: Tube) -> int:
        return _ANY if self._options.class_agnostic else tube.category_id

    def _cells(self, dets: Sequence[Tube], gts: Sequence[Tube]) -> dict[int, tuple[list[int], list[int]]]:
        """Category → positions of the predictions that AP ranks, best first, and of the annotations.

        Where all categories are one, equals stand in the order of their own categories, then of the file.
        """
        cells: dict[int, tuple[list[int], list[int]]] = {}
        for side, tubes in enumerate((dets, gts)):
            for position in _by_category(tubes):
                cells.setdefault(self._category(tubes[position]), ([], []))[side].append(position)
        return {
            key: ([rows[place] for place in best_first([dets[d] for d in rows])], columns)
            for key, (rows, columns) in cells.items()
        }

    def _video_tubes(
        self, shared: Overlap, iou: NDArray[np.float64], dets: Sequence[Tube], gts: Sequence[Tube]
    ) -> VideoTubes:
        d, g = _by_category(dets), _by_category(gts)
        return VideoTubes(
            scores=np.array([dets[n].score for n in d], np.float64),
            det_classes=self._categories([dets[n] for n in d]),
            gt_classes=self._categories([gts[n] for n in g]),
            crowd=np.array([gts[n].crowd for n in g], np.bool_),
            iou=iou[d][:, g],
            frame_iou=shared.frame_iou()[:, d][:, :, g],
            det_seen=shared.found.seen[:, d],
            gt_seen=shared.annotated.seen[:, g],
        )


def _by_category(tubes: Sequence[Tube]) -> list[int]:
    """Positions, by their own categories, then in the order of the file: how AP breaks ties where all are one."""
    return sorted(range(len(tubes)), key=lambda position: tubes[position].category_id)


_ANY = 0  # the category of everything, where all are one


def _distinct(names: Mapping[int, str]) -> dict[int, str]:
    """Names that come twice get their id behind them."""
    times = Counter(names.values())
    return {key: name if times[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def _by_video(tubes: Sequence[Tube]) -> dict[int, list[Tube]]:
    groups: dict[int, list[Tube]] = {}
    for tube in tubes:
        groups.setdefault(tube.video_id, []).append(tube)
    return groups


def _attributes_of(gts: Sequence[Tube], shared: Overlap) -> frozenset[str]:
    boxes, seen = shared.annotated.boxes.astype(np.float64), shared.annotated.seen
    tracks = ((g, tube.hidden) for g, tube in enumerate(gts) if not tube.crowd)
    return frozenset().union(*(track_attributes(boxes[:, g], seen[:, g], hidden) for g, hidden in tracks))
