"""Where curves go: csv files, TensorBoard, Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.plan.run import Run


def make_loggers(names: Sequence[str], folder: Path, run: Run, group: str | None = None) -> list[Logger]:
    """The loggers of a run, by name; `none` is no logger. `group`: what wandb shows it under."""
    return [made for name in names if (made := _make(name, folder, run, group)) is not None]


@contextmanager
def closing(loggers: Sequence[Logger]) -> Iterator[None]:
    """End each logger's own run when the fit ends, or the next run of a grid would write into it."""
    try:
        yield
    finally:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.finish()


def _make(name: str, folder: Path, run: Run, group: str | None) -> Logger | None:
    if name == "csv":
        return CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1)
    if name == "tensorboard":
        return TensorBoardLogger(folder, name="", version="tensorboard")
    if name == "wandb":
        folder.mkdir(parents=True, exist_ok=True)
        return WandbLogger(
            project="bench",
            name=run.label,
            id=run.key[:16],
            group=group,
            save_dir=folder,
            config=dict(run.spec),
            resume="allow",
        )
    if name == "none":
        return None
    raise UserError(f"--log is {name!r}; expected csv, tensorboard, wandb or none.")
