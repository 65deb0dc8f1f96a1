"""One step of the budget: a batch, and the updates that a method makes of it.

The harness owns the step: it counts, draws, scales, clips and clears; what is computed, and in which order, belongs to
the method (`Objective.update`, `Adaptation.before_step`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.core.errors import nearest
from bench.core.streams import seed
from bench.execute.draws import reseed

if TYPE_CHECKING:
    import numpy as np

    from bench.execute.batch import Batch
    from bench.execute.method import Method
    from bench.execute.updates import Updates


class Step:
    """What a method may do with a batch. `number` counts from 0 over the whole run, `local` over its phase."""

    def __init__(
        self, method: Method, updates: Updates, batch: Batch, total: int, phase: str, local: int, most: int | None
    ) -> None:
        self.method, self.batch = method, batch
        self.number, self.total, self.epoch = batch.step, total, batch.epoch
        self.phase, self.local = phase, local
        self.stopped: str | None = None
        self._updates, self._most, self._passes = updates, most, 0
        self._losses: list[Tensor] = []
        self._made = updates.made()

    # -- what a method calls

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """The phase's optimizers by name, as torch has them."""
        return {name: entry.optimizer for name, entry in self._updates.entries.items()}

    def parts(self, batch: Batch | None = None) -> Iterator[Batch]:
        """The batch (or another one) in pieces as small as was asked for, each with its `share`.

        Before each, dropout and whatever else is drawn in it is seeded by the step, the pass and the piece's first
        row, and the adaptation sees it.
        """
        whole = self.batch if batch is None else batch
        if not len(whole):
            return
        self._passes += 1
        for piece in whole.pieces(self._most):
            self._before(piece)
            yield piece

    def backward(self, loss: Tensor, into: str | Sequence[nn.Parameter] | None = None) -> None:
        """Add the gradients of a loss: to everything it reaches, or to the parameters of one optimizer alone (`into`).

        Gradients that an update of this step has used are cleared first.
        What does not move in the phase is passed over.
        """
        if isinstance(into, str) and into in self._updates.idle:
            return
        self._updates.clear(spent=True)
        if into is None or into == "main":
            self._losses.append(loss.detach())
        wanted = None
        if into is not None:
            given = self.parameters(into) if isinstance(into, str) else into
            wanted = [parameter for parameter in given if parameter.requires_grad]
        scaler = self._updates.scaler
        scaled = loss if scaler is None else scaler.scale(loss)
        # Backward passes inside autocast would compute fp32 gradients in the lower precision.
        with torch.autocast(loss.device.type, enabled=False):
            torch.autograd.backward(scaled, inputs=wanted)

    def apply(self, *names: str) -> None:
        """Update by these optimizers; without names by every one that this step has not applied yet.

        The gradients are unscaled, `Adaptation.after_backward` sees them, they are clipped as declared, and the
        optimizer takes its step.
        """
        for name in names or [name for name in self._updates.entries if name not in self._updates.applied]:
            if name in self._updates.idle:
                continue
            entry = self._updates.entry(name)
            if all(parameter.grad is None for parameter in entry.parameters):
                raise RuntimeError(f"No gradient reached what the optimizer {name!r} trains; nothing can be applied.")
            self._updates.unscale(entry)
            if entry.updates + entry.skipped == 0:
                self.method.adaptation.check_used(entry.parameters)
            with torch.autocast(self.method.device.type, enabled=False):
                self.method.adaptation.after_backward(self, name)
                self._updates.apply(entry)

    def clear(self) -> None:
        """Drop all gradients, as where a first pass only looks for a direction."""
        self._updates.clear(spent=False)
        self._losses.clear()

    def reset(self, name: str = "main", parameters: Sequence[nn.Parameter] | None = None) -> None:
        """Forget what an optimizer remembers (moments, counts), of all its parameters or of some."""
        for parameter in self.parameters(name) if parameters is None else parameters:
            self._updates.entry(name).optimizer.state.pop(parameter, None)

    def parameters(self, name: str = "main") -> list[nn.Parameter]:
        """What an optimizer trains; nothing where it does not move in the phase."""
        return [] if name in self._updates.idle else list(self._updates.entry(name).parameters)

    def generator(self, *coordinates: str | int) -> np.random.Generator:
        """Random numbers of this step, the same however it is cut into pieces."""
        return self.method.info.generator(self.number, *coordinates)

    def stop(self, rule: str) -> None:
        """End the training after this step, in the last phase, by a rule of the method's; the record names it."""
        self.stopped = rule

    # -- what the harness calls

    def open(self) -> None:
        """Before the method's hooks: rates of this step, no gradients, and the batch seen as a whole."""
        self._updates.open(self.local)
        self._before(self.batch)

    def between(self) -> None:
        """Before the objective's update: it sees the batch, whatever passes the adaptation has made."""
        if self._passes:
            self._before(self.batch)

    def close(self) -> None:
        """After them: an error where nothing was updated."""
        self._updates.close()
        if self._updates.made() == self._made:
            raise RuntimeError(
                f"step {self.number + 1} of {self.total} ended without an update; "
                f"{type(self.method.objective).__name__}.update must call step.backward and step.apply"
            )

    @property
    def loss(self) -> Tensor | None:
        """The losses of the step's backward passes, over the number of its updates by `main`; None without one."""
        if not self._losses:
            return None
        return torch.stack([loss.float() for loss in self._losses]).sum() / max(1, self._updates.applied.count("main"))

    def _before(self, batch: Batch) -> None:
        info = self.method.info
        reseed(seed("dropout", *info.own, self.number, int(batch.ids[0]), self._passes))
        self.method.adaptation.context(batch)


def unknown_optimizer(name: str, names: Sequence[str]) -> KeyError:
    """The error for a name that no optimizer of the phase has."""
    return KeyError(f"no optimizer is called {name!r}; this phase has {', '.join(names)}.{nearest(name, names)}")
