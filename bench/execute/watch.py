"""The callback that validates, keeps the best state, writes checkpoints and stops when asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Callback, Trainer
from numpy.typing import NDArray

from bench.core.errors import Interrupted, Pruned
from bench.execute import checkpoint
from bench.execute.evaluate import predict_part
from bench.execute.progress import Progress
from bench.execute.state import write_state
from bench.predictions.measure import measure

if TYPE_CHECKING:
    import threading

    from bench.execute.training import Training

Predictions = dict[str, NDArray[Any]]

_LOGGED = 200  # points of the loss curve


class Watch(Callback):
    """Follows one run's steps.

    Validation happens at `validations` evenly spaced steps, the last of them the last step; it draws no random
    number that training would, so results do not depend on it. The best state is sought in the last phase alone.
    """

    def __init__(
        self,
        folder: Path,
        training: Training,
        validations: int,
        task: Mapping[str, Any],
        progress: Progress,
        checkpoint_seconds: float,
        stop: threading.Event,
        seconds: float | None,
        report: Callable[[int, float], bool] | None = None,
    ) -> None:
        self._folder, self._training, self._task = folder, training, task
        self._progress, self._stop = progress, stop
        self._every, self._seconds, self._report = checkpoint_seconds, seconds, report
        steps = training.total
        self._val = training.data.val
        count = min(steps, validations)
        self._due = {math.ceil(steps * place / count) for place in range(1, count + 1)} if self._val else set()
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, float] | None = None
        self.predicted: dict[str, tuple[int, Predictions]] = {}  # candidate -> step, validation predictions there
        self.fit_seconds = 0.0
        self._since = self._written = time.monotonic()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"history": self.history, "best": self.best, "fit_seconds": self._elapsed()}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.history, self.best, self.fit_seconds = state["history"], state["best"], state["fit_seconds"]

    def begin(self) -> None:
        """The fit begins, with whatever comes before its first step."""
        self._since = self._written = time.monotonic()

    def end(self) -> None:
        """The fit is over."""
        self.fit_seconds = self._elapsed()

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        training = self._training
        training.end_step()
        if training.over():
            trainer.should_stop = True  # also where a rule of the method's ended it
        done = training.done
        loss = self._loss(trainer)
        if done in self._due or (training.over() and self._val):
            self._validate(trainer)
            self._tell_search()
        self._progress.step(done, loss, self.history[-1]["score"] if self.history else None)
        if self._stop.is_set() and not training.over():
            self.checkpoint()
            raise Interrupted
        if self._seconds is not None and self._elapsed() > self._seconds and not training.over():
            raise TimeoutError(f"the budget of {self._seconds:g} s ended at step {done} of {training.total}")
        if time.monotonic() - self._written > self._every:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write what the run goes on from; the best state it names was written before."""
        folder = self._folder / "checkpoint"
        checkpoint.write(folder, self._training.state(), self.state())
        self._written = time.monotonic()
        for file in folder.glob("best-*.safetensors"):
            if file != self.best_file():
                file.unlink()

    def best_file(self) -> Path | None:
        """Where the best state so far is kept."""
        if self.best is None:
            return None
        return self._folder / "checkpoint" / checkpoint.best_name(int(self.best["step"]))

    def _validate(self, trainer: Trainer) -> None:
        assert self._val is not None
        assert self._val.labels is not None
        training, done = self._training, self._training.done
        training.before_prediction()
        predictions = predict_part(training.method, self._val)
        truth = training.method.problem.truth(self._val.labels, self._val.subgroups)
        values = measure(self._task, predictions, truth)
        self.history.append({"step": done, **values})
        for logger in trainer.loggers:
            logger.log_metrics({f"val/{name}": value for name, value in values.items()}, done)
        if not training.candidate():
            return
        self.predicted["last"] = (done, predictions)
        if self.best is None or values["score"] > self.best["score"]:
            self.best = {"step": done, "score": values["score"]}
            self.predicted["best"] = (done, predictions)
            file = self.best_file()
            assert file is not None
            file.parent.mkdir(exist_ok=True)
            write_state(training.method, file)

    def _tell_search(self) -> None:
        """A search may end the run here; not at its last step, when all of it is paid for."""
        if self._report is None:
            return
        hopeless = self._report(len(self.history), self.history[-1]["score"])
        if hopeless and not self._training.over():
            raise Pruned(self._training.done)

    def _loss(self, trainer: Trainer) -> float | None:
        """The loss, looked at now and then: looking makes a GPU wait."""
        done, steps = self._training.done, self._training.total
        if done % max(1, steps // _LOGGED) and done not in self._due and done < steps:
            return None
        loss = self._training.loss()
        if loss is None:
            return None
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {done}; try a smaller optimizer.lr")
        for logger in trainer.loggers:
            logger.log_metrics({"loss": loss}, done)
        return loss

    def _elapsed(self) -> float:
        return self.fit_seconds + (time.monotonic() - self._since)
