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
    from bench.execute.phases import Phase, Span

_SLOT = ("optimizer", "lr", "head_lr", "weight_decay", "schedule", "schedule_params", "warmup", "clip")


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
        self.idle: set[str] = set()  # optimizers whose parameters do not move in this phase
        declared = _of_phase(declared, span.phase)
        for name, parameters, own in _named(method, declared):
            if not parameters:
                self.idle.add(name)
                continue
            settings = {**declared, **{key: value for key, value in own.items() if key != "options"}}
            settings["params"] = own.get("options", declared.get("params"))
            self.entries[name] = self._make(method, name, settings, parameters, span.steps)

    def _make(
        self, method: Method, name: str, settings: Mapping[str, Any], parameters: list[nn.Parameter], steps: int
    ) -> Entry:
        kind = optimizer_class(settings["optimizer"], method.blueprint.homes.get("optimizer"))
        groups = parameter_groups(method, settings, parameters, getattr(kind, "grouped", False))
        trained = [parameter for group in groups for parameter in group["params"]]
        optimizer = make_optimizer(kind, groups, settings, method.info, method.adaptation.labelled())
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        entry = Entry(name, optimizer, trained, make_schedule(settings, steps), settings.get("clip"))

        def count(*given: Any) -> None:
            entry.updates += 1

        optimizer.register_step_post_hook(count)
        return entry

    def entry(self, name: str) -> Entry:
        """The optimizer of a name; KeyError for one that the phase does not have."""
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
            _keep_types(entry.optimizer, kept["state"])
            entry.updates, entry.skipped = kept["updates"], kept["skipped"]
            entry.applied = entry.updates + entry.skipped
        if self.scaler is not None and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def _of_phase(declared: Mapping[str, Any], phase: Phase) -> dict[str, Any]:
    """The optimizer slot as a phase changes it; a learning rate of its own is the head's too."""
    own = _checked(phase.optimizer, f"The phase {phase.name!r}", (*_SLOT, "params"))
    return {**declared, **({"head_lr": None} if "lr" in own else {}), **own}


def _named(method: Method, declared: Mapping[str, Any]) -> Iterator[tuple[str, list[nn.Parameter], dict[str, Any]]]:
    """`main`, then what the objective and the adaptation declare beside it: name, what moves of it now, settings."""
    extra: dict[str, tuple[list[nn.Parameter], dict[str, Any]]] = {}
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    claimed: dict[int, str] = {}
    for part in (method.objective, method.adaptation):
        for name, own in part.optimizers(declared).items():
            where = f"{type(part).__name__}.optimizers()[{name!r}]"
            if name in extra or name == "main":
                raise UserError(f"{where}: another optimizer is called {name!r} already.")
            if not own.get("params"):
                raise UserError(f"{where} has no params: the parameters that it trains.")
            for parameter in own["params"]:
                if id(parameter) not in names:
                    raise UserError(f"{where} holds a parameter that is no part of the method; assign it to the part.")
                if id(parameter) in claimed:
                    raise UserError(f"{where} holds {names[id(parameter)]}, which {claimed[id(parameter)]!r} trains.")
                claimed[id(parameter)] = name
            settings = _checked(
                {key: value for key, value in own.items() if key != "params"}, where, (*_SLOT, "options")
            )
            extra[name] = [one for one in own["params"] if one.requires_grad], settings
    rest = [parameter for parameter in method.trained() if id(parameter) not in claimed]
    if not rest and not any(moving for moving, _ in extra.values()):
        raise UserError(
            f"{method.info.method} trains no parameters; a method that fits in closed form says so in its phases()."
        )
    yield "main", rest, {}
    for name, (moving, settings) in extra.items():
        yield name, moving, settings


def _checked(own: Mapping[str, Any], where: str, legal: tuple[str, ...]) -> dict[str, Any]:
    for key in own:
        if key not in legal:
            raise UserError(f"{where} sets {key!r}; expected {', '.join(legal)}.{nearest(key, legal)}")
    return dict(own)


def _keep_types(optimizer: Optimizer, kept: Mapping[str, Any]) -> None:
    """Give a rule's tensors the types that they were kept in: torch casts them to those of the parameters."""
    places = [place for group in kept["param_groups"] for place in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for place, parameter in zip(places, parameters, strict=True):
        for key, value in kept["state"].get(place, {}).items():
            now = optimizer.state[parameter][key]
            if isinstance(value, torch.Tensor) and value.dtype != now.dtype:
                optimizer.state[parameter][key] = value.to(now.device)
