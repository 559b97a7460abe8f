"""AP of a checkpoint: the way from annotations over the runner to the benchmark's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vistool.cli.measuring import ap_measure
from vistool.errors import InputError
from vistool.weights.checkpoint import Checkpoint, CheckpointInfo

CHECKPOINT = Checkpoint(CheckpointInfo("toy", "tiny", {}, (), (0, 0, 0), (1, 1, 1), 32, 0.3, "", ""), {})

pytestmark = pytest.mark.usefixtures("toy_method")


def test_a_model_without_mistakes_scores_one(squares: Path) -> None:
    numbers = ap_measure(squares, 0, method="toy", device="cpu")(CHECKPOINT)

    assert numbers["AP"] == numbers["AP50"] == pytest.approx(1.0)


def test_only_the_first_videos_are_measured(squares: Path, tmp_path: Path) -> None:
    """The pictures of the third video are not even looked for."""
    for name in ("1", "2"):
        (tmp_path / name).symlink_to(squares.parent / name)
    (tmp_path / "annotations.json").write_bytes(squares.read_bytes())

    numbers = ap_measure(tmp_path / "annotations.json", 2, method="toy", device="cpu")(CHECKPOINT)

    assert numbers["AP"] == pytest.approx(1.0)


def test_annotations_that_cannot_be_measured_on_are_refused_before_training(squares: Path, tmp_path: Path) -> None:
    document = json.loads(squares.read_text())
    del document["videos"][0]["width"]
    (tmp_path / "annotations.json").write_text(json.dumps(document))

    with pytest.raises(InputError, match="width"):
        ap_measure(tmp_path / "annotations.json", 0, method="toy", device="cpu")
