"""One video stream as decoded pictures in display order, with the damage counted. Knows containers and packets; knows
nothing of RGB, orientation and which frames are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .clock import Clock, nominal_rate
from .damage import DamageLog

MAX_PIXELS = 2**27
"""A picture of more pixels is refused before memory is taken for it; 15360 x 8640 fits."""

_PROBED_PACKETS = 32  # looked at before the first is decoded, to find the frame rate


class DecodingError(Exception):
    """Why a file gives no pictures at all, in a few words."""


class Decoded(NamedTuple):
    """A picture and when it is shown."""

    frame: VideoFrame
    time: Fraction  # seconds after the first picture


class _DamageSeen(Exception):
    """The stream is not whole; decoding on several threads is no longer to be trusted."""


class Decoding:
    """The first moving video stream of a file.

    Sound files are decoded on all cores. At the first sign of damage the file is opened again and decoded on one
    thread up to where it was: several threads lose whole pictures beside a broken one, and conceal by chance. What
    cannot be opened again (`reopen` is None) is decoded on one thread from the beginning.
    """

    def __init__(self, container: InputContainer, reopen: Callable[[], InputContainer] | None) -> None:
        self._reopen = reopen
        self.damage = DamageLog()
        self._begin(container, threads=0 if reopen else 1)
        self.frame_rate = nominal_rate(self.stream.average_rate, self._probed_stamps())
        self.clock = Clock(self.frame_rate)
        self.first_stamp: Fraction | None = None  # seconds on the file's own clock; known once a picture is out

    def __iter__(self) -> Iterator[Decoded]:
        for frame in self._frames():
            stamp = None if frame.pts is None else frame.pts * self._tick
            if self.first_stamp is None:
                self.first_stamp = stamp or Fraction(0)
            yield Decoded(frame, self.clock.time_of(stamp))

    def close(self) -> None:
        """Release the file; may be called twice."""
        self._container.close()

    def _begin(self, container: InputContainer, threads: int) -> None:
        self._container = container
        self.stream = _moving_stream(container)
        self._tick = self.stream.time_base or Fraction(1)  # seconds
        context = self.stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise DecodingError(f"it claims {context.width} x {context.height} pixels")
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.thread_type = "AUTO" if threads != 1 else "NONE"
        context.thread_count = threads
        self._ahead: deque[av.Packet] = deque()

    def _probed_stamps(self) -> list[Fraction]:
        """Presentation stamps of the first packets, which are kept for decoding."""
        packets = self._container.demux(self.stream)
        try:
            self._ahead.extend(packet for packet in islice(packets, _PROBED_PACKETS) if packet.size)
        except av.FFmpegError:
            pass  # met and counted again in decoding
        return [packet.pts * self._tick for packet in self._ahead if packet.pts is not None]

    def _frames(self) -> Iterator[VideoFrame]:
        handed_out = 0
        if self._reopen is not None:
            try:
                for frame in self._while_whole():
                    yield frame
                    handed_out += 1
                return
            except _DamageSeen:
                self._container.close()
                self._begin(self._reopen(), threads=1)
        yield from islice(self._past_damage(), handed_out, None)

    def _while_whole(self) -> Iterator[VideoFrame]:
        """Pictures as long as nothing is wrong; _DamageSeen at the first sign."""
        newest_in = newest_out = None  # presentation stamps: what went in must come out
        try:
            for packet in self._packets():
                if packet.is_corrupt:
                    raise _DamageSeen
                newest_in = _newest(newest_in, None if packet.is_discard else packet.pts)
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise _DamageSeen
                    newest_out = _newest(newest_out, frame.pts)
                    yield frame
        except av.FFmpegError as error:
            raise _DamageSeen from error
        if newest_in is not None and (newest_out is None or newest_in > newest_out):
            raise _DamageSeen

    def _past_damage(self) -> Iterator[VideoFrame]:
        """Every picture that one thread can decode; what cannot be is counted at the picture that comes next."""
        self._given = 0
        for packet in self._packets_past_damage():
            try:
                frames = packet.decode() if packet else self.stream.decode(None)
            except av.FFmpegError as error:
                self.damage.add(self._given, f"not decodable: {error.strerror}")
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.damage.add(self._given, "decoded with errors")
                yield frame
                self._given += 1

    def _packets(self) -> Iterator[av.Packet]:
        """Packets with content, then one without that makes the decoder give out what it holds back."""
        while self._ahead:
            yield self._ahead.popleft()
        for packet in self._container.demux(self.stream):
            if packet.size or packet.dts is None:
                yield packet

    def _packets_past_damage(self) -> Iterator[av.Packet | None]:
        """Packets as far as the container can be read, None last. A second error without progress ends it."""
        stuck = False
        while True:
            try:
                for packet in self._packets():
                    if packet.size:
                        stuck = False
                        yield packet
                break
            except av.FFmpegError as error:
                self.damage.add(self._given, f"not readable: {error.strerror}")
                if stuck:
                    break
                stuck = True
        yield None


def _moving_stream(container: InputContainer) -> VideoStream:
    """The first video stream that is not a cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise DecodingError(f"it has no video, only {', '.join(kinds)}" if kinds else "it has no video")


def _newest(known: int | None, stamp: int | None) -> int | None:
    return known if stamp is None else stamp if known is None else max(known, stamp)
