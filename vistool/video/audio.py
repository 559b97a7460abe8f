"""Sound of a video file, packet by packet as it is, for another file. Nothing is decoded or encoded again."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from .packets import first_frame_time


class AudioError(Exception):
    """Why the sound of this file cannot be copied; one short reason."""


class AudioCopy:
    """The best sound of `source` as a new stream of `output`. Holds one packet.

    Times are seconds after the first frame of the source's video. Raises AudioError when there is sound that cannot
    be copied, and LookupError when there is none.
    """

    def __init__(self, source: Path, output: av.container.OutputContainer) -> None:
        try:
            self._input = av.open(str(source), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise AudioError(f"`{source}` cannot be opened: {error.strerror}") from error
        try:
            template = self._input.streams.best("audio")
            if template is None:
                raise LookupError("no sound")
            if template.codec_context.name not in output.supported_codecs:
                raise AudioError(f"{output.format.name} cannot hold {template.codec_context.name}")
            self._zero_s = first_frame_time(source)
            self._output_stream = output.add_stream_from_template(template)
        except BaseException:
            self._input.close()
            raise
        self._packets = self._usable(self._input.demux(template))
        self._next: av.Packet | None = None
        self._start_s = Fraction(0)
        self.broken = False  # True once the source's sound has ended early, at damage

    def packets_until(self, time_s: float) -> Iterator[av.Packet]:
        """The packets from where the last call ended up to `time_s`, ready to be muxed."""
        while (packet := self._next or next(self._packets, None)) is not None:
            self._next = packet
            if self._time_of(packet) >= time_s:
                return
            self._next = None
            if self._time_of(packet) >= self._start_s:
                yield self._rebased(packet)

    def start_at(self, time_s: float) -> None:
        """Leave out what comes before `time_s`, which becomes time zero of the output."""
        self._start_s = Fraction(time_s)

    def close(self) -> None:
        self._packets.close()
        self._input.close()
