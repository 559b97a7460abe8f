"""Sound of a video file, packet by packet as it is, for another file. Nothing is decoded or encoded again."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from .decoding import Decoding, DecodingError
from .file import open_container


class AudioError(Exception):
    """Why the sound of a file cannot be copied, in a few words."""


class AudioCopy:
    """The first sound of a video file, handed on as a new stream of another file. Holds one packet.

    Times are seconds after the first picture of the source.
    """

    def __init__(self, source: InputContainer, zero: Fraction, stream: AudioStream) -> None:
        self._source = source
        self._zero = zero  # seconds on the source's clock
        self._stream = stream
        self._packets = self._usable_packets(source.streams.audio[0])
        self._ahead = next(self._packets, None)

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

    def packets(self, start_s: float, end_s: float) -> Iterator[av.Packet]:
        """The packets from the last call's end to `end_s`, on a clock that begins at `start_s`; none before that."""
        start = Fraction(start_s)
        while self._ahead is not None:
            packet = self._ahead
            time = packet.pts * packet.time_base - self._zero
            if time >= end_s:
                return
            self._ahead = next(self._packets, None)
            if time >= start:
                shift = round((self._zero + start) / packet.time_base)
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = self._stream
                yield packet

    def close(self) -> None:
        """Release the source; may be called twice."""
        self._source.close()

    def _usable_packets(self, stream: AudioStream) -> Iterator[av.Packet]:
        """Packets in order of time; sound ends where the source cannot be read on."""
        newest = None
        try:
            for packet in self._source.demux(stream):
                if packet.size and packet.pts is not None and packet.dts is not None:
                    if newest is None or packet.dts > newest:
                        newest = packet.dts
                        yield packet
        except av.FFmpegError:
            return


def _first_stamp(path: Path) -> Fraction:
    """When the first picture is shown, in seconds on the file's own clock."""
    decoding = Decoding(open_container(path), reopen=lambda: open_container(path))
    try:
        next(iter(decoding), None)
        return decoding.first_stamp or Fraction(0)
    finally:
        decoding.close()
