"""Every expected failure. The command line prints `error: …`, a blank line and `hint: …`, and exits with the code.

VistoolError          1   whatever has no closer name
├── UsageError        2   options that do not go together, unknown names
├── InputError        4   input missing or undecodable
├── WeightsError      5   weights missing, damaged, offline, or licence not accepted
├── MemoryLimitError  6   out of memory
└── OutputExistsError 7   the output is there already
"""

from __future__ import annotations

from typing import ClassVar


class VistoolError(Exception):
    """An expected failure: `message` says what, which value and why; `hint` what to try. No full stop at the end."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(VistoolError):
    """Options that contradict each other, or a name that is not in its table."""

    exit_code = 2


class InputError(VistoolError):
    """An input is missing, or is not what its place asks for."""

    exit_code = 4


class WeightsError(VistoolError):
    """Weights cannot be found, do not fit, or may not be used."""

    exit_code = 5


class MemoryLimitError(VistoolError):
    """The machine or the device ran out of memory."""

    exit_code = 6


class OutputExistsError(VistoolError):
    """An output is there already and `--overwrite` was not given."""

    exit_code = 7
