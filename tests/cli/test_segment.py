"""`vistool segment` from the outside: what goes in, what comes out, what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import FRAMES, SIZE_HW, FakeMethods, Run, Vistool, info_of, write_pictures, write_weights

from vistool import video as video_package
from vistool.cli.options import resolve_device
from vistool.methods import METHODS
from vistool.video import Damage
from vistool.video.writing import VideoWriter
from vistool.weights import checkpoint, registry
from vistool.writers.reading import read_result


@pytest.fixture
def segment(vistool: Vistool, weights: Path) -> Vistool:
    """`vistool segment` by the method `fake`."""
    return lambda source, *more: vistool("segment", source, "--method", "fake", "--weights", weights, *more)


def fields(run: Run) -> dict[str, Any]:
    return json.loads(run.out)  # type: ignore[no-any-return]


class TestWhatComesOut:
    def test_a_video_becomes_its_tracks(self, segment: Vistool, video: Path, desk: Path) -> None:
        said = segment(video, "-o", desk / "tracks.json")

        result = read_result(desk / "tracks.json")
        assert (said.code, said.out) == (0, "")
        assert len(result.tracks) == 3
        assert list(result.times_s) == list(range(FRAMES))

    def test_every_output_asked_for_is_written(self, segment: Vistool, video: Path, desk: Path) -> None:
        names = ["tracks.json", "tracks.jsonl.gz", "overlay.mp4", "masks"]

        said = segment(video, *(part for name in names for part in ("-o", desk / name)))

        assert said.code == 0
        assert sorted(path.name for path in desk.iterdir()) == sorted(names)

    def test_the_result_says_how_it_was_made(self, segment: Vistool, video: Path, desk: Path, weights: Path) -> None:
        segment(video, "-o", desk / "tracks.json", "--window", "5", "--device", "cpu")

        info = json.loads((desk / "tracks.json").read_text())["info"]
        command = info.pop("command")
        assert info == {
            "tool": "vistool",
            "version": "0.1.0",
            "method": "fake",
            "weights": str(weights),
            "weights_sha256": checkpoint.sha256_of(weights),
            "mode": "offline",
            "window": 5,
            "conf": 0.25,
            "precision": "fp32",
            "device": "cpu",
            "licence": "Apache-2.0",
        }
        assert command.startswith(f"vistool segment {video}")

    def test_the_same_command_gives_the_same_bytes(self, segment: Vistool, video: Path, desk: Path) -> None:
        args = ("-o", desk / "tracks.json", "-o", desk / "tracks.jsonl.gz", "--overwrite")
        segment(video, *args)
        before = {path.name: path.read_bytes() for path in desk.iterdir()}

        segment(video, *args)

        assert {path.name: path.read_bytes() for path in desk.iterdir()} == before

    def test_json_lines_go_to_standard_output(self, segment: Vistool, video: Path) -> None:
        said = segment(video, "-o", "-")

        lines = [json.loads(line) for line in said.out.splitlines()]
        assert [line["type"] for line in lines] == ["header", *["frame"] * FRAMES, "end"]

    def test_the_summary_is_one_json_object(self, segment: Vistool, video: Path, desk: Path, weights: Path) -> None:
        said = fields(segment(video, "--json", "-o", desk / "tracks.json"))

        assert list(said) == [
            "frames", "seconds", "fps", "tracks", "peak_rss_mb", "outputs", "method", "weights", "sha256",
        ]  # fmt: skip
        assert (said["frames"], said["tracks"], said["method"]) == (FRAMES, 3, "fake")
        assert said["outputs"] == [str(desk / "tracks.json")]
        assert said["sha256"] == checkpoint.sha256_of(weights)
        assert said["peak_rss_mb"] > 10

    def test_numbers_alone_need_no_output(self, segment: Vistool, video: Path, desk: Path) -> None:
        assert fields(segment(video, "--json"))["outputs"] == []

    def test_people_read_the_threshold_and_the_summary(self, segment: Vistool, video: Path, desk: Path) -> None:
        said = segment(video, "-o", desk / "tracks.json").err

        assert "scores from 0.25" in said
        assert said.splitlines()[-1].startswith(f"{FRAMES} frames in ")
        assert said.splitlines()[-1].endswith(f"3 tracks: {desk / 'tracks.json'}")

    def test_quiet_says_nothing(self, segment: Vistool, video: Path, desk: Path) -> None:
        said = segment(video, "-q", "-o", desk / "tracks.json")

        assert (said.out, said.err) == ("", "")

    def test_verbose_says_what_was_chosen(self, segment: Vistool, video: Path, desk: Path, weights: Path) -> None:
        said = segment(video, "-v", "-o", desk / "tracks.json").err

        assert checkpoint.sha256_of(weights) in said
        assert f"{SIZE_HW[1]}x{SIZE_HW[0]}" in said

    def test_a_long_run_without_a_terminal_prints_lines(
        self, segment: Vistool, video: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vistool.cli.progress.FIRST_LINE_S", 0.0)
        monkeypatch.setattr("vistool.cli.progress.LINE_EVERY_S", 0.0)

        said = segment(video, "--json").err.splitlines()

        assert sum(f" of {FRAMES}, about " in line for line in said) == FRAMES


class TestWhatIsKept:
    def test_the_threshold_drops_tracks(self, segment: Vistool, video: Path) -> None:
        assert fields(segment(video, "--json", "--conf", "0.95"))["tracks"] == 0

    def test_classes_go_by_name_or_id(self, segment: Vistool, video: Path) -> None:
        said = fields(segment(video, "--json", "--classes", "SQUARE, 3"))

        assert said["tracks"] == 2

    def test_only_the_best_tracks_are_kept(self, segment: Vistool, video: Path) -> None:
        assert fields(segment(video, "--json", "--max-instances", "1"))["tracks"] == 1

    def test_the_benchmark_ranks_every_class_of_every_track(
        self, segment: Vistool, fake_methods: FakeMethods, video: Path
    ) -> None:
        said = fields(segment(video, "--json", "--protocol", "ytvis"))

        assert said["tracks"] == 9
        assert fake_methods.options[0].score_floor == 0.0

    def test_start_end_and_stride_keep_the_indices_of_the_source(
        self, segment: Vistool, video: Path, desk: Path
    ) -> None:
        segment(video, "--start", "2f", "--end", "9f", "--stride", "3", "-o", desk / "tracks.json")

        assert list(read_result(desk / "tracks.json").times_s) == [2, 5, 8]

    @pytest.mark.parametrize(("conf", "floor"), [("0.6", 0.2), ("0.03", 0.01), ("0", 0.0)])
    def test_the_model_keeps_candidates_from_a_third_of_the_threshold_on(
        self, segment: Vistool, fake_methods: FakeMethods, video: Path, conf: str, floor: float
    ) -> None:
        segment(video, "--json", "--conf", conf)

        assert fake_methods.options[0].score_floor == pytest.approx(floor)

    def test_the_model_is_run_as_asked(self, segment: Vistool, fake_methods: FakeMethods, video: Path) -> None:
        segment(video, "--json", "--size", "64", "--precision", "bf16", "--seed", "7", "--device", "cpu")

        options = fake_methods.options[0]
        assert (options.short_side, options.precision, options.seed, options.device) == (64, "bf16", 7, "cpu")

    def test_the_seed_decides_what_a_method_draws(
        self, segment: Vistool, fake_methods: FakeMethods, video: Path
    ) -> None:
        drawn: list[float] = []
        fake_methods.during = lambda: drawn.append(float(torch.rand(())))

        for seed in ("3", "3", "4"):
            segment(video, "--json", "--window", "0", "--seed", seed)

        assert drawn[0] == drawn[1] != drawn[2]


class TestMethodsAndModes:
    def test_an_online_method_goes_frame_by_frame(
        self, vistool: Vistool, fake_methods: FakeMethods, video: Path, tmp_path: Path
    ) -> None:
        weights = write_weights(tmp_path / "weights" / "online.safetensors", "fake-online")

        said = vistool("segment", video, "--method", "fake-online", "--weights", weights, "--json", "--tta")

        assert fields(said)["tracks"] == 3
        assert "frame by frame" in said.err
        assert fake_methods.options[0].tta

    def test_the_default_weights_are_those_of_the_method(
        self, vistool: Vistool, video: Path, bundled: registry.Entry
    ) -> None:
        assert fields(vistool("segment", video, "--method", "fake", "--json"))["weights"] == "fake-weights"

    def test_a_method_without_weights_of_its_own_asks_for_some(
        self, vistool: Vistool, video: Path, fake_methods: FakeMethods, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(METHODS, "fake", replace(METHODS["fake"], default_weights=None))

        said = vistool("segment", video, "--method", "fake", "--json")

        assert said.code == 5
        assert said.err.startswith("error: method has no weights yet: `fake`")
        assert "--weights" in said.err and said.out == ""

    def test_bundled_weights_are_warned_of_in_one_line(
        self, vistool: Vistool, video: Path, bundled: registry.Entry
    ) -> None:
        said = vistool("segment", video, "--method", "fake", "--json", "-q").err

        assert said.startswith("warning: `fake-weights` knows procedural shapes only; for natural video")
        assert said.count("\n") == 1

    def test_bundled_weights_are_known_by_any_name(
        self, segment: Vistool, video: Path, bundled: registry.Entry
    ) -> None:
        assert "procedural shapes only" in segment(video, "--json").err

    def test_other_weights_are_not_warned_of(self, segment: Vistool, video: Path) -> None:
        assert "warning" not in segment(video, "--json").err

    def test_a_small_window_brings_its_overlap_along(self, segment: Vistool, video: Path) -> None:
        assert "windows of 2 frames, 1 shared" in segment(video, "--json", "--window", "2").err

    def test_the_whole_video_may_be_the_window(self, segment: Vistool, video: Path) -> None:
        assert "the whole video at once" in segment(video, "--json", "--window", "0").err


@pytest.fixture
def bundled(weights: Path, monkeypatch: pytest.MonkeyPatch) -> registry.Entry:
    """`fake-weights`, as if it came with the package."""
    entry = registry.Entry(
        key="fake-weights",
        method="fake",
        preset="tiny",
        source="bundled",
        file=str(weights),
        sha256=checkpoint.sha256_of(weights),
        size=weights.stat().st_size,
        layout="vistool",
        licence="Apache-2.0",
        categories=("square", "bar", "tile"),
        published_ap={},
        measured_ap={},
        notes="",
        verified="",
    )
    monkeypatch.setattr(registry, "entries", lambda: {entry.key: entry})
    return entry


BAD_OPTIONS = {
    "unknown method": (("--method", "fakes"), "unknown method: `fakes`", "did you mean `fake`?"),
    "unknown format": (("--format", "ytvis-result"), "unknown format", "did you mean `ytvis-results`?"),
    "unknown class": (("--classes", "square,bra"), "unknown class: `bra`", "did you mean `bar`?"),
    "unknown class in capitals": (("--classes", "TYLE"), "unknown class: `TYLE`", "did you mean `tile`?"),
    "unknown device": (("--device", "gpu"), "unknown device: `gpu`", "one of: auto"),
    "missing device": (("--device", "cuda:99"), "device not available: `cuda:99`", "--device auto"),
    "mode of others": (("--mode", "online"), "method cannot run online: `fake`", "these can: fake-online"),
    "overlap as large as the window": (("--window", "4", "--overlap", "4"), "overlap must be smaller", "at most"),
    "overlap larger than the method's window": (("--overlap", "9"), "overlap must be smaller", "at most"),
    "augmentation that is not defined": (("--tta",), "--tta is not defined by this method", "leave it out"),
    "memory that is not there": (("--memory-frames", "4"), "--memory-frames has no say", "leave it out"),
    "threshold without a say": (("--conf", "0.3", "--protocol", "ytvis"), "--conf has no say", "leave one"),
    "quiet and verbose": (("-q", "-v"), "contradict", "leave one"),
    "wrong time": (("--start", "soon"), "--start is not a time: `soon`", "give seconds"),
    "standard output twice": (("-o", "-", "--json"), "both want standard output", "write the tracks to a file"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_options_that_cannot_be_are_refused_in_one_line(segment: Vistool, video: Path, desk: Path, name: str) -> None:
    args, message, hint = BAD_OPTIONS[name]

    said = segment(video, "-o", desk / "tracks.json", *args)

    assert (said.code, said.out) == (2, "")
    assert_one_line(said, message, hint)
    assert list(desk.iterdir()) == []


def assert_one_line(said: Run, message: str, hint: str) -> None:
    lines = said.err.splitlines()
    assert lines[-3].startswith("error: ")
    assert lines[-2] == ""
    assert lines[-1].startswith("hint: ")
    assert message in lines[-3]
    assert hint in lines[-1]
    assert "Traceback" not in said.err


def test_a_run_without_an_output_is_refused(segment: Vistool, video: Path) -> None:
    said = segment(video)

    assert said.code == 2
    assert_one_line(said, "no output", "-o tracks.json")


def test_windows_mean_nothing_to_an_online_method(vistool: Vistool, fake_methods: FakeMethods, video: Path) -> None:
    said = vistool("segment", video, "--method", "fake-online", "--json", "--window", "4")

    assert said.code == 2
    assert_one_line(said, "offline methods", "leave them out")


def test_a_device_is_never_replaced_by_another(
    segment: Vistool, fake_methods: FakeMethods, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    assert segment(video, "--json", "--device", "cuda").code == 2
    assert fake_methods.options == []


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")], ids=str
)
def test_auto_is_the_fastest_device_there_is(
    cuda: bool, mps: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    assert resolve_device("auto") == chosen


class TestBadVideos:
    def test_every_bad_video_is_one_line_and_leaves_nothing(
        self, segment: Vistool, desk: Path, bad_video: Path | str
    ) -> None:
        said = segment(bad_video, "-o", desk / "tracks.json", "-o", desk / "overlay.mp4")

        assert (said.code, said.out) == (4, "")
        assert_one_line(said, str(bad_video), "")
        assert list(desk.iterdir()) == []

    @pytest.fixture(
        params=["missing", "empty", "text", "truncated", "no images", "differing sizes", "camera", "address"]
    )
    def bad_video(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
        path = tmp_path / "bad.mp4"
        match request.param:
            case "empty":
                path.touch()
            case "text":
                path.write_text("This is no video.\n" * 50)
            case "truncated":
                whole = write_video(tmp_path / "whole.mp4").read_bytes()
                path.write_bytes(whole[: len(whole) // 2])
            case "no images":
                path.mkdir()
                (path / "notes.txt").write_text("nothing to see")
            case "differing sizes":
                write_pictures(path, 3)
                cv2.imwrite(str(path / "009.png"), np.zeros((20, 30, 3), np.uint8))
            case "camera":
                return "camera:0"
            case "address":
                return "rtsp://localhost:1/none"
        return path

    def test_a_part_that_holds_no_frame_is_refused(self, segment: Vistool, video: Path, desk: Path) -> None:
        said = segment(video, "-o", desk / "tracks.json", "--start", "500f")

        assert said.code == 4
        assert list(desk.iterdir()) == []

    def test_damage_is_told_after_the_outputs_are_written(
        self, segment: Vistool, video: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        damage = Damage(5, (2, 2, 7, 9, 11), ("no start code",) * 5)
        monkeypatch.setattr(video_package.SelectedFrames, "damage", property(lambda _: damage))

        said = segment(video, "-o", desk / "tracks.json", "--json")

        assert said.code == 0
        assert "warning: video is damaged" in said.err
        assert "(5 places skipped, at frames 2, 7, 9, …: no start code)" in said.err
        assert fields(said)["frames"] == FRAMES
        assert len(read_result(desk / "tracks.json").tracks) == 3


@pytest.mark.parametrize(
    ("name", "code", "lines"),
    [
        ("av1_noise_middle.mp4", 0, 1),
        ("h264_1000tb_trunc50.mkv", 0, 1),
        ("noise_everywhere.MOV", 0, 1),
        ("random.mp4", 4, 3),
        ("zero_bytes.mp4", 4, 3),
        ("html_error_page.webm", 4, 3),
        ("png_named.mp4", 0, 0),
    ],
)
def test_a_damaged_video_of_the_wild_is_one_warning_or_one_error(
    segment: Vistool, shared_data: Path, desk: Path, name: str, code: int, lines: int
) -> None:
    said = segment(shared_data / "videos" / "damaged" / name, "-q", "-o", desk / "tracks.jsonl")

    assert (said.code, said.out) == (code, "")
    assert said.err.count("error: ") == (code != 0)
    assert said.err.count("warning: ") == (lines == 1)
    assert len(said.err.splitlines()) == lines
    assert [path.name for path in desk.iterdir()] == ([] if code == 4 else ["tracks.jsonl"])


def write_video(path: Path) -> Path:
    """An mp4 whose index is at the end, so that half of it is nothing."""
    writer = VideoWriter(path, SIZE_HW, frame_rate=Fraction(25))
    for index in range(5):
        writer.write(np.full((*SIZE_HW, 3), 40 * index, np.uint8), index / 25)
    writer.finish()
    writer.close()
    return path


class TestBadOutputs:
    def test_an_existing_output_is_kept(self, segment: Vistool, video: Path, desk: Path) -> None:
        (desk / "tracks.json").write_text("mine")

        said = segment(video, "-o", desk / "overlay.mp4", "-o", desk / "tracks.json")

        assert said.code == 7
        assert_one_line(said, "output exists", "--overwrite")
        assert (desk / "tracks.json").read_text() == "mine"
        assert [path.name for path in desk.iterdir()] == ["tracks.json"]

    def test_an_existing_output_is_replaced_when_told(self, segment: Vistool, video: Path, desk: Path) -> None:
        (desk / "tracks.json").write_text("mine")

        assert segment(video, "-o", desk / "tracks.json", "--overwrite").code == 0
        assert len(read_result(desk / "tracks.json").tracks) == 3

    @pytest.mark.parametrize("name", ["absent/tracks.json", "file/tracks.json"], ids=["no folder", "a file"])
    def test_an_output_that_cannot_be_written_is_refused_before_any_work(
        self, segment: Vistool, fake_methods: FakeMethods, video: Path, desk: Path, name: str
    ) -> None:
        (desk / "file").touch()

        said = segment(video, "-o", desk / name)

        assert said.code == 4
        assert_one_line(said, "cannot write to the folder", "")
        assert fake_methods.options == []

    def test_the_source_is_never_replaced(self, segment: Vistool, tmp_path: Path, desk: Path) -> None:
        source = write_video(desk / "source.mp4")
        before = source.read_bytes()

        said = segment(source, "-o", source, "--overwrite")

        assert said.code == 2
        assert source.read_bytes() == before

    def test_a_full_disk_leaves_no_half_output(
        self, segment: Vistool, video: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_space(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("vistool.writers.publishing.os.fsync", no_space)

        said = segment(video, "-o", desk / "tracks.jsonl")

        assert said.code == 1
        assert_one_line(said, "No space left on device", "")
        assert list(desk.iterdir()) == []


class TestBadWeights:
    def test_weights_of_another_method_are_refused_with_both_names(
        self, vistool: Vistool, video: Path, weights: Path, desk: Path
    ) -> None:
        said = vistool("segment", video, "--method", "fake-online", "--weights", weights, "-o", desk / "tracks.json")

        assert said.code == 5
        assert_one_line(said, "made for `fake`, asked for `fake-online`", "--method fake")

    @pytest.mark.parametrize("spec", ["absent.safetensors", "no-such-key", "hf:owner/name"])
    def test_weights_that_are_not_there_are_refused(
        self, vistool: Vistool, fake_methods: FakeMethods, video: Path, spec: str
    ) -> None:
        said = vistool("segment", video, "--method", "fake", "--weights", spec, "--json", "--offline")

        assert (said.code, said.out) == (5, "")
        assert_one_line(said, spec, "")

    def test_damaged_weights_are_refused(self, segment: Vistool, video: Path, weights: Path) -> None:
        weights.write_bytes(weights.read_bytes()[:-5])

        said = segment(video, "--json")

        assert said.code == 5
        assert_one_line(said, "damaged", "fetch the file again")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.pop(min(tensors)), "1 missing"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "1 not wanted: `extra`"),
        (lambda tensors: tensors.update({min(tensors): torch.zeros(1, 2)}), "1 misshaped"),
    ],
    ids=["missing", "extra", "misshaped"],
)
def test_a_checkpoint_that_does_not_fit_its_network_is_refused(
    vistool: Vistool, video: Path, tmp_path: Path, tiny: checkpoint.Checkpoint, change: Any, told: str
) -> None:
    tensors = dict(tiny.tensors)
    change(tensors)
    checkpoint.write(tmp_path / "odd.safetensors", tiny.info, tensors, half=True)

    said = vistool("segment", video, "--method", tiny.info.method, "--weights", tmp_path / "odd.safetensors", "--json")

    assert (said.code, said.out) == (5, "")
    assert_one_line(said, told, "")


@pytest.fixture(scope="module")
def tiny() -> checkpoint.Checkpoint:
    """A real network with fresh weights."""
    method = "mask2former-vis"
    recipe = METHODS[method].recipe()
    preset = replace(recipe.presets["tiny"], num_classes=3)
    info = replace(info_of(method), sizes=asdict(preset), pixel_std=(50.0, 50.0, 50.0))
    return checkpoint.Checkpoint(info, recipe.build(preset).state_dict())
