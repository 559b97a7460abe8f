"""Sound of a video file, packet by packet as it is, for another file. Nothing is decoded or encoded again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from .decoding import Decoding, DecodingError
from .file import open_container


class AudioError(Exception):
    """Why the sound of a file cannot be copied, in a few words."""


class _Stamped(NamedTuple):
    packet: av.Packet[AudioStream]
    time: Fraction  # seconds after the first picture
    pts: int
    dts: int


class AudioCopy:
    """The first sound of a video file, handed on as a new stream of another file. Holds one packet.

    Times are seconds after the first picture of the source.
    """

    def __init__(self, source: InputContainer, zero: Fraction, stream: AudioStream) -> None:
        self._source = source
        self._zero = zero  # seconds on the source's clock
        self._stream = stream
        self._packets = self._usable_packets()
        self._next = next(self._packets, None)

    @classmethod
    def open(cls, path: Path, output: OutputContainer) -> AudioCopy | None:
        """A copy of the sound of `path` into `output`; None where there is no sound, AudioError where it cannot go."""
        try:
            source = open_container(path)
        except (av.FFmpegError, OSError) as error:
            raise AudioError(f"`{path}` cannot be read: {error.strerror}") from error
        try:
            if not source.streams.audio:
                source.close()
                return None
            codec = source.streams.audio[0].codec_context.name
            if codec not in output.supported_codecs:
                raise AudioError(f"{codec} does not go into {output.format.name}")
            return cls(source, _first_stamp(path), output.add_stream_from_template(source.streams.audio[0]))
        except (AudioError, av.FFmpegError, DecodingError) as error:
            source.close()
            raise AudioError(str(error)) from error

    def packets(self, start_s: float, end_s: float) -> Iterator[av.Packet[AudioStream]]:
        """The packets from the last call's end to `end_s`, on a clock that begins at `start_s`; none before that."""
        start = Fraction(start_s)
        while self._next is not None and self._next.time < end_s:
            packet, time, pts, dts = self._next
            self._next = next(self._packets, None)
            if time >= start:
                shift = round((self._zero + start) / packet.time_base)
                packet.pts, packet.dts = pts - shift, dts - shift
                packet.stream = self._stream
                yield packet

    def close(self) -> None:
        """Release the source; may be called twice."""
        self._source.close()

    def _usable_packets(self) -> Iterator[_Stamped]:
        """Packets whose stamps rise; sound ends where the source cannot be read on."""
        newest = None
        with contextlib.suppress(av.FFmpegError):
            for packet in self._source.demux(self._source.streams.audio[0]):
                pts, dts = packet.pts, packet.dts
                if packet.size and pts is not None and dts is not None and (newest is None or dts > newest):
                    newest = dts
                    yield _Stamped(packet, pts * packet.time_base - self._zero, pts, dts)


def _first_stamp(path: Path) -> Fraction:
    """When the first picture is shown, in seconds on the file's own clock."""
    decoding = Decoding(open_container(path), reopen=lambda: open_container(path))
    try:
        next(iter(decoding), None)
        return decoding.first_stamp or Fraction(0)
    finally:
        decoding.close()
