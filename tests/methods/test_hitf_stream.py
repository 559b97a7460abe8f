"""A video, frame by frame: the cache, the past alone, one state a video, and memory that stays."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hitf_networks import BATCH, BOTH, LAYER, film, network, same_outputs
from torch import Tensor

from vistool.methods.hitf.network import FrameOutput, Hitf
from vistool.methods.hitf.presets import Preset
from vistool.methods.hitf.stream import Stream


def streamed(made: Hitf, frames: Tensor) -> list[FrameOutput]:
    stream = Stream(made)
    return [stream.step(frame) for frame in frames.split(1)]


def recomputed(made: Hitf, frames: Tensor, ages: Sequence[int]) -> list[FrameOutput]:
    """Every frame from its window of the video, with nothing kept from one to the next."""
    said = []
    for t in range(len(frames)):
        window = [made.encode(frames[t - age, None]).reference for age in ages if t >= age]
        said.append(made.fuse(made.encode(frames[t, None]), window))
    return said


@pytest.mark.parametrize("preset", BOTH, ids=["layer", "batch"])
@pytest.mark.parametrize(
    ("references", "stride", "ages"), [(3, 1, (1, 2, 3)), (1, 1, (1,)), (2, 2, (2, 4))], ids=["3", "1", "2 of stride 2"]
)
def test_a_stream_says_what_the_whole_window_says(
    preset: Preset, references: int, stride: int, ages: tuple[int, ...]
) -> None:
    made = network(replace(preset, references=references, ref_stride=stride))
    frames = film(6)
    pairs = zip(streamed(made, frames), recomputed(made, frames, ages), strict=True)

    assert all(same_outputs(one, other) for one, other in pairs)


@pytest.mark.parametrize(("inter_code", "inter_pixels"), [(True, False), (False, True)])
def test_a_stream_of_one_kind_of_looking_back_says_the_same(inter_code: bool, inter_pixels: bool) -> None:
    made = network(replace(LAYER, inter_code=inter_code, inter_pixels=inter_pixels))
    frames = film(4)
    pairs = zip(streamed(made, frames), recomputed(made, frames, (1, 2, 3)), strict=True)

    assert all(same_outputs(one, other) for one, other in pairs)


def test_without_looking_back_a_video_is_its_frames() -> None:
    made = network(replace(LAYER, inter_code=False, inter_pixels=False))
    frames = film(4)
    alone = [streamed(made, frame[None])[0] for frame in frames]

    assert all(same_outputs(*pair) for pair in zip(streamed(made, frames), alone, strict=True))
    looking = network(LAYER)
    assert not same_outputs(streamed(looking, frames)[-1], streamed(looking, frames[-1:])[0])


def test_what_is_said_of_a_frame_ignores_later_ones() -> None:
    made = network(BATCH)
    frames, others = film(5), film(5, seed=1)
    changed = torch.cat([frames[:3], others[3:]])
    one, other = streamed(made, frames), streamed(made, changed)

    assert all(same_outputs(*pair, tolerance=0) for pair in zip(one[:3], other[:3], strict=True))
    assert not same_outputs(one[4], other[4])


def test_what_lies_further_back_than_the_references_is_forgotten() -> None:
    made = network(replace(LAYER, references=2))
    frames = film(6)
    changed = torch.cat([film(3, seed=1), frames[3:]])

    assert same_outputs(streamed(made, frames)[5], streamed(made, changed)[5], tolerance=0)
    assert not same_outputs(streamed(made, frames)[4], streamed(made, changed)[4])


def test_videos_side_by_side_do_not_mix_and_a_second_run_is_the_first() -> None:
    made = network(BATCH)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    films = [film(4, seed=1), film(4, (33, 20), seed=2)]
    streams = [Stream(made) for _ in films]
    said = [[stream.step(frames[t, None]) for stream, frames in zip(streams, films, strict=True)] for t in range(4)]

    for which, frames in enumerate(films):
        again = streamed(made, frames)
        assert all(same_outputs(row[which], one, tolerance=0) for row, one in zip(said, again, strict=True))
    assert all(tensor.equal(before[name]) for name, tensor in made.state_dict().items())


def test_every_frame_goes_through_the_backbone_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(LAYER)
    encode, seen = made.encode, []
    monkeypatch.setattr(made, "encode", lambda frames: seen.append(len(frames)) or encode(frames))
    streamed(made, film(7))

    assert seen == [1] * 7


def test_memory_does_not_grow_once_the_references_are_there() -> None:
    made = network(replace(BATCH, ref_stride=2))
    stream = Stream(made)
    frames = film(1)

    def held() -> int:
        gc.collect()
        alive = {each.untyped_storage().data_ptr(): each for each in gc.get_objects() if type(each) is Tensor}
        return sum(each.untyped_storage().nbytes() for each in alive.values())

    sizes = {}
    with torch.inference_mode():
        for t in range(15):
            stream.step(frames)
            if t in (0, 7, 14):
                sizes[t] = held()

    assert sizes[0] < sizes[7]  # the references are seen by this measure
    assert sizes[7] == sizes[14]


def test_a_network_in_training_cannot_follow_a_video() -> None:
    with pytest.raises(ValueError, match="in training"):
        Stream(network(LAYER).train())
