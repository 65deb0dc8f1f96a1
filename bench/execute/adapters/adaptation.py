"""The plan by which a whole backbone is adapted.

The engine makes an adaptation from a method's declaration (`make_adaptation`), seeds torch's global
generator, calls `attach`, and then its hooks: `calibrate` once, `begin` with each phase, `before_step`, `context`
before each forward pass, `penalty` with each loss, `after_backward` before each update, `check_used` before the first,
`after_step`, and `merge` at the end. The backbone belongs to the caller: an adaptation holds it by reference, and owns
nothing but what it adds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.execute.adapters.adapter import Adapter, patch, unpatch
from bench.execute.adapters.interchange import save_peft
from bench.execute.adapters.targets import Site, Targets, resolve
from bench.execute.adapters.training import moving, plain
from bench.execute.parts import Part, ready, resume_only

if TYPE_CHECKING:
    from bench.execute.batch import Batch, Rows
    from bench.execute.phases import Phase
    from bench.execute.step import Step


class Adaptation(Part):
    """The default plan: one Adapter on each target, and the backbone's own parameters as `train` says.

    A plan of another kind overrides `setup` (its params), `build` (which modules it adds: pools shared by
    layers are assigned to `self`, once; adapters go through `add`) and the hooks it needs.
    """

    slot = "adaptation"
    calibration_batches: int = 0  # of how many steps `calibrate` wants the batches

    def __init__(
        self,
        backbone: nn.Module,
        *,
        adapter: type[Adapter] | None = None,
        train: str | Sequence[str] = "none",
        params: Mapping[str, Any] | None = None,
        targets: Targets | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        nn.Module.__init__(self)
        self._backbone = (backbone,)  # in a tuple, so that it is not registered as a part of this module
        self.adapter_class, self.train_spec = adapter, train
        self.params, self.targets, self.groups = dict(params or {}), targets, dict(groups or {})
        self.adapters = nn.ModuleList()
        self.moving: list[str] = []
        self.state = "new"  # then "attached", then "merged"
        if adapter is None:
            self._take(self.params)

    @property
    def backbone(self) -> nn.Module:
        return self._backbone[0]

    # -- hooks, in the order in which the engine calls them

    def attach(self) -> None:
        """Freeze the backbone, add what is trained, and put the adapters in place.

        Draws from torch's global generator only, which the caller has seeded; a call under the same seed and
        on the same backbone makes the same adaptation.
        """
        if self.state != "new":
            raise RuntimeError("an adaptation is attached once")
        self.moving = moving(self.backbone, self.train_spec)
        for parameter in self.backbone.parameters():
            parameter.requires_grad_(False)
        parameters = dict(self.backbone.named_parameters())
        for name in self.moving:
            parameters[name].requires_grad_(True)
        with torch.no_grad():  # a layer may move beside its adapter
            self.build()
        for adapters in self._by_layer():
            patch(adapters)
            for adapter in adapters:
                adapter.used = False
        self.state = "attached"

    def build(self) -> None:
        """Make the adapters; the default puts one of the declared class on each target."""
        if self.adapter_class is not None:
            for site in self.sites():
                self.add(self.adapter_class(site, **self.params))

    def calibrate(self, batches: Iterable[Batch], forward: Callable[[Batch], Tensor]) -> None:
        """Look at the training batches of the first `calibration_batches` steps before training.

        On the device, whole, in evaluation mode; `forward` gives a batch's loss, with the adaptation's context and in
        the precision of training. What is learnt here must stand in the state that is kept (parameters,
        `register_state`, `shapes`), for neither a resumed run nor an export looks again.
        """

    def shapes(self) -> dict[str, Any] | None:
        """What `calibrate` or `begin` changed of the shape, in JSON; None where it is as it was built."""
        return None

    def reshape(self, shapes: Mapping[str, Any]) -> None:
        """Take the shape that `shapes` described, without data; the values of what is kept are loaded afterwards."""
        raise NotImplementedError(f"{type(self).__name__} says its shapes() and does not say how to reshape()")

    def phases(self, steps: int) -> list[Phase]:
        """The phases of a run of `steps`, where the adaptation divides it; [] where it does not."""
        return []

    def optimizers(self, declared: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Optimizers beside `main`, as `Objective.optimizers`."""
        return {}

    def before_step(self, step: Step) -> None:
        """Before the objective's update. It may change what is trained, and make updates of its own (`step.batch`)."""
        for adapter in self._adapters():
            adapter.before_step(step)

    def context(self, batch: Rows) -> None:
        """See rows, on the device, before the backbone does, in training and in prediction."""
        for adapter in self._adapters():
            adapter.context(batch)

    def penalty(self) -> Tensor | None:
        """The sum of the adapters' penalties, to be added to the loss; None where there is none."""
        penalties = [penalty for adapter in self._adapters() if (penalty := adapter.penalty()) is not None]
        return torch.stack(penalties).sum() if penalties else None

    def after_backward(self, step: Step, name: str) -> None:
        """After the gradients for an update by the optimizer `name` are complete, before they are clipped and used."""

    def after_step(self, step: Step) -> None:
        """After the updates of a step, while the gradients that they used are still there."""

    def check_used(self, parameters: Iterable[nn.Parameter] | None = None) -> None:
        """Before the first update by `parameters`: UserError for an adapter that was bypassed or has no gradient.

        A network that reads a layer's weight and never calls the layer would otherwise train nothing, in
        silence.
        """
        ids = {id(parameter) for parameter in (self.parameters() if parameters is None else parameters)}
        unused = []
        for adapter in self._adapters():
            own = [id(parameter) for parameter in adapter.parameters()]
            if not adapter.used and (not own or any(one in ids for one in own)):
                unused.append(adapter.site.label)
        if unused:
            raise UserError(
                f"The backbone never calls {_listed(unused)}: the layer is not used, or its weight is read "
                "directly, so that an adapter on it does nothing; leave it out of the targets."
            )
        without = [
            name for name, part in self.named_added() if part.requires_grad and part.grad is None and id(part) in ids
        ]
        if without:
            raise UserError(f"No gradient reached {_listed(without)}; what is trained must move the output.")

    @torch.no_grad()
    def merge(self) -> None:
        """Write every adapter's weight and bias into its layer and take the adapters out of the network.

        The adapters keep their parameters, so `trained_state` stays as it was. UserError where one cannot
        merge.
        """
        if self.state != "attached":
            raise RuntimeError("only an attached adaptation can be merged, and only once")
        for adapter in self._adapters():
            if not adapter.mergeable:
                raise UserError(f"{type(adapter).__name__} depends on the input and cannot be merged into the weights.")
        values = [(adapter.site, adapter.weight().clone(), adapter.bias()) for adapter in self._adapters()]
        for adapters in self._by_layer():
            unpatch(adapters[0].site)
        for site, weight, bias in values:
            site.layer.write(site.rows, weight, bias)
        self.state = "merged"

    @property
    def mergeable(self) -> bool:
        return all(adapter.mergeable for adapter in self._adapters())

    # -- what is trained

    def param_groups(self, optimizer: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Optimizer groups of its own ({"params", "lr", ...}), made from the declared `optimizer` slot.

        Parameters in none of them follow the method's optimizer.
        """
        return []

    def named_added(self) -> list[tuple[str, nn.Parameter]]:
        """Every parameter this adaptation added, each once, under the name it is saved by."""
        return [(self._name(name), parameter) for name, parameter in self.named_parameters()]

    def named_trained(self) -> list[tuple[str, nn.Parameter]]:
        """Every parameter that is trained, added or the backbone's own, each once, by its saved name."""
        parameters = {plain(name): parameter for name, parameter in self.backbone.named_parameters()}
        trained = [(f"backbone.{name}", parameters[name]) for name in self.moving]
        trained += [(name, part) for name, part in self.named_added() if part.requires_grad]
        once = {id(part): (name, part) for name, part in reversed(trained)}
        return list(once.values())[::-1]

    def trained_names(self) -> list[str]:
        return [name for name, _ in self.named_trained()]

    def trained_state(self) -> dict[str, Tensor]:
        """What was trained and nothing else, detached: parameters, and the adapters' persistent buffers.

        `adapter.PATH[ROWS].NAME` for what belongs to an adapter, `adaptation.NAME` for what they share,
        `backbone.NAME` for the backbone's own. The state of normalisation layers is the engine's affair.
        """
        return {name: tensor.detach() for name, tensor in self._state()}

    @torch.no_grad()
    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back a `trained_state` of an adaptation attached alike; UserError if it does not fit."""
        own = dict(self._state())
        strange = sorted(set(own).symmetric_difference(state))
        if strange:
            where = "is missing from" if strange[0] in own else "has no place in"
            raise UserError(
                f"The saved state does not fit: {strange[0]} {where} this adaptation ({len(strange)} such)."
            )
        for name, tensor in own.items():
            if tensor.shape != state[name].shape:
                shapes = f"{tuple(state[name].shape)} and not {tuple(tensor.shape)}"
                raise UserError(f"The saved state does not fit: {name} is {shapes}.")
            tensor.copy_(state[name])

    def save_adapter(self, folder: Path, name_or_path: str | None = None) -> bool:
        """Write a folder that `PeftModel.from_pretrained` opens on the plain backbone.

        False, and nothing written, where peft has no form for these adapters.
        """
        modules = [path for path, _ in self.backbone.named_modules()]
        return save_peft(folder, list(self._adapters()), modules, name_or_path)

    # -- for plans of another kind

    def sites(self) -> list[Site]:
        """The sites that the declared targets name."""
        if self.targets is None:
            raise UserError("The adaptation names no targets; write a group such as attention, or a list of patterns.")
        return resolve(self.backbone, self.targets, self.groups)

    def add(self, adapter: Adapter) -> Adapter:
        """Own `adapter`, bound and built; it is put in place at the end of `attach`."""
        self.adapters.append(ready(adapter, self.info))
        return adapter

    def keep(self, labels: Iterable[str]) -> None:
        """Take every adapter out of the network whose site has another label; its layer is as it was before."""
        kept = set(labels)
        for adapters in self._by_layer():
            left = [adapter for adapter in adapters if adapter.site.label in kept]
            if len(left) < len(adapters):
                unpatch(adapters[0].site)
                if left:
                    patch(left)
        self.adapters = nn.ModuleList(adapter for adapter in self._adapters() if adapter.site.label in kept)

    def labelled(self) -> dict[str, Adapter]:
        """The adapters by the labels of their sites."""
        return {adapter.site.label: adapter for adapter in self._adapters()}

    def adapter_label(self, name: str) -> str | None:
        """The label of the adapter that a parameter of the method belongs to (`adaptation.adapters.3.A`), if any."""
        found = re.match(r"adaptation\.adapters\.(\d+)\.", name)
        return None if found is None else str(self.adapters[int(found[1])].site.label)  # type: ignore[union-attr]

    def _adapters(self) -> Iterator[Adapter]:
        yield from self.adapters  # type: ignore[misc]

    def _by_layer(self) -> list[list[Adapter]]:
        layers: dict[str, list[Adapter]] = {}
        for adapter in self._adapters():
            layers.setdefault(adapter.site.path, []).append(adapter)
        return list(layers.values())

    def _state(self) -> list[tuple[str, Tensor]]:
        kept = set(self.state_dict(keep_vars=True)) - resume_only(self)
        buffers = [(self._name(name), buffer) for name, buffer in self.named_buffers() if name in kept]
        return [*self.named_trained(), *buffers]

    def _name(self, name: str) -> str:
        """From a name here (`adapters.3.A`) to the saved one (`adapter.blocks.0.attn.qkv[0:64].A`)."""
        head, _, rest = name.partition(".")
        if head != "adapters":
            return f"adaptation.{name}"
        index, _, tail = rest.partition(".")
        return f"adapter.{self.adapters[int(index)].site.label}.{tail}"  # type: ignore[union-attr]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
