"""HITF on the CPU: a frame by parts of the network, what the cache saves, and memory over the frames of a video."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from block import milliseconds, peak_mb, print_block

from vistool.methods.hitf.network import Hitf
from vistool.methods.hitf.presets import PRESETS
from vistool.methods.hitf.stream import Stream


def main() -> None:
    """Print the tables: memory over a video first, for the peak of the process is counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="r50-ytvis2019", choices=PRESETS)
    parser.add_argument("--size", type=int, nargs=2, default=(641, 641), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=24, help="of the video, at least 8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network = Hitf(PRESETS[arguments.preset]).eval()
    with torch.inference_mode():
        video, parts = _video(network, arguments), _parts(network, arguments)
    size = "x".join(map(str, arguments.size))
    title = f"HITF `{arguments.preset}`, {size}, {arguments.threads} threads"
    print_block(f"{title}: a video of {arguments.frames} frames", ["frames", "a frame", "peak memory so far"], video)
    print_block(f"{title}: parts of a frame", ["part", "a frame", "share"], parts)


def _video(network: Hitf, arguments: argparse.Namespace) -> list[list[str]]:
    """Quarters of a video; the first one holds the warming up and the first references."""
    stream, quarter = Stream(network), arguments.frames // 4
    rows = []
    for first in range(0, 4 * quarter, quarter):
        begun = time.perf_counter()
        for _ in range(quarter):
            stream.step(torch.randn(1, 3, *arguments.size))
        taken = 1000 * (time.perf_counter() - begun) / quarter
        rows.append([f"{first} to {first + quarter - 1}", f"{taken:.0f} ms", f"{peak_mb():.0f} MB"])
    return rows


def _parts(network: Hitf, arguments: argparse.Namespace) -> list[list[str]]:
    frame = torch.randn(1, 3, *arguments.size)
    encoder, temporal = network.encoder, network.temporal
    encoded = network.encode(frame)
    remembered = [network.remember(encoded.reference)] * network.preset.references
    references = [encoded.reference] * network.preset.references
    code, pixels = temporal.recall(encoded.code, encoded.pixels, remembered)
    decoded = network.decoder(pixels, encoded.fine)
    activated = F.relu(encoded.pixels)
    parts: dict[str, Callable[[], object]] = {
        "encoder": lambda: network.encode(frame),
        "… its backbone alone": lambda: encoder.backbone(frame),
        "… its pixel attention": lambda: [layer(activated) for layer in encoder.pixel_attn],
        "… its code layers": lambda: [layer(encoded.code, activated) for layer in encoder.intra],
        "keys and values to be kept": lambda: network.remember(encoded.reference),
        "rounds of looking back and at itself": lambda: temporal.recall(encoded.code, encoded.pixels, remembered),
        "decoder": lambda: network.decoder(pixels, encoded.fine),
        "heads": lambda: network.heads(code, decoded),
    }
    times = {part: milliseconds(run, arguments.rounds) for part, run in parts.items()}
    whole = sum(taken for part, taken in times.items() if not part.startswith("…"))
    uncached = milliseconds(lambda: temporal(encoded.code, encoded.pixels, references), arguments.rounds)
    rows = [[part, f"{taken:.1f} ms", f"{100 * taken / whole:.0f} %"] for part, taken in times.items()]
    again = (len(references) * times["encoder"]) + uncached - times["rounds of looking back and at itself"]
    return [
        *rows,
        ["all of a frame", f"{whole:.1f} ms", "100 %"],
        ["more, if references were made again", f"{again:.1f} ms", f"{100 * again / whole:.0f} %"],
    ]


if __name__ == "__main__":
    main()
