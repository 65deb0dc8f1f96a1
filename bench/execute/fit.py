"""The fit of a run: calibration, closed-form phases, and Lightning's loop over the training steps."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from bench.core.errors import Interrupted
from bench.core.streams import seed
from bench.execute.draws import drawn, reseed
from bench.execute.evaluate import PRECISIONS, autocast, evaluating
from bench.execute.groups import published_name
from bench.execute.logs import closing, make_loggers

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from bench.execute.batch import Batch
    from bench.execute.method import Method
    from bench.execute.options import Options
    from bench.execute.training import Training
    from bench.execute.watch import Watch
    from bench.plan.run import Run


@dataclass(frozen=True)
class Fit:
    """What a fit has in hand."""

    run: Run
    folder: Path
    device: torch.device
    options: Options
    training: Training
    watch: Watch
    loader: Callable[[int, int], DataLoader[Batch]]  # of the steps from the first number on, before the second


def fit(work: Fit, kept: Mapping[str, Any] | None) -> dict[str, int]:
    """Train, or go on from what a checkpoint `kept`; the digests of the frozen weights.

    Raises Interrupted when it was asked to stop, also by a signal that Lightning caught.
    """
    training, watch = work.training, work.watch
    method = training.method
    frozen = digests(method)
    watch.begin()
    with _on(work.device, method):
        trainer = _trainer(work)
        training.scaler = getattr(trainer.precision_plugin, "scaler", None)
        if kept is None:
            count = min(method.adaptation.calibration_batches, training.total or method.info.steps)
            calibrate(method, lambda: itertools.islice(work.loader(0, count), count), work.device)
            training.start(None)
        else:
            watch.go_on(kept["watch"])
            method.reshape(kept["training"]["shapes"])
            method.load_trained_state(kept["training"]["method"])
            training.start(kept["training"])
        if not training.over():
            with closing(trainer.loggers), _interruptions():
                trainer.fit(training, train_dataloaders=work.loader(training.done, training.total))
            method.to(work.device)  # Lightning leaves it on the CPU
    training.check()
    check_frozen(method, frozen)
    watch.end()
    return frozen


def calibrate(method: Method, loader: Callable[[], Iterable[Batch]], device: torch.device) -> None:
    """Let the adaptation look at the whole batches of the first steps, in evaluation mode and the run's precision."""
    if not method.adaptation.calibration_batches:
        return
    info = method.info
    frozen = digests(method)

    def batches() -> Iterator[Batch]:
        for batch in loader():
            yield batch.to(device)

    def forward(batch: Batch) -> Tensor:
        reseed(seed("method", *info.own, "calibrate", batch.step))
        with autocast(device, method.precision):
            method.adaptation.context(batch)
            loss: Tensor = method.objective(method, batch)
            return loss

    with drawn("method", *info.own, "calibrate", device=device), evaluating(method):
        method.adaptation.calibrate(batches(), forward)
    method.zero_grad(set_to_none=True)
    check_frozen(method, frozen)
    method.settle()


def digests(method: Method) -> dict[str, int]:
    """A number for the bits of each tensor that stays as published, by its published name."""
    state = method.state_dict()
    return {published_name(name): _digest(state[name]) for name in method.frozen}


def check_frozen(method: Method, before: Mapping[str, int]) -> None:
    """RuntimeError where a frozen tensor is no longer as it was: no record and no checkpoint keeps it."""
    changed = [name for name, digest in digests(method).items() if before.get(name, digest) != digest]
    if changed:
        raise RuntimeError(
            f"the frozen weight {min(changed)} was changed, which no record keeps; a change of it belongs into the "
            "adapter (weight()), as a parameter or with register_state, or the weight must be one that moves"
        )


_WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _digest(tensor: Tensor) -> int:
    """The sum of a tensor's bits, read as whole numbers."""
    bits = tensor.detach().contiguous().flatten().view(_WHOLE[tensor.element_size()])
    return int(bits.sum(dtype=torch.int64))


def _trainer(work: Fit) -> Trainer:
    # Lightning's notices are for people who write its loops by hand; errors still come through.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    device, options = work.device, work.options
    return Trainer(
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[device.type],
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision=PRECISIONS[work.training.method.precision],  # type: ignore[arg-type]
        max_epochs=1,
        logger=make_loggers(options.log, work.folder / "log", work.run, options.group) or False,
        callbacks=[work.watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=work.folder,
    )


@contextmanager
def _on(device: torch.device, method: Method) -> Iterator[None]:
    """Put the method on its device; what is drawn inside does not reach the process's own random state."""
    info = method.info
    with drawn("method", *info.own, "fit", device=device), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        method.to(device)
        yield


@contextmanager
def _interruptions() -> Iterator[None]:
    """Lightning answers Ctrl-C with SystemExit, and SIGTERM with an exception of its own: both are interruptions."""
    try:
        yield
    except SIGTERMException:
        raise Interrupted from None
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise Interrupted from None
        raise
