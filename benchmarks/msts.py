"""Where the time of MS-STS goes: a clip by modules, windows of joint attention, and deformable attention.

Weights are random. Memory is the most that the process has held by the end of the clip.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from block import print_block
from torch import Tensor, nn

from vistool.methods.msts.network import Msts
from vistool.methods.msts.presets import PRESETS, Preset
from vistool.methods.msts.split_attention import SplitAttention
from vistool.nn.deformable import DeformableAttention
from vistool.nn.deformable_detr import Levels

KEPT = 20  # slots whose masks are made
WINDOWS = (None, 8192, 2048, 512)


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def median(run: Callable[[], object], rounds: int) -> float:
    """Seconds; the first round is for warming up."""
    run()
    return statistics.median(seconds(run) for _ in range(rounds))


def built(preset: Preset) -> Msts:
    """With split attention that does something."""
    torch.manual_seed(0)
    network = Msts(preset).eval()
    for branch in network.encoder.split:
        nn.init.xavier_uniform_(branch.fuse.weight)
    return network


@contextmanager
def timed(parts: dict[str, list[nn.Module]]) -> Iterator[dict[str, float]]:
    """Seconds that the modules of each part take while this is open."""
    spent = dict.fromkeys(parts, 0.0)
    begun: dict[int, float] = {}
    handles = []
    for name, modules in parts.items():

        def enter(module: nn.Module, _inputs: object) -> None:
            begun[id(module)] = time.perf_counter()

        def leave(module: nn.Module, _inputs: object, _output: object, name: str = name) -> None:
            spent[name] += time.perf_counter() - begun[id(module)]

        for module in modules:
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    yield spent
    for handle in handles:
        handle.remove()


@torch.inference_mode()
def clip(preset: Preset, frames: Tensor, rounds: int) -> list[list[str]]:
    """A row a module, with its share of the whole."""
    network = built(preset)
    branches = [*network.encoder.split]
    parts: dict[str, list[nn.Module]] = {
        "backbone": [network.backbone],
        "encoder: deformable attention": [layer.self_attn for layer in network.encoder.layers],
        "encoder: intra-scale attention": [branch.intra for branch in branches],
        "encoder: inter-scale attention": [branch.inter for branch in branches],
        "decoder": [network.decoder],
        "mask branch": [network.mask_branch],
    }

    def run() -> None:
        output = network(frames)
        last = output.layers[-1]
        network.masks(last.queries[0, :KEPT], last.references[0].transpose(0, 1)[:KEPT], output.features[0])

    run()
    with timed(parts) as spent:
        whole = [seconds(run) for _ in range(rounds)]
    total = sum(whole)
    spent["the rest"] = total - sum(spent.values())
    rows = [[name, f"{s / rounds:.2f} s", f"{100 * s / total:.0f} %"] for name, s in spent.items()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [*rows, ["all", f"{total / rounds:.2f} s", ""], ["most memory", f"{peak:.0f} MB", ""]]


@torch.inference_mode()
def joint_windows(preset: Preset, frames: Tensor, rounds: int) -> list[list[str]]:
    """One branch of split attention, by the size of its windows."""
    network = built(preset)
    levels, position = network.encoder.flatten(network.look(frames[0]))
    whole = network.encoder.split[0]
    reference = whole(levels, position, frames.shape[1])
    rows = []
    for most in WINDOWS:
        branch = SplitAttention(replace(preset, inter_scale_window=most)).eval()
        branch.load_state_dict(whole.state_dict())
        apart = (branch(levels, position, frames.shape[1]) - reference).norm() / reference.norm()
        spent = median(lambda branch=branch: branch(levels, position, frames.shape[1]), rounds)
        rows.append(["all tokens" if most is None else str(most), f"{spent:.2f} s", f"{100 * float(apart):.1f} %"])
    return rows


@torch.inference_mode()
def deformable(preset: Preset, frames: Tensor, rounds: int) -> list[list[str]]:
    """The attention of the first layer of the encoder, ours and plain, in turn."""
    network = built(preset)
    attention = network.encoder.layers[0].self_attn
    nn.init.normal_(attention.sampling_offsets.weight, std=0.05)
    nn.init.normal_(attention.attention_weights.weight, std=0.05)
    levels, position = network.encoder.flatten(network.look(frames[0]))
    queries, references = levels.pixels + position, centres(levels)

    def ours() -> Tensor:
        return attention(queries, references, levels.pixels, levels.sizes_hw)

    def other() -> Tensor:
        return plain(attention, queries, references, levels)

    apart = float((ours() - other()).abs().max())
    times = [(seconds(other), seconds(ours)) for _ in range(rounds)]
    ratio = statistics.median(theirs / own for theirs, own in times)
    medians = [f"{1000 * statistics.median(column):.0f} ms" for column in zip(*times, strict=True)]
    return [[*medians, f"{ratio:.2f}", f"{apart:.1e}"]]


def centres(levels: Levels) -> Tensor:
    """Centres xy of all pixels as shares of the frame, (1, P, 1, 2)."""
    grids = []
    for height, width in levels.sizes_hw:
        y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        grids.append(torch.stack([x, y], dim=-1).flatten(0, 1))
    return torch.cat(grids)[None, :, None]


def plain(attention: DeformableAttention, queries: Tensor, references: Tensor, levels: Levels) -> Tensor:
    """As formulas are written down: a picture of samples for every level, then their weighted sum."""
    batch, length, dim = queries.shape
    heads, count, points = attention.heads, attention.levels, attention.points
    values = attention.value_proj(levels.pixels).view(batch, -1, heads, dim // heads)
    offsets = attention.sampling_offsets(queries).view(batch, length, heads, count, points, 2)
    weights = attention.attention_weights(queries).view(batch, length, heads, count * points).softmax(-1)
    sizes = torch.tensor([[w, h] for h, w in levels.sizes_hw], dtype=queries.dtype)
    grids = 2 * (references[:, :, None, :, None] + offsets / sizes[:, None]) - 1
    samples = []
    for level, part in enumerate(values.split([h * w for h, w in levels.sizes_hw], dim=1)):
        plane = part.flatten(2).transpose(1, 2).reshape(batch * heads, -1, *levels.sizes_hw[level])
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        samples.append(F.grid_sample(plane, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    shares = weights.transpose(1, 2).reshape(batch * heads, 1, length, count * points)
    mixed = (torch.stack(samples, dim=-2).flatten(-2) * shares).sum(-1).view(batch, dim, length)
    out: Tensor = attention.output_proj(mixed.transpose(1, 2))
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="r50-paper", choices=[n for n, p in PRESETS.items() if p.encoder_attention])
    parser.add_argument("--size", nargs=2, type=int, default=(360, 640), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    preset, rounds = PRESETS[given.preset], given.rounds
    frames = torch.randn(1, given.frames, 3, *given.size, generator=torch.Generator().manual_seed(0))
    shape = (
        f"{given.frames} frames of {given.size[0]}x{given.size[1]}, `{given.preset}`, {torch.get_num_threads()} threads"
    )
    print_block(f"A clip: {shape}", ["module", "time", "share"], clip(preset, frames, rounds))
    header = ["tokens of a window at most", "time of a branch", "change of what it says"]
    print_block(f"Joint attention in windows: {shape}", header, joint_windows(preset, frames, rounds))
    header = ["plain", "vistool", "ratio", "apart"]
    print_block(f"Deformable attention of the encoder: {shape}", header, deformable(preset, frames, rounds))


if __name__ == "__main__":
    main()
