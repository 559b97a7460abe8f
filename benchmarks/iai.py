"""IAI on the CPU: a frame by parts of the network, and local attention beside the last stage of the backbone."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from block import milliseconds, peak_mb, print_block

from vistool.methods.iai.local_attention import LocalAttention
from vistool.methods.iai.memory import Memory
from vistool.methods.iai.network import Iai
from vistool.methods.iai.presets import PRESETS

STRIDE = 32


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="r50-ytvis2019", choices=PRESETS)
    parser.add_argument("--size", type=int, nargs=2, default=(384, 640), metavar=("H", "W"))
    parser.add_argument("--remembered", type=int, default=10, help="frames of long-term memory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        rows = _rows(arguments)
    size = "x".join(map(str, arguments.size))
    print_block(f"IAI `{arguments.preset}`, {size}, {arguments.threads} threads", ["part", "a frame"], rows)


def _rows(arguments: argparse.Namespace) -> list[list[str]]:
    torch.manual_seed(0)
    preset, rounds = PRESETS[arguments.preset], arguments.rounds
    network = Iai(preset).eval()
    height, width = arguments.size
    frame = torch.randn(1, 3, height, width)
    *finer, c5 = network.look(frame)
    stack = torch.zeros(1, preset.max_ids + 1, height, width, dtype=torch.bool)
    stack[:, -1] = True
    stack[:, 0, : height // 2], stack[:, -1, : height // 2] = True, False
    memory = Memory(interval=1, most=arguments.remembered)
    for _ in range(arguments.remembered):
        memory.add(network.remember(network.associate(c5, None), stack), new_objects=True)
    seen = network.associate(c5, memory)
    maps, inner = (*finer, seen.c5), (height, width)
    local = LocalAttention(preset.dim, preset.memory_heads, preset.local_window).eval()
    tokens = torch.randn(3, 1, (height // STRIDE) * (width // STRIDE), preset.dim)
    last_stage = network.backbone.body.encoder.stages[-1]
    parts: dict[str, Callable[[], object]] = {
        "backbone": lambda: network.look(frame),
        "… its last stage": lambda: last_stage(finer[-1]),
        f"association, {arguments.remembered} frames remembered": lambda: network.associate(c5, memory),
        "… its local attention": lambda: local(*tokens, (height // STRIDE, width // STRIDE)),
        "painting a frame into memory": lambda: network.remember(seen, stack),
        "pyramid and head": lambda: network.detector.detect(maps, inner),
    }
    rows = [[part, f"{milliseconds(run, rounds):.1f} ms"] for part, run in parts.items()]
    return [*rows, ["peak memory of the process", f"{peak_mb():.0f} MB"]]


if __name__ == "__main__":
    main()
