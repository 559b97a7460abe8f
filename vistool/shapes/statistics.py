"""How hard a data set is: shares of tracks and videos, read off its annotations.

python -m vistool.shapes.statistics data/shapes-val/annotations.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Statistics:
    """Shares are between 0 and 1."""

    videos: int
    tracks: int
    fewest_objects: int  # in a video
    most_objects: int
    half_occluded: float  # tracks with over half of what is inside the frame hidden, on some frame
    returning: float  # tracks that are visible, then are not, then are again
    same_class: float  # videos that hold two objects of one class


def measure(document: Mapping[str, Any]) -> Statistics:
    """annotations as `dataset.annotate` makes them → Statistics."""
    tracks = document["annotations"]
    classes: dict[int, list[int]] = defaultdict(list)
    for track in tracks:
        classes[track["video_id"]].append(track["category_id"])
    counts = [len(members) for members in classes.values()]
    return Statistics(
        videos=len(document["videos"]),
        tracks=len(tracks),
        fewest_objects=min(counts),
        most_objects=max(counts),
        half_occluded=_share(max(_known(track["occlusions"])) > 0.5 for track in tracks),
        returning=_share(_returns([area is not None for area in track["areas"]]) for track in tracks),
        same_class=_share(max(Counter(members).values()) > 1 for members in classes.values()),
    )


def _returns(visible: Sequence[bool]) -> bool:
    changes = [now for now, before in zip(visible, [False, *visible], strict=False) if now and not before]
    return len(changes) > 1


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _share(facts: Iterable[bool]) -> float:
    rows = list(facts)
    return sum(rows) / len(rows)


def main() -> None:
    """Print the statistics of written data sets, one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path, nargs="+")
    for path in parser.parse_args().annotations:
        print(json.dumps({"data": str(path), **asdict(measure(json.loads(path.read_bytes())))}))


if __name__ == "__main__":
    main()
