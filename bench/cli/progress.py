"""Live progress of a grid: a bar for the runs, a bar for the steps of the present one, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from bench.core.printable import printable
from bench.select.trials import Trial, best_of

_QUIET_SECONDS = 15.0  # between lines where there is no terminal to draw on


class Shown:
    """Draws on a terminal; writes a line now and then elsewhere. Everything goes to the error stream."""

    def __init__(self, runs: int, what: str = "runs") -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._live = self._console.is_terminal
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),  # labels hold brackets
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._grid = self._bars.add_task(what, total=runs, note="")
        self._run = self._bars.add_task("", total=None, note="", visible=False)
        self._label, self._steps, self._said, self._begun = "", 0, 0.0, 0.0

    def __enter__(self) -> Shown:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, label: str, steps: int, done: int) -> None:
        self._label, self._steps, self._begun = printable(label), steps, time.monotonic()
        self._bars.reset(self._run, total=steps, completed=done, visible=True, description=self._label, note="")
        self._line(f"{self._label}: {steps} steps" + (f", going on from step {done}" if done else ""), force=True)

    def step(self, done: int, loss: float | None, score: float | None) -> None:
        known = f"val {100 * score:.1f}" if score is not None else ""
        if loss is not None:
            known = f"loss {loss:.3f} {known}"
        if known:
            self._bars.update(self._run, note=known)
        self._bars.update(self._run, completed=done)
        if not self._live and time.monotonic() - self._said > _QUIET_SECONDS:
            left = (time.monotonic() - self._begun) / max(1, done) * (self._steps - done)
            self._line(f"{self._label}: step {done} of {self._steps}, about {left:.0f} s left {known}", force=True)

    def phase(self, text: str) -> None:
        self._bars.update(self._run, note=printable(text), visible=True)
        self._line(f"{text} ...")

    def settled(self) -> None:
        """One run of the grid is over."""
        self._bars.advance(self._grid)

    def _line(self, text: str, force: bool = False) -> None:
        if not self._live and (force or time.monotonic() - self._said > 2):
            print(printable(text), file=sys.stderr, flush=True)
            self._said = time.monotonic()


class ShownSweep(Shown):
    """The same for a sweep: the first bar counts the trials of all studies."""

    def __init__(self, trials: int) -> None:
        super().__init__(trials, "trials")
        self._studies: dict[str, int] = {}
        self._first = time.monotonic()
        self._there: int | None = None  # trials that had ended before

    def settled(self) -> None:
        """A run of a trial is over; the study says when the trial is."""

    def study(self, label: str, trials: Sequence[Trial], count: int) -> None:
        """A study stands so, of `count` trials."""
        ended = [one for one in trials if one.state != "running"]
        before = self._studies.get(label)
        self._studies[label] = len(ended)
        total = sum(self._studies.values())
        if self._there is None:
            self._there = total
        best = best_of(trials)
        states = {state: sum(one.state == state for one in ended) for state in ("pruned", "failed")}
        notes = [f"best {100 * best.value:.1f}"] if best and best.value is not None else []
        notes += [f"{number} {state}" for state, number in states.items() if number]
        self._bars.update(self._grid, completed=total, note=f"{printable(label)}: {', '.join(notes)}")
        if ended and before != len(ended):
            spent = (time.monotonic() - self._first) / max(1, total - self._there)
            left = f", about {spent * (count - len(ended)):.0f} s left" if total > self._there else ""
            said = f"{printable(label)}: {len(ended)} of {count} trials, {', '.join(notes)}{left}"
            self._line(said, force=True)
