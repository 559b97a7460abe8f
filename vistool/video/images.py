"""Pictures in a folder, by a glob or alone as the frames of a video. Knows image files; knows no video file."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..types import VideoInfo
from .damage import DamageLog
from .source import Placed, UnreadablePictureError
from .upright import over_black

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_OPAQUE = frozenset({".jpeg", ".jpg", ".pgm", ".ppm"})  # formats that know no transparency
_DEFAULT_RATE = Fraction(25)


def find_images(source: str | Path) -> list[Path] | None:
    """The images that a folder, a glob or an image file stands for, in natural order; None for any other file.

    InputError when nothing is there, or nothing that is an image.
    """
    try:
        images = _find(source)
    except OSError as error:
        raise InputError(f"cannot read: `{source}` ({error.strerror})", hint="check the path") from error
    return None if images is None else sorted(images, key=natural_order)


def _find(source: str | Path) -> list[Path] | None:
    path = Path(source)
    if path.is_dir():
        images = [entry for entry in path.iterdir() if _is_image(entry) and not entry.name.startswith(".")]
        if not images:
            raise InputError(
                f"no images in folder: `{path}` (none of its files ends in {', '.join(sorted(SUFFIXES))})",
                hint="name a folder that holds the pictures themselves, or a video file",
            )
        return images
    if path.exists():
        return [path] if _is_image(path) else None
    if not glob.has_magic(str(source)):
        raise InputError(f"no such file or folder: `{source}`", hint="check the path")
    matches = glob.iglob(str(source), recursive=True)  # noqa: PTH207  Path.glob refuses absolute patterns
    images = [match for match in map(Path, matches) if _is_image(match)]
    if not images:
        raise InputError(f"no image matches: `{source}`", hint="put the pattern in quotes, and check where it starts")
    return images


def natural_order(path: Path) -> list[tuple[str, int]]:
    """A sort key by which `frame9.png` comes before `frame10.png`."""
    pairs = re.findall(r"(\D*)(\d*)", str(path))
    return [*((text.casefold(), int(number or -1)) for text, number in pairs), (str(path), 0)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


class ImageRow:
    """Images as frames at a steady rate; the first that can be read decides the size.

    One that cannot be read is left out and counted as damage; its place stays empty. InputError when one has another
    size, and when none can be read.
    """

    def __init__(self, paths: Sequence[Path], name: str, frame_rate: Fraction | None = None) -> None:
        self._paths = paths
        self._rate = frame_rate or _DEFAULT_RATE
        self._first = self._first_readable(name)
        self.damage = DamageLog()
        self.info = VideoInfo(name=name, size_hw=self._first.size_hw, frame_rate=self._rate, frame_count=len(paths))

    def __iter__(self) -> Iterator[Placed]:
        for index, path in enumerate(self._paths):
            yield Placed(index, index / self._rate, ImagePicture(path, self._first))

    def close(self) -> None:
        """Nothing is held open."""

    def _first_readable(self, name: str) -> _Sized:
        reason = ""
        for path in self._paths:
            try:
                image = read_image(path)
            except UnreadablePictureError as error:
                reason = reason or str(error)
            else:
                return _Sized(path, (image.shape[0], image.shape[1]))
        raise InputError(f"no image can be read: `{name}` ({reason})", hint="check that the files are whole pictures")


class _Sized(NamedTuple):
    path: Path
    size_hw: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ImagePicture:
    """An image file that is read when it is wanted."""

    path: Path
    first: _Sized  # the image whose size all must have

    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3), upright; InputError when its size is not the first one's."""
        image = read_image(self.path)
        if image.shape[:2] != self.first.size_hw:
            (height, width), (first_height, first_width) = image.shape[:2], self.first.size_hw
            raise InputError(
                f"images differ in size: `{self.path}` "
                f"(it is {width}x{height}, `{self.first.path.name}` is {first_width}x{first_height})",
                hint="keep pictures of one size in the folder, or select them by a glob",
            )
        return image


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file of any depth and number of channels → (H, W, 3) RGB, upright by its EXIF tag; what is
    transparent lies over black. UnreadablePictureError where it cannot be had."""
    try:
        content = np.fromfile(path, np.uint8)
        if _ends_early(content):
            raise UnreadablePictureError(f"`{path.name}` ends early")
        transparent = None if path.suffix.lower() in _OPAQUE else _decode_transparent(content)
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if transparent is None else transparent
    except OSError as error:
        raise UnreadablePictureError(f"`{path.name}`: {error.strerror}") from error
    except cv2.error as error:
        raise UnreadablePictureError(f"`{path.name}`: {error.err}") from error
    if image is None:
        raise UnreadablePictureError(f"`{path.name}` is no picture, or a broken one")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _decode_transparent(content: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """(H, W, 3) BGR over black, of a picture that has an alpha channel; None of any other."""
    stored = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if stored is None or stored.ndim != 3 or stored.shape[2] != 4:
        return None
    eight_bits = stored // 257 if stored.dtype == np.uint16 else stored
    return over_black(np.asarray(eight_bits, np.uint8))


def _ends_early(content: NDArray[np.uint8]) -> bool:
    """Whether this is a JPEG cut off within its last picture, which would be decoded with the rest in grey."""
    data = content.tobytes()
    start_of_scan, end_of_image = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    return data.startswith(b"\xff\xd8") and end_of_image < start_of_scan
