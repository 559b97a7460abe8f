"""SeqFormer once more, from the published names of its tensors: plain, slow, frame by frame, on PyTorch's own parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vistool.methods.msts.names import to_published
from vistool.methods.msts.network import Msts
from vistool.methods.msts.presets import Preset

SIZES = Preset(
    backbone="resnet-tiny",
    frozen_norms=True,
    num_classes=5,
    queries=7,
    dim=64,
    encoder_layers=2,
    encoder_ffn=48,
    encoder_points=3,
    decoder_layers=3,
    decoder_ffn=40,
    decoder_points=2,
    mask_width=12,
    mask_features=6,
    mask_hidden=5,
)
HEADS = 8
Tensors = dict[str, Tensor]
Maps = Sequence[Tensor]


def network(preset: Preset = SIZES) -> Msts:
    """With random weights that keep every stage alive; parts that start as nothing still do."""
    made = Msts(preset).eval()
    fill({name: tensor for name, tensor in made.state_dict().items() if ".split." not in name and ".temp" not in name})
    return made


def fill(tensors: Tensors) -> None:
    """Random numbers of a size that fits the part, the same each time."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in tensors.items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() > 1:
            embedding = name.endswith("_embed")
            tensor.copy_(noise if embedding else noise / tensor[0].numel() ** 0.5)
        elif tensor.is_floating_point():
            scale = name.endswith(("norm.weight", "normalization.weight", ".1.weight", "running_var"))
            tensor.copy_(0.2 * noise.abs() + 0.8 if scale else 0.2 * noise)


class PlainSeqFormer:
    """One clip at a time, from the maps of its backbone. Padding is the same on all frames."""

    def __init__(self, made: Msts) -> None:
        self.tensors = to_published(made.state_dict())
        self.preset = made.preset

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def mlp(self, name: str, x: Tensor) -> Tensor:
        for layer in range(3):
            x = self.linear(f"{name}.layers.{layer}", x)
            x = F.relu(x) if layer < 2 else x
        return x

    def levels(self, maps: Maps) -> list[Tensor]:
        """Of one frame (C_i, h_i, w_i) → four of D channels."""
        projected = []
        for level, m in enumerate([*maps, maps[-1]]):
            name, wide = f"detr.input_proj.{level}.", {"stride": 2, "padding": 1} if level == 3 else {}
            x = F.conv2d(m[None], self.tensors[name + "0.weight"], self.tensors[name + "0.bias"], **wide)
            projected.append(F.group_norm(x, 32, self.tensors[name + "1.weight"], self.tensors[name + "1.bias"])[0])
        return projected

    def encoded(self, maps: Maps, padding: Tensor) -> tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]:
        """Of one frame, padding (H, W) → memory (P, D), sizes, padding (P,), shares of the levels that are not."""
        levels = self.levels(maps)
        sizes = [(level.shape[1], level.shape[2]) for level in levels]
        small = [smaller(padding, size) for size in sizes]
        valid = torch.tensor([[(~m[0]).float().mean(), (~m[:, 0]).float().mean()] for m in small])
        position = torch.cat(
            [
                sine_code(m, self.preset.dim).flatten(0, 1) + self.tensors["detr.transformer.level_embed"][i]
                for i, m in enumerate(small)
            ]
        )
        centres = []
        for (height, width), share in zip(sizes, valid, strict=True):
            y = (torch.arange(height) + 0.5) / (share[1] * height)
            x = (torch.arange(width) + 0.5) / (share[0] * width)
            centres += [torch.stack([column, row]) for row in y for column in x]
        references = torch.stack(centres)[:, None] * valid
        pixels = torch.cat([level.flatten(1).T for level in levels])
        padded = torch.cat([m.flatten() for m in small])
        for i in range(self.preset.encoder_layers):
            name = f"detr.transformer.encoder.layers.{i}"
            read = self.deformed(f"{name}.self_attn", pixels + position, references, pixels, sizes, padded)
            pixels = self.norm(f"{name}.norm1", pixels + self.linear(f"{name}.self_attn.output_proj", read))
            inner = F.relu(self.linear(f"{name}.linear1", pixels))
            pixels = self.norm(f"{name}.norm2", pixels + self.linear(f"{name}.linear2", inner))
        return pixels, sizes, padded, valid

    def deformed(
        self,
        name: str,
        queries: Tensor,
        references: Tensor,
        memory: Tensor,
        sizes: Sequence[tuple[int, int]],
        pad: Tensor,
    ) -> Tensor:
        """queries (L, D), references (L, levels, 2 or 4) → (L, D), head by head and level by level."""
        values = self.linear(f"{name}.value_proj", memory).masked_fill(pad[:, None], 0.0)
        offsets = self.linear(f"{name}.sampling_offsets", queries).view(len(queries), HEADS, len(sizes), -1, 2)
        points = offsets.shape[3]
        weights = self.linear(f"{name}.attention_weights", queries).view(len(queries), HEADS, -1).softmax(-1)
        weights = weights.view(offsets.shape[:-1])
        width = values.shape[1] // HEADS
        heads = []
        for head in range(HEADS):
            mixed = torch.zeros(len(queries), width)
            for level, part in enumerate(values.split([h * w for h, w in sizes])):
                height, length = sizes[level]
                plane = part[:, head * width : (head + 1) * width].T.view(1, width, height, length)
                at, box = references[:, None, level, :2], references[:, None, level, 2:]
                moved = offsets[:, head, level]
                scale = box / points * 0.5 if box.shape[-1] else 1 / torch.tensor([length, height])
                grid = 2 * (at + moved * scale) - 1
                samples = F.grid_sample(plane, grid[None], align_corners=False)[0]  # (d, L, points)
                mixed += (samples * weights[:, head, level]).sum(-1).T
            heads.append(mixed)
        return torch.cat(heads, dim=1)

    def attended(self, name: str, queries: Tensor, position: Tensor) -> Tensor:
        """Self-attention of PyTorch, (Q, D) → (Q, D)."""
        attention = torch.nn.MultiheadAttention(queries.shape[1], HEADS).eval()
        attention.load_state_dict(
            {key.removeprefix(f"{name}."): t for key, t in self.tensors.items() if key.startswith(f"{name}.")}
        )
        placed = queries + position
        return attention(placed, placed, queries)[0]

    def ffn(self, layer: str, end: str, x: Tensor) -> Tensor:
        inner = F.relu(self.linear(f"{layer}.linear1{end}", x))
        return self.norm(f"{layer}.norm3{end}", x + self.linear(f"{layer}.linear2{end}", inner))

    def __call__(self, maps: Maps, padding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """maps (T, C_i, h_i, w_i), padding (H, W) → class logits (Q, K), boxes (T, Q, 4), masks (Q, T, h, w)."""
        frames = range(len(maps[0]))
        encoded = [self.encoded([m[t] for m in maps], padding) for t in frames]
        position, content = self.tensors["detr.query_embed.weight"].chunk(2, dim=1)
        first = self.linear("detr.transformer.reference_points", position).sigmoid()
        instances, boxes, references = content, [content for _ in frames], [first for _ in frames]
        for i in range(self.preset.decoder_layers):
            layer = f"detr.transformer.decoder.layers.{i}"
            instances = self.norm(
                f"{layer}.norm2", instances + self.attended(f"{layer}.self_attn", instances, position)
            )
            before, read = references, []
            for t, (memory, sizes, pad, valid) in enumerate(encoded):
                own = boxes[t] + self.attended(f"{layer}.self_attn_box", boxes[t], position)
                own = self.norm(f"{layer}.norm2_box", own)
                on_levels = references[t][:, None] * valid.repeat(1, references[t].shape[1] // 2)
                found = self.deformed(f"{layer}.cross_attn", own + position, on_levels, memory, sizes, pad)
                read.append(self.linear(f"{layer}.cross_attn.output_proj", found))
                projected = self.linear(f"{layer}.cross_attn.output_proj_box", found)
                boxes[t] = self.ffn(layer, "_box", self.norm(f"{layer}.norm1_box", own + projected))
            said = torch.stack([self.linear(f"{layer}.time_attention_weights", own) for own in boxes]).softmax(0)
            gathered = (said * torch.stack(read)).sum(0)
            instances = self.ffn(layer, "", self.norm(f"{layer}.norm1", instances + gathered))
            references = [self.moved(i, boxes[t], references[t]) for t in frames]
        logits = self.linear(f"detr.class_embed.{self.preset.decoder_layers - 1}", instances)
        kernels = self.mlp("controller", instances)
        size = torch.tensor([(~padding[0]).sum(), (~padding[:, 0]).sum()])
        masks = [
            torch.stack([self.mask(features, kernel, point) for kernel, point in zip(kernels, points, strict=True)])
            for features, points in ((self.mask_features(*encoded[t][:2]), before[t][:, :2] * size) for t in frames)
        ]
        return logits, torch.stack(references), torch.stack(masks, dim=1)

    def moved(self, layer: int, queries: Tensor, references: Tensor) -> Tensor:
        by = self.mlp(f"detr.bbox_embed.{layer}", queries)
        clamped = references.clamp(0, 1)
        logits = torch.log(clamped.clamp(min=1e-5) / (1 - clamped).clamp(min=1e-5))
        by[:, : logits.shape[1]] += logits
        return by.sigmoid()

    def mask_features(self, memory: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        parts = memory.split([h * w for h, w in sizes])
        fine, middle, coarse = (part.T.unflatten(1, size) for part, size in zip(parts[:3], sizes[:3], strict=True))
        x = self.convolved("lay3", coarse)
        x = self.convolved("lay4", middle + enlarged(x, middle))
        return self.convolved("lay2", self.convolved("lay1", self.convolved("dcn", fine + enlarged(x, fine))))

    def convolved(self, name: str, x: Tensor) -> Tensor:
        head = f"mask_head.{name}."
        return F.relu(F.conv2d(x, self.tensors[head + "weight"], self.tensors[head + "bias"], padding=1))

    def mask(self, features: Tensor, kernel: Tensor, point: Tensor) -> Tensor:
        """features (C, h, w), point x, y in pixels → logits (2h, 2w)."""
        rows, columns = features.shape[1:]
        dx = point[0] - (8 * torch.arange(columns) + 4)
        dy = point[1] - (8 * torch.arange(rows) + 4)
        x = torch.cat([dx.expand(1, rows, -1), dy[:, None].expand(1, -1, columns), features])
        hidden = self.preset.mask_hidden
        numbers = kernel.split([len(x) * hidden, hidden * hidden, hidden, hidden, hidden, 1])
        x = F.relu(F.conv2d(x, numbers[0].view(hidden, -1, 1, 1), numbers[3]))
        x = F.relu(F.conv2d(x, numbers[1].view(hidden, -1, 1, 1), numbers[4]))
        x = F.conv2d(x, numbers[2].view(1, -1, 1, 1), numbers[5])[None]
        x = F.pad(x, (0, 1, 0, 1), mode="replicate")
        x = F.interpolate(x, size=(2 * rows + 1, 2 * columns + 1), mode="bilinear", align_corners=True)
        return F.pad(x, (1, 0, 1, 0), mode="replicate")[0, 0, : 2 * rows, : 2 * columns]


def smaller(padding: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixel that each cell's first corner lies on."""
    rows, columns = (torch.arange(n) * m // n for n, m in zip(size, padding.shape, strict=True))
    return padding[rows][:, columns]


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    rows, columns = (torch.arange(n) * m // n for n, m in zip(like.shape[1:], x.shape[1:], strict=True))
    return x[:, rows][:, :, columns]


def sine_code(padding: Tensor, dim: int) -> Tensor:
    """padding (h, w) → (h, w, dim), rows before columns, counted from one half in the part that is not padded."""
    seen = (~padding).float()
    half = dim // 2
    codes = []
    for axis in (0, 1):
        count = seen.cumsum(axis)
        last = count[-1:, :] if axis == 0 else count[:, -1:]
        turns = (count - 0.5) / (last + 1e-6) * 2 * math.pi
        for i in range(half):
            angle = turns / 10000 ** (2 * (i // 2) / half)
            codes.append(angle.sin() if i % 2 == 0 else angle.cos())
    return torch.stack(codes, dim=-1)
