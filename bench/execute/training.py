"""What Lightning trains: a module that wraps a method, and owns steps, phases, counts and checkpoints.

Optimization is manual in Lightning's sense: its counters count optimizer calls, so that whoever has an inner loop or
two optimizers would be miscounted. Here a step is a batch of the schedule, whatever a method makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningModule
from torch import Tensor

from bench.core.errors import UserError
from bench.execute.draws import drawn
from bench.execute.phases import Phase, Span, spans
from bench.execute.step import Step
from bench.execute.updates import Updates

if TYPE_CHECKING:
    from torch.amp.grad_scaler import GradScaler

    from bench.execute.batch import Batch
    from bench.execute.data import Data
    from bench.execute.method import Method


def phases_of(method: Method, steps: int, trial: bool = False) -> tuple[Span, ...]:
    """The phases of a run: the method's own, the objective's or the adaptation's, else one in which all trains.

    A `trial` has a step for each phase at least.
    """
    given = [(part, part.phases(steps)) for part in (method, method.objective, method.adaptation)]
    own = [(type(part).__name__, phases) for part, phases in given if phases]
    if len(own) > 1:
        raise UserError(f"{' and '.join(name for name, _ in own)} both divide the run into phases; only one part can.")
    name, phases = own[0] if own else (method.info.method, [Phase("train")])
    for phase in phases:
        if phase.closed_form and (not method.phases(steps) or not _overrides(method, "solve")):
            raise UserError(
                f"{name}: the closed-form phase {phase.name!r} needs a method that has it and says how: solve()."
            )
    least = sum(not phase.closed_form for phase in phases)
    return spans(phases, max(steps, least) if trial else steps, name)


def _overrides(method: Method, hook: str) -> bool:
    from bench.execute.method import Method as Base

    return getattr(type(method), hook) is not getattr(Base, hook)


def _check_pieces(method: Method) -> None:
    """UserError where the loss of a step is no mean over its rows, so that it cannot be cut."""
    silent = [] if method.objective.micro_batches else [type(method.objective).__name__]
    for kind in type(method).__mro__:  # a class with a loss of its own says itself whether pieces will do
        if "micro_batches" in vars(kind) or "loss" in vars(kind):
            silent += [] if vars(kind).get("micro_batches") else [kind.__name__]
            break
    if silent:
        raise UserError(
            f"{method.info.method} looks at all rows of a step together ({silent[0]} does not say "
            "micro_batches = True): run it without --micro-batch."
        )


class Training(LightningModule):
    """A method under the harness's own step."""

    def __init__(self, method: Method, found: Sequence[Span], data: Data, micro_batch: int | None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.method, self.spans, self.data = method, tuple(found), data
        self.total = max((span.stop for span in self.spans), default=0)
        self.done = 0  # steps behind
        self.stopped: str | None = None  # the rule that ended training early
        self.closed: list[str] = []  # closed-form phases behind
        self.scaler: GradScaler | None = None
        self._micro_batch = micro_batch
        self._updates: Updates | None = None
        self._span: Span | None = None
        self._counts: dict[str, dict[str, list[int]]] = {}  # phase -> optimizer -> updates, skipped ones
        self._loss: Tensor | None = None
        self._predicted_at: int | None = None
        method.limit([span.phase for span in self.spans])
        if micro_batch is not None:
            _check_pieces(method)

    # -- phases

    def start(self, state: Mapping[str, Any] | None) -> None:
        """Begin, or go on from a checkpoint's `state`; the method is on its device and holds what was kept."""
        if state is None:
            self._solve()
        else:
            self.done, self._counts, self.closed = state["done"], state["counts"], list(state["closed"])
            self.stopped, self._predicted_at = state["stopped"], state["predicted_at"]
            if self.scaler is not None and state["updates"]["scaler"]:
                self.scaler.load_state_dict(state["updates"]["scaler"])
        span = self.span()
        if span is None or self.over():
            return
        if state is None or self.done == span.start:
            self._enter(span)
        else:
            self.method.enter(span.phase)
            self._optimize(span)
            assert self._updates is not None
            self._updates.load_state_dict(state["updates"])

    def span(self) -> Span | None:
        """Where the next step lies; None at the end."""
        return next((span for span in self.spans if span.start <= self.done < span.stop), None)

    def candidate(self) -> bool:
        """Whether the present state may be selected: in the last phase that trains, and no closed-form one to come."""
        solved = all(span.phase.name in self.closed for span in self.spans if span.phase.closed_form)
        return solved and (self._span is None or self._span.stop == self.total)

    def _enter(self, span: Span) -> None:
        """Begin a phase: its parts are told, what moves is decided, its optimizers are made."""
        method, name = self.method, span.phase.name
        self._remember()
        method.release()
        info = method.info
        before = dict(method.trainable)
        with drawn("method", *info.own, "phase", name, device=method.device):
            for part in (method.adaptation, method.objective, method):
                part.begin(name)
        for parameter_name, parameter in method.named_parameters():
            if parameter is before.get(parameter_name) and not parameter.requires_grad:
                raise UserError(
                    f"begin({name!r}) froze {parameter_name}; what moves in a phase is said by Phase.train."
                )
        method.settle()
        method.enter(span.phase)
        self._optimize(span)

    def _optimize(self, span: Span) -> None:
        declared = self.method.blueprint.slot("optimizer")
        self._span, self._updates = span, Updates(self.method, declared, span, self.scaler)
        self.method.train()

    def _solve(self) -> None:
        """Carry out the closed-form phases that stand before the next step."""
        for span in self.spans:
            due = span.start == self.done or (span.start > self.done and self.stopped is not None)
            if span.phase.closed_form and due and span.phase.name not in self.closed:
                info, device = self.method.info, self.method.device
                with drawn("method", *info.own, "phase", span.phase.name, device=device):
                    self.method.solve(span.phase.name, self.data)
                self.method.to(device)
                self.closed.append(span.phase.name)

    # -- Lightning's hooks

    def configure_optimizers(self) -> None:
        """None: optimizers are made when a phase begins."""

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device)

    def on_train_start(self) -> None:
        self.method.train()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        if batch.step != self.done:
            raise RuntimeError(f"the loader gives step {batch.step} where step {self.done} is due")
        span = self.span()
        assert span is not None
        if span is not self._span:
            self._enter(span)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step: the adaptation's and the objective's updates."""
        assert self._span is not None
        assert self._updates is not None
        span, method = self._span, self.method
        step = Step(
            method, self._updates, batch, self.total, span.phase.name, batch.step - span.start, self._micro_batch
        )
        step.open()
        method.adaptation.before_step(step)
        step.between()
        method.penalised = False
        method.objective.update(method, batch, step)
        self._check_penalty()
        step.close()
        method.adaptation.after_step(step)
        method.after_step(step)
        self.done += 1
        self._loss = step.loss
        if step.stopped is not None:
            if span.stop != self.total:
                raise RuntimeError(
                    f"{step.stopped!r} ends the phase {span.phase.name!r}; only the last may be ended early"
                )
            self.stopped = step.stopped

    def end_step(self) -> None:
        """After a step, outside Lightning's autocast: closed-form phases that are due now."""
        if self._span is not None and (self.done == self._span.stop or self.over()):
            self._solve()

    def before_prediction(self) -> None:
        """Let the method make what follows from its weights, once for each state of them."""
        if self._predicted_at != self.done:
            info = self.method.info
            with drawn("method", *info.own, "before", device=self.method.device):
                self.method.before_prediction(self.data)
            self._predicted_at = self.done

    def over(self) -> bool:
        """Whether no step is left."""
        return self.done == self.total or self.stopped is not None

    def _check_penalty(self) -> None:
        """An update that leaves out what the adaptation adds to the loss trains another method."""
        if self.method.penalised or self._updates is None or "main" not in self._updates.applied:
            return
        with torch.no_grad():
            forgotten = self.method.adaptation.penalty() is not None
        if forgotten:
            raise RuntimeError(
                f"{type(self.method.objective).__name__}.update leaves out the adaptation's penalty; it uses "
                "method.loss(part), or adds method.penalty()"
            )

    def loss(self) -> float | None:
        """The last step's loss; None where no pass went backward into `main`."""
        return None if self._loss is None else float(self._loss)

    # -- counts and state

    def counts(self) -> dict[str, Any]:
        """What a record says of the updates: those of each optimizer in each phase, and those a scaler skipped."""
        self._remember()
        updates = {phase: {name: made for name, (made, _) in each.items()} for phase, each in self._counts.items()}
        return {
            "steps": self.done,
            "declared_steps": self.total,
            "updates": updates,
            "skipped_updates": sum(skipped for each in self._counts.values() for _, skipped in each.values()),
            "closed_form": list(self.closed),
            "stopped_by": self.stopped,
        }

    def check(self) -> None:
        """RuntimeError for a fit that did less than its declaration says."""
        if not self.over():
            raise RuntimeError(f"the fit made {self.done} of its {self.total} steps")
        self._remember()
        made: dict[str, int] = {}
        for each in self._counts.values():
            for name, counts in each.items():
                made[name] = made.get(name, 0) + sum(counts)
        if (never := [name for name, count in made.items() if not count]) and self.stopped is None:
            raise RuntimeError(f"the optimizer {never[0]!r} was never applied")
        closed = [span.phase.name for span in self.spans if span.phase.closed_form]
        if missing := [name for name in closed if name not in self.closed]:
            raise RuntimeError(f"the closed-form phase {missing[0]!r} was not carried out")

    def _remember(self) -> None:
        if self._span is not None and self._updates is not None:
            self._counts[self._span.phase.name] = self._updates.counts()

    def state(self) -> dict[str, Any]:
        """What a run goes on from, beside what its callback keeps."""
        assert self._updates is not None
        self._remember()
        return {
            "done": self.done,
            "counts": self._counts,
            "closed": list(self.closed),
            "stopped": self.stopped,
            "predicted_at": self._predicted_at,
            "updates": self._updates.state_dict(),
            "method": self.method.resume_state(),
            "shapes": self.method.shapes(),
        }
