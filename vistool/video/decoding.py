"""One video stream as decoded pictures in display order, with the damage counted. Knows containers and packets; knows
nothing of RGB, orientation and which frames are wanted."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from typing import NamedTuple, cast

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
_TELLS_LENGTH = ("matroska", "flv", "mov")  # formats whose header says how long the whole is
_TOLERATED_S = Fraction(1, 2)  # by which a whole file may end before the length in its header


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

    A file in good order is decoded on all cores. At the first sign of damage it is opened again and decoded on one
    thread, from the beginning: several threads lose whole pictures beside a broken one, and conceal differently each
    time. What cannot be opened again (`reopen` is None) is decoded on one thread at once.
    """

    def __init__(self, container: InputContainer, reopen: Callable[[], InputContainer] | None) -> None:
        self._reopen = reopen
        self.damage = DamageLog()
        self._begin(container)
        stamps = self._probe()
        self.frame_rate = nominal_rate(self.stream.average_rate, stamps)
        self._clock = Clock(self.frame_rate)
        self.first_stamp: Fraction | None = None  # seconds on the file's own clock; known once a picture is out

    def __iter__(self) -> Iterator[Decoded]:
        count = 0
        for frame in self._frames():
            count += 1
            stamp = None if frame.pts is None else frame.pts * self._tick
            if self.first_stamp is None:
                self.first_stamp = stamp or Fraction(0)
            yield Decoded(frame, self._clock.time_of(stamp))
        self._check_length(count)

    def close(self) -> None:
        """Release the file; may be called twice."""
        self.container.close()

    def _begin(self, container: InputContainer) -> None:
        self.container = container
        self.stream = _moving_stream(container)
        self._tick = self.stream.time_base or Fraction(1)  # seconds
        self._ahead: deque[av.Packet[VideoStream]] = deque()  # read, to be decoded
        self._end = Fraction(0)  # of what was read, on the file's own clock, in seconds
        self._index = 0  # of the picture that comes next
        context = self.stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise DecodingError(f"it claims {context.width} x {context.height} pixels")

    def _set_up_decoder(self, *, threads: int, conceal: bool) -> None:
        """`threads` is 0 for one a core; without `conceal`, a picture with an error in it is an error."""
        context = self.stream.codec_context
        context.thread_type = "NONE" if threads == 1 else "AUTO"
        context.thread_count = threads
        context.options = {"max_pixels": str(MAX_PIXELS)} | ({} if conceal else {"err_detect": "explode"})

    def _probe(self) -> list[Fraction]:
        """Presentation stamps of the first packets, in seconds; the packets are kept for decoding."""
        with contextlib.suppress(av.FFmpegError):  # met again, and counted, in decoding
            self._ahead.extend(islice(self._demuxed(), _PROBED_PACKETS))
        return [packet.pts * self._tick for packet in self._ahead if packet.pts is not None]

    def _frames(self) -> Iterator[VideoFrame]:
        given = 0
        if self._reopen is not None:
            try:
                for frame in self._while_whole():
                    yield frame
                    given += 1
                return
            except _DamageSeen:
                self.container.close()
                self._begin(self._reopen())
        yield from islice(self._past_damage(), given, None)

    def _while_whole(self) -> Iterator[VideoFrame]:
        """Pictures as long as nothing is wrong; _DamageSeen at the first sign."""
        self._set_up_decoder(threads=0, conceal=False)
        newest_in = newest_out = None  # presentation stamps: what went in must come out
        try:
            for packet in self._packets():
                if packet is not None and packet.is_corrupt:
                    raise _DamageSeen
                if packet is not None and not packet.is_discard:
                    newest_in = _newest(newest_in, packet.pts)
                for frame in self.stream.decode(packet):
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
        self._set_up_decoder(threads=1, conceal=True)
        for packet in self._packets_past_damage():
            try:
                frames = self.stream.decode(packet)
            except av.FFmpegError as error:
                self.damage.add(self._index, f"not decodable: {error.strerror}")
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.damage.add(self._index, "decoded with errors")
                yield frame
                self._index += 1

    def _packets(self) -> Iterator[av.Packet[VideoStream] | None]:
        """Packets in decoding order, then None: give out what is held back."""
        while self._ahead:
            yield self._ahead.popleft()
        yield from self._demuxed()
        yield None

    def _packets_past_damage(self) -> Iterator[av.Packet[VideoStream] | None]:
        """As `_packets`, as far as the container can be read: a second error without progress ends it."""
        stuck = False
        while True:
            try:
                for packet in self._packets():
                    stuck = False
                    yield packet
                return
            except av.FFmpegError as error:
                self.damage.add(self._index, f"not readable: {error.strerror}")
                if stuck:
                    yield None
                    return
                stuck = True

    def _demuxed(self) -> Iterator[av.Packet[VideoStream]]:
        for packet in self.container.demux():
            if not packet.size:
                continue
            if packet.pts is not None:
                self._end = max(self._end, (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base or 0))
            if packet.stream.index == self.stream.index:
                yield cast("av.Packet[VideoStream]", packet)

    def _check_length(self, position: int) -> None:
        """Count it as damage when the file ends long before the length that its header tells."""
        if not self.container.format.name.startswith(_TELLS_LENGTH) or self.container.duration is None:
            return
        claimed = Fraction(self.container.duration, av.time_base)
        if self._end + max(_TOLERATED_S, 2 / self.frame_rate) < claimed:
            self.damage.add(position, f"the file ends after {float(self._end):.2f} s of {float(claimed):.2f} s")


def _moving_stream(container: InputContainer) -> VideoStream:
    """The first video stream that is not a cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise DecodingError(f"it has no video, only {', '.join(kinds)}" if kinds else "it has no video")


def _newest(known: int | None, stamp: int | None) -> int | None:
    return known if stamp is None else stamp if known is None else max(known, stamp)
