"""Facts of a video, found by reading all of it: what the header claims stands beside what is there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path

from av.video.frame import VideoFrame

from .damage import Damage
from .file import VideoFile
from .images import ImageRow, find_images
from .source import UnreadablePictureError

_STEADY = Fraction(4, 3)  # longest over shortest frame of a steady rate, whose times containers round to 1/100 s


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video is, and what is wrong with it."""

    name: str
    container: str  # FFmpeg's name of the format; "images" for pictures
    codec: str
    pixel_format: str  # as decoded
    width: int  # pixels, upright
    height: int
    rotation: int  # degrees counter-clockwise that make it upright, after mirroring
    mirrored: bool
    pixel_aspect: float  # width of a pixel over its height; frames are given pixel by pixel
    frames: int  # counted by decoding
    frames_claimed: int | None  # by the header; None where it does not say
    frame_rate: float  # nominal, frames per second
    variable_rate: bool
    shortest_frame_s: float | None  # from one frame to the next; None where there is one frame
    longest_frame_s: float | None
    duration_s: float  # to the end of the last frame, which is taken to last as the nominal rate says
    start_s: float  # of the first frame on the file's own clock
    interlaced: bool  # in some frame
    sizes: int  # different sizes of frames; where there are several, all are resized to the first
    video_streams: int  # the first is read
    audio: tuple[str, ...]  # codecs
    damage: Damage

    def to_json(self) -> dict[str, object]:
        """Values for `json.dumps`."""
        return asdict(self)


def inspect_video(source: str | Path) -> VideoFacts:
    """Decode all of a video file, a folder or glob of images, or standard input (`-`), and tell what was found.

    Memory does not grow with the length. InputError when there is no frame at all.
    """
    if str(source) == "-":
        return _facts_of_file(None)
    images = find_images(source)
    return _facts_of_file(Path(source)) if images is None else _facts_of_images(images, Path(source).name)


def _facts_of_file(path: Path | None) -> VideoFacts:
    file = VideoFile(path)
    try:
        container, stream = file.decoding.container, file.decoding.stream
        codec, aspect = stream.codec_context.name, stream.sample_aspect_ratio
        audio = tuple(sound.codec_context.name for sound in container.streams.audio)
        video_streams, format_name = len(container.streams.video), container.format.name
        tally = _Tally()
        for frame, time in file.decoded():
            tally.add(frame, time)
        (height, width), orientation = file.info.size_hw, file.orientation
        return VideoFacts(
            name=file.info.name,
            container=format_name,
            codec=codec,
            pixel_format=tally.pixel_format,
            width=width,
            height=height,
            rotation=orientation.rotation,
            mirrored=orientation.mirrored,
            pixel_aspect=float(aspect or 1),
            frames=tally.frames,
            frames_claimed=file.info.frame_count,
            frame_rate=float(file.info.frame_rate),
            variable_rate=tally.variable_rate,
            shortest_frame_s=_seconds(tally.shortest),
            longest_frame_s=_seconds(tally.longest),
            duration_s=float(tally.last + 1 / file.info.frame_rate),
            start_s=float(file.decoding.first_stamp or 0),
            interlaced=tally.interlaced,
            sizes=len(tally.sizes),
            video_streams=video_streams,
            audio=audio,
            damage=file.damage.so_far,
        )
    finally:
        file.close()


@dataclass(slots=True)
class _Tally:
    """What the frames of a file have shown so far."""

    frames: int = 0
    last: Fraction = Fraction(0)  # seconds
    shortest: Fraction | None = None
    longest: Fraction | None = None
    interlaced: bool = False
    pixel_format: str = ""  # of the first frame
    sizes: set[tuple[int, int]] = field(default_factory=set)

    def add(self, frame: VideoFrame, time: Fraction) -> None:
        if self.frames:
            interval = time - self.last
            self.shortest = interval if self.shortest is None else min(self.shortest, interval)
            self.longest = interval if self.longest is None else max(self.longest, interval)
        self.frames += 1
        self.last = time
        self.interlaced |= bool(frame.interlaced_frame)
        self.pixel_format = self.pixel_format or frame.format.name
        self.sizes.add((frame.height, frame.width))

    @property
    def variable_rate(self) -> bool:
        return self.shortest is not None and self.longest is not None and self.longest > _STEADY * self.shortest


def _facts_of_images(paths: list[Path], name: str) -> VideoFacts:
    images = ImageRow(paths, name)
    frames = 0
    for placed in images:
        try:
            placed.picture.rgb()
            frames += 1
        except UnreadablePictureError as error:
            images.damage.add(placed.index, str(error))
    (height, width), interval = images.info.size_hw, float(1 / images.info.frame_rate)
    return VideoFacts(
        name=name,
        container="images",
        codec=", ".join(sorted({path.suffix.lower().removeprefix(".") for path in paths})),
        pixel_format="rgb24",
        width=width,
        height=height,
        rotation=0,
        mirrored=False,
        pixel_aspect=1.0,
        frames=frames,
        frames_claimed=len(paths),
        frame_rate=float(images.info.frame_rate),
        variable_rate=False,
        shortest_frame_s=interval if len(paths) > 1 else None,
        longest_frame_s=interval if len(paths) > 1 else None,
        duration_s=len(paths) * interval,
        start_s=0.0,
        interlaced=False,
        sizes=1,
        video_streams=0,
        audio=(),
        damage=images.damage.so_far,
    )


def _seconds(interval: Fraction | None) -> float | None:
    return None if interval is None else float(interval)
