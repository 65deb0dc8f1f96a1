"""The optimizers of a phase, by name: their parameters, rates, clipping, counts and state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from bench.core.errors import UserError, nearest
from bench.execute.groups import parameter_groups
from bench.execute.optimizer import make_optimizer, make_schedule, optimizer_class
from bench.execute.step import unknown_optimizer

if TYPE_CHECKING:
    from bench.execute.method import Method
    from bench.execute.phases import Span

_KEYS = ("optimizer", "lr", "head_lr", "weight_decay", "schedule", "schedule_params", "warmup", "clip", "options")


@dataclass
class Entry:
    """One named optimizer."""

    name: str
    optimizer: Optimizer
    parameters: list[nn.Parameter]
    factor: Callable[[int], float]
    clip: float | None
    updates: int = 0  # counted by the optimizer itself, whoever calls it
    skipped: int = 0  # by the scaler of half precision, for gradients that overflowed
    applied: int = 0  # of these, those that went through the step
    spent: bool = False  # its gradients were used


class Updates:
    """What a step updates by. Made when a phase begins; its state is in checkpoints."""

    def __init__(self, method: Method, declared: Mapping[str, Any], span: Span, scaler: GradScaler | None) -> None:
        self.scaler = scaler
        self.applied: list[str] = []  # in this step, in order
        self._unscaled: set[str] = set()
        self.entries: dict[str, Entry] = {}
        declared = {**declared, **_checked(span.phase.optimizer, f"The phase {span.phase.name!r}")}
        for name, own in _named(method, declared):
            parameters = own.pop("params", None)
            settings = {**declared, **own, "params": own.pop("options", declared.get("params"))}
            self.entries[name] = self._make(method, name, settings, parameters, span.steps)

    def _make(
        self, method: Method, name: str, settings: Mapping[str, Any], parameters: list[nn.Parameter] | None, steps: int
    ) -> Entry:
        kind = optimizer_class(settings["optimizer"], method.blueprint.homes.get("optimizer"))
        groups = parameter_groups(method, settings, parameters, getattr(kind, "grouped", False))
        trained = [parameter for group in groups for parameter in group["params"]]
        if not trained:
            raise UserError(
                f"{method.info.method} trains no parameters" + (f" by {name!r}" if name != "main" else "") + "; "
                "a method that fits in closed form says so in its phases()."
            )
        optimizer = make_optimizer(kind, groups, settings, method.info, method.adaptation.labelled())
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        entry = Entry(name, optimizer, trained, make_schedule(settings, steps), settings.get("clip"))

        def count(*given: Any) -> None:
            entry.updates += 1

        optimizer.register_step_post_hook(count)
        return entry

    def entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise unknown_optimizer(name, list(self.entries))
        return self.entries[name]

    def made(self) -> int:
        """How often anything was updated, or would have been but for the scaler."""
        return sum(entry.updates + entry.skipped for entry in self.entries.values())

    # -- a step

    def open(self, step: int) -> None:
        """Set the rates of a step of the phase, and clear what gradients there are."""
        self.applied = []
        for entry in self.entries.values():
            factor = entry.factor(step)
            for group in entry.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        self.clear(spent=False)

    def clear(self, spent: bool) -> None:
        """Clear all gradients, or those that an update has used."""
        for entry in self.entries.values():
            if entry.spent or not spent:
                entry.optimizer.zero_grad(set_to_none=True)
                entry.spent = False

    def unscale(self, entry: Entry) -> None:
        """Give gradients their size back; once for each update."""
        if self.scaler is None:
            return
        if entry.name in self._unscaled:  # a second update in one step
            self._settle()
        self.scaler.unscale_(entry.optimizer)
        self._unscaled.add(entry.name)

    def apply(self, entry: Entry) -> None:
        """Clip, and let the optimizer take its step."""
        if entry.clip is not None:
            torch.nn.utils.clip_grad_norm_(entry.parameters, entry.clip)
        if self.scaler is None:
            entry.optimizer.step()
        else:
            before = entry.updates
            self.scaler.step(entry.optimizer)
            entry.skipped += entry.updates == before
        entry.applied += 1
        entry.spent = True
        self.applied.append(entry.name)
        torch.clear_autocast_cache()  # or a second forward pass would see the old weights

    def close(self) -> None:
        """The end of a step; RuntimeError for an update that could not be clipped or unscaled as declared."""
        for entry in self.entries.values():
            if entry.updates + entry.skipped > entry.applied and (entry.clip is not None or self.scaler is not None):
                raise RuntimeError(
                    f"the optimizer {entry.name!r} was stepped without step.apply, which alone can clip its gradients "
                    "and undo the scaling of half precision"
                )
        self._settle()

    def _settle(self) -> None:
        if self.scaler is not None and self._unscaled:
            self.scaler.update()
        self._unscaled = set()

    # -- what is kept

    def counts(self) -> dict[str, list[int]]:
        """By each optimizer: its updates, and those that the scaler skipped."""
        return {name: [entry.updates, entry.skipped] for name, entry in self.entries.items()}

    def state_dict(self) -> dict[str, Any]:
        """By name: a checkpoint's optimizers must not be taken for one another."""
        entries = {
            name: {"state": entry.optimizer.state_dict(), "updates": entry.updates, "skipped": entry.skipped}
            for name, entry in self.entries.items()
        }
        return {"entries": entries, "scaler": None if self.scaler is None else self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if set(state["entries"]) != set(self.entries):
            raise RuntimeError(f"the checkpoint has optimizers {sorted(state['entries'])}, not {sorted(self.entries)}")
        for name, entry in self.entries.items():
            kept = state["entries"][name]
            entry.optimizer.load_state_dict(kept["state"])
            entry.updates, entry.skipped = kept["updates"], kept["skipped"]
            entry.applied = entry.updates + entry.skipped
        if self.scaler is not None and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def _named(method: Method, declared: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """`main`, then what the objective and the adaptation declare beside it."""
    extra: dict[str, dict[str, Any]] = {}
    for part in (method.objective, method.adaptation):
        for name, own in part.optimizers(declared).items():
            where = f"{type(part).__name__}.optimizers()[{name!r}]"
            if name in extra or name == "main":
                raise UserError(f"{where}: another optimizer is called {name!r} already.")
            if not own.get("params"):
                raise UserError(f"{where} has no params: the parameters that it trains.")
            extra[name] = {**_checked({key: value for key, value in own.items() if key != "params"}, where)}
            extra[name]["params"] = [one for one in own["params"] if one.requires_grad]
    claimed = {id(parameter) for own in extra.values() for parameter in own["params"]}
    rest = [parameter for parameter in method.trained() if id(parameter) not in claimed]
    if rest or not extra:
        yield "main", {"params": rest}
    for name, own in extra.items():
        if own["params"]:  # in this phase
            yield name, own


def _checked(own: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in own:
        if key not in _KEYS:
            raise UserError(f"{where} sets {key!r}; expected {', '.join(_KEYS)}.{nearest(key, _KEYS)}")
    return dict(own)
