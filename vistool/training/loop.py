"""The training loop, one for all methods. Knows steps, weights and files; the losses are the method's.

An update is a function of (weights, step): the batch, the augmentation and every random number in the losses are drawn
from the seed and the step. So a run that was killed and resumed ends with the weights of one that was not.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

from ..methods import find_recipe
from ..weights.checkpoint import Checkpoint
from .annotations import read_annotations
from .augment import PIXEL_MEAN, PIXEL_STD, Jitter
from .batches import Batch, BatchMaker, ahead
from .checkpoints import RunState
from .curves import can_draw, draw_curves
from .dataset import ClipReader, ClipSampler
from .export import Exporter, start_network
from .interruption import StopRequest, stop_requests
from .meter import Meter
from .options import TrainOptions, all_settings, fixed_settings
from .parallel import Processes, joined
from .progress import Report, note, progress
from .run_folder import RunFolder
from .schedule import AveragedNetwork, freeze, make_optimiser
from .update import Updater

Measure = Callable[[Checkpoint], Mapping[str, float]]
"""Checkpoint → named numbers, of which AP, a fraction, decides which weights are best."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    step: int
    best_ap: float | None
    stopped_by: signal.Signals | None  # None: it is finished


def train(
    options: TrainOptions,
    *,
    measure: Measure | None = None,
    parent: Checkpoint | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Outcome:
    """Train until `max_steps`, or until the process is asked to stop; the results are in the run folder.

    `parent` gives the weights to start from. `measure` says how good a checkpoint is; without it the last is the best.
    """
    folder = RunFolder(options.out)
    with joined(options.device) as (processes, device):
        options = replace(options, device=device)
        run = _prepare(options, processes, folder, measure, parent)
        if processes.leads:
            folder.claim(resume=resume, overwrite=overwrite)
        state = run.updater.state
        if resume and folder.state.exists():
            state.load(folder.state, fixed_settings(options))
        if processes.leads:
            folder.rewind(state.step)
            note(f"{run.description}, from step {state.step}")
        return run.go()


def _prepare(
    options: TrainOptions,
    processes: Processes,
    folder: RunFolder,
    measure: Measure | None,
    parent: Checkpoint | None,
) -> _Run:
    annotations = read_annotations(options.data)
    recipe = find_recipe(options.method)
    preset, network = start_network(recipe, options, len(annotations.categories), parent)
    freeze(network, options.freeze)
    mean, std = (parent.info.pixel_mean, parent.info.pixel_std) if parent else (PIXEL_MEAN, PIXEL_STD)
    state = RunState(network, AveragedNetwork(network, options.ema), make_optimiser(network, options))
    lengths = tuple(video.length for video in annotations.videos)
    maker = BatchMaker(
        ClipReader(annotations, cache_bytes=int(options.cache_gb * 1e9)),
        ClipSampler(lengths, options.clip_frames, options.clip_range, options.batch, options.seed, options.clip_gap),
        processes.share(options.batch),
        Jitter(
            options.size_hw, (options.scale_min, options.scale_max), options.flip, options.colour, options.scale_draw
        ),
        mean,
        std,
    )
    exporter = Exporter(options, preset, annotations, mean, std, parent)
    size = sum(parameter.numel() for parameter in network.parameters())
    description = f"{options.method} {options.preset}: {size / 1e6:.2f} M parameters, {len(lengths)} videos"
    return _Run(
        options, processes, folder, measure, maker, Updater(options, processes, recipe, state), exporter, description
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """The parts of a run, put together."""

    options: TrainOptions
    processes: Processes
    folder: RunFolder
    measure: Measure | None
    make_batch: Callable[[int], Batch]
    updater: Updater
    exporter: Exporter
    description: str

    def go(self) -> Outcome:
        """Update, log, measure and save until the end or a request to stop."""
        if self.processes.leads:
            self.folder.write_config({"settings": all_settings(self.options), "run": self.description})
            if not can_draw():
                note("no curve.png: matplotlib is not installed (the `train` extra has it)")
        state, last = self.updater.state, self.options.max_steps
        with (
            stop_requests() as request,
            progress(last, shown=self.processes.leads) as report,
            closing(ahead(self.make_batch, state.step, last)) as batches,
        ):
            stopped = self._steps(batches, request, report)
        return Outcome(state.step, state.best_ap, request.signal if stopped else None)

    def _steps(self, batches: Iterator[Batch], request: StopRequest, report: Report) -> bool:
        """All remaining updates; whether they were cut short."""
        state, meter = self.updater.state, Meter()
        while state.step < self.options.max_steps:
            begun = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - begun
            numbers = self.updater.update(batch)
            meter.add(numbers, took_s=time.perf_counter() - begun, waited_s=waited)
            stopped = self.processes.any(request.signal is not None, self.options.device)
            if self.processes.leads:
                report(state.step, meter.words())
                self._account(meter, stopped)
            if stopped:
                return state.step < self.options.max_steps
        return False

    def _account(self, meter: Meter, stopped: bool) -> None:
        """What is due after this step: a line of the log, a measurement, the state, the curve."""
        options, step = self.options, self.updater.state.step
        ends = stopped or step == options.max_steps
        if ends or step % options.log_every == 0:
            self.folder.append(meter.take(step))
        if self.measure and (step == options.max_steps or step % options.val_every == 0):
            self._compare(self.measure)
        if ends or step % options.save_every == 0:
            self._save()
        if can_draw() and (ends or step % options.val_every == 0):
            draw_curves(self.folder.records(), self.folder.curve, self.description)

    def _compare(self, measure: Measure) -> None:
        """Measure the averaged weights, and keep them if none before were better."""
        state = self.updater.state
        candidate = self.exporter.checkpoint(state)
        numbers = dict(measure(candidate))
        self.folder.append({"step": state.step, "val": numbers})
        note(f"step {state.step}: " + ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))
        if state.best_ap is None or numbers["AP"] > state.best_ap:
            state.best_ap, state.best_step = numbers["AP"], state.step
            self.exporter.write(self.folder.best, self.exporter.checkpoint(state, ap=numbers["AP"]))

    def _save(self) -> None:
        """The weights first and the state last: what a kill in between loses is done again, to the same end."""
        state = self.updater.state
        last = self.exporter.checkpoint(state)
        self.exporter.write(self.folder.last, last)
        if self.measure is None:
            self.exporter.write(self.folder.best, last)
        state.save(self.folder.state, fixed_settings(self.options))
