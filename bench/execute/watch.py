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
from bench.data.prepare import Part
from bench.execute.checkpoint import FILE, best_name
from bench.execute.evaluate import predict_part
from bench.execute.progress import Progress
from bench.predictions.measure import measure

if TYPE_CHECKING:
    import threading

    from bench.execute.loaders import Batch
    from bench.execute.method import Method

Predictions = dict[str, NDArray[Any]]

_LOGGED = 200  # points of the loss curve


class Watch(Callback):
    """Follows one run's optimizer steps.

    Validation happens at `validations` evenly spaced steps, the last of them the last step; it draws no random
    number that training would, so results do not depend on it.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        validations: int,
        val: Part | None,
        task: Mapping[str, Any],
        precision: str,
        progress: Progress,
        checkpoint_seconds: float,
        stop: threading.Event,
        seconds: float | None,
        report: Callable[[int, float], bool] | None = None,
    ) -> None:
        self._folder, self._steps, self._val, self._task = folder, steps, val, task
        self._precision, self._progress, self._stop = precision, progress, stop
        self._every, self._seconds, self._report = checkpoint_seconds, seconds, report
        self._due = {math.ceil(steps * place / validations) for place in range(1, validations + 1)} if val else set()
        self.history: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None
        self.predicted: dict[str, tuple[int, Predictions]] = {}  # candidate -> step, validation predictions there
        self.fit_seconds = 0.0
        self.done = 0
        self._since = self._written = time.monotonic()

    # Lightning keeps and restores this with its checkpoint.
    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "best": self.best, "fit_seconds": self._elapsed(), "done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history, self.best, self.fit_seconds = state["history"], state["best"], state["fit_seconds"]
        self.done = state["done"]

    def on_train_start(self, trainer: Trainer, method: Any) -> None:
        self._since = self._written = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, method: Any, outputs: Any, batch: Batch, index: int) -> None:
        if (index + 1) % trainer.accumulate_grad_batches:
            return
        method.adaptation.after_step(self.done, self._steps)
        self.done += 1
        loss = self._loss(trainer, outputs)
        if self.done in self._due:
            self._validate(trainer, method)
            self._tell_search()
        self._progress.step(self.done, loss, self.history[-1]["score"] if self.history else None)
        if self._stop.is_set() and self.done < self._steps:
            self.checkpoint(trainer)
            raise Interrupted
        if self._seconds is not None and self._elapsed() > self._seconds:
            raise TimeoutError(f"the budget of {self._seconds:g} s ended at step {self.done} of {self._steps}")
        if time.monotonic() - self._written > self._every:
            self.checkpoint(trainer)

    def on_train_end(self, trainer: Trainer, method: Any) -> None:
        self.fit_seconds = self._elapsed()

    def checkpoint(self, trainer: Trainer) -> None:
        """Write what the run goes on from; the best state it names was written before."""
        folder = self._folder / "checkpoint"
        folder.mkdir(exist_ok=True)
        trainer.save_checkpoint(folder / "writing.ckpt")
        (folder / "writing.ckpt").replace(folder / FILE)
        self._written = time.monotonic()
        for file in folder.glob("best-*.safetensors"):
            if file != self.best_file():
                file.unlink()

    def best_file(self) -> Path | None:
        """Where the best state so far is kept."""
        if self.best is None:
            return None
        return self._folder / "checkpoint" / best_name(int(self.best["step"]))

    def _validate(self, trainer: Trainer, method: Method) -> None:
        from safetensors.torch import save_file

        assert self._val is not None
        assert self._val.labels is not None
        predictions = predict_part(method, self._val, self._precision)
        truth = method.blueprint.problem.truth(self._val.labels, self._val.subgroups)
        values = measure(self._task, predictions, truth)
        self.history.append({"step": self.done, **values})
        self.predicted["last"] = (self.done, predictions)
        for logger in trainer.loggers:
            logger.log_metrics({f"val/{name}": value for name, value in values.items()}, self.done)
        if self.best is None or values["score"] > self.best["score"]:
            self.best = {"step": self.done, "score": values["score"]}
            self.predicted["best"] = (self.done, predictions)
            file = self.best_file()
            assert file is not None
            file.parent.mkdir(exist_ok=True)
            save_file(method.trained_state(), file)

    def _tell_search(self) -> None:
        """A search may end the run here; not at its last step, when all of it is paid for."""
        if self._report is None:
            return
        hopeless = self._report(len(self.history), self.history[-1]["score"])
        if hopeless and self.done < self._steps:
            raise Pruned(self.done)

    def _loss(self, trainer: Trainer, outputs: Any) -> float | None:
        """The loss, looked at now and then: looking makes a GPU wait."""
        every = max(1, self._steps // _LOGGED)
        if self.done % every and self.done not in self._due and self.done < self._steps:
            return None
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {self.done}; try a smaller optimizer.lr")
        for logger in trainer.loggers:
            logger.log_metrics({"loss": loss}, self.done)
        return loss

    def _elapsed(self) -> float:
        return self.fit_seconds + (time.monotonic() - self._since)
