"""The folder of a run: which files it holds, and that it belongs to one run only.

config.json          every option, the versions, the size of the data
log.jsonl            a line of numbers every few steps, and one a measurement
curve.png            the same as a picture
state.safetensors    all that a resumption needs
last.safetensors     the averaged weights, as a checkpoint
best.safetensors     those with the highest AP so far; the last ones where nothing is measured
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputExistsError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths, and the log."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def curve(self) -> Path:
        return self.path / "curve.png"

    @property
    def state(self) -> Path:
        return self.path / "state.safetensors"

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    def claim(self, *, resume: bool, overwrite: bool) -> None:
        """Make the folder for this run; OutputExistsError when it holds something and neither flag is given.

        `overwrite` removes the files of an earlier run, and nothing else.
        """
        if overwrite and not resume:
            for file in (self.config, self.log, self.curve, self.state, self.last, self.best):
                file.unlink(missing_ok=True)
        elif not resume and self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise OutputExistsError(
                f"run folder is in use: `{self.path}`",
                hint="continue it with --resume, or begin again with --overwrite",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as e:
            raise OutputExistsError(f"run folder is a file: `{self.path}`", hint="choose another --out") from e

    def write_config(self, config: Mapping[str, Any]) -> None:
        partial = self.config.with_suffix(".partial")
        partial.write_text(json.dumps(config, indent=2) + "\n")
        partial.replace(self.config)

    def append(self, record: Mapping[str, Any]) -> None:
        """One line to the log."""
        with self.log.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """The log so far; the half line of a killed run is left out."""
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("}\n")]

    def rewind(self, step: int) -> None:
        """Drop what the log says about later steps, which are about to be done again."""
        lines = [json.dumps(record) + "\n" for record in self.records() if record["step"] <= step]
        partial = self.log.with_suffix(".partial")
        partial.write_text("".join(lines))
        partial.replace(self.log)
