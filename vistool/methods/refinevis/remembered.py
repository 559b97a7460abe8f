"""What a frozen image model said of frames that come again: the refinement can be trained without looking twice."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import fields
from hashlib import blake2b

import torch
from torch import Tensor

from ...nn.image_model import FrameObjects, ImageModel


class RememberedFrames:
    """Frames are known by their pixels, so what differs by a crop or a colour is another frame.

    Holds the latest frames up to `most_bytes`. Every frame is looked at alone: what is said of it does not depend on
    which others it comes with, nor on what is still held.
    """

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._held: OrderedDict[bytes, FrameObjects] = OrderedDict()

    def look(self, image: ImageModel, frames: Tensor) -> FrameObjects:
        """frames (B, 3, H, W) normalised → B rows; `image` is the same every time, in evaluation and frozen."""
        rows = [self._one(image, frame) for frame in frames.split(1)]
        points = [row.references for row in rows if row.references is not None]
        return FrameObjects(
            embeddings=torch.cat([row.embeddings for row in rows]),
            class_logits=torch.cat([row.class_logits for row in rows]),
            boxes=torch.cat([row.boxes for row in rows]),
            pixels=torch.cat([row.pixels for row in rows]),
            references=torch.cat(points) if points else None,
        )

    def _one(self, image: ImageModel, frame: Tensor) -> FrameObjects:
        key = blake2b(frame.cpu().numpy().tobytes(), digest_size=16).digest()
        if key not in self._held:
            with torch.no_grad():
                self._held[key] = image(frame)
            self._left -= _bytes(self._held[key])
            while self._left < 0 and len(self._held) > 1:
                self._left += _bytes(self._held.popitem(last=False)[1])
        self._held.move_to_end(key)
        return self._held[key]


def _bytes(objects: FrameObjects) -> int:
    tensors = (getattr(objects, field.name) for field in fields(objects))
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors if tensor is not None)
