"""From a run to its method: the backbone, the four slots around it, everything drawn from its stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.core.loading import load
from bench.execute.adapters import make_adaptation
from bench.execute.backbones import Backbone, Origin, make_backbone
from bench.execute.draws import drawn
from bench.execute.head import Head, LinearHead
from bench.execute.method import Blueprint, Method
from bench.execute.objective import Objective, Standard
from bench.execute.parts import Info, ready
from bench.execute.state import read_header, read_state
from bench.execute.training import phases_of
from bench.problems import Problem, problem_of

# Hooks of Lightning's modules, which methods are not: a method that relies on one would silently be another.
_FOREIGN = (
    "training_step",
    "configure_optimizers",
    "optimizer_step",
    "on_train_batch_start",
    "on_train_epoch_end",
    "fit",
)

if TYPE_CHECKING:
    from bench.data.access import Access
    from bench.plan.run import Run


def build(run: Run, backbone: Backbone, problem: Problem, steps: int, domains: int = 1) -> Method:
    """The method of a run, built around a backbone; `domains` is the number of its training domains."""
    declared = run.spec["method"]
    homes = {slot: home for slot, home in run.homes.items() if slot != "task"}
    info = Info(
        task=str(run.task["name"]),
        method=str(declared["name"]),
        seed=run.replicate,
        steps=steps,
        outputs=problem.outputs(),
        classes=problem.classes(),
        known=problem.known(),
        domains=domains,
        channels=(run.task.get("image") or {}).get("channels"),
        width=backbone.dim,
        tree=problem.tree(),
    )
    return assemble(Blueprint(declared, problem, homes, info), backbone)


def assemble(blueprint: Blueprint, backbone: Backbone) -> Method:
    """Make every part, in the order in which later ones may look at earlier ones.

    The head is drawn from the stream init(task, seed), the same for every method; the rest from
    method(task, seed, method).
    """
    head_class = _class(blueprint, "head", Head, LinearHead, "linear")
    given = {want: backbone.widths(want) for want in head_class.wants}
    info = replace(blueprint.info, widths=given)
    own = info.own
    with drawn("method", *own, "made"):
        method: Method = _class(blueprint, "method", Method, Method)(**_params(blueprint, "method"))
    method.blueprint, method.problem = replace(blueprint, info=info), blueprint.problem
    method.bind(info)
    method.backbone = backbone
    method.published = frozenset(f"backbone.{name}" for name in backbone.state_dict())
    with drawn("init", info.task, info.seed):
        method.head = ready(head_class(**_params(blueprint, "head")), info)
    with drawn("method", *own):
        method.adaptation = make_adaptation(
            backbone.network, blueprint.slot("adaptation"), backbone.groups, blueprint.homes.get("adaptation"), info
        )
        method.adaptation.attach()
        method.objective = ready(
            _class(blueprint, "objective", Objective, Standard)(**_params(blueprint, "objective")), info
        )
        method.build()
    method.settle()
    return method


def _class(blueprint: Blueprint, slot: str, base: type[Any], usual: type[Any], word: str | None = None) -> type[Any]:
    """The declared class of a slot, or the usual one; UserError for what is none of its kind."""
    name = blueprint.slot(slot).get(slot)
    if name is None or name == word:
        return usual
    found = name if isinstance(name, type) else load(str(name), blueprint.homes[slot])
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"{slot}.{slot} names {name!r}, which is not a subclass of bench.{base.__name__}.")
    for hook in _FOREIGN if base is Method else ():
        if hasattr(found, hook):
            raise UserError(f"{found.__name__} defines {hook}, which nothing calls; see Objective.update and phases().")
    return found


def _params(blueprint: Blueprint, slot: str) -> dict[str, Any]:
    return dict(blueprint.slot(slot).get("params") or {})


def method_problem(run: Run) -> Problem:
    """The problem as a method may know it: without the place its data come from."""
    return problem_of({key: value for key, value in run.task.items() if key != "source"})


def work_backbone(run: Run, access: Access) -> Backbone:
    """The run's backbone; random twins are drawn from the task's init stream."""
    home = run.homes.get("backbone") or Path()
    with drawn("init", run.task["name"], run.replicate):
        revision = run.spec["weights"].get("revision")
        return make_backbone(Origin(run.backbone, run.task, home, access, bool(run.spec["twin"]), revision))


def restore(run: Run, folder: Path, access: Access) -> Method:
    """The trained method of a record, on the CPU."""
    file = folder / "trained.safetensors"
    header = read_header(file)
    steps = int(header["steps"])
    method = build(run, work_backbone(run, access), method_problem(run), steps, int(header["domains"]))
    method.limit([span.phase for span in phases_of(method, steps, trial=True)])
    read_state(method, file)
    method.eval()
    return method
