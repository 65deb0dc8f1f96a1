"""What the harness costs beside a plain PyTorch loop that does the same work in the same process."""

from __future__ import annotations

import cProfile
import os
import pstats
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.api import carry_out
from bench.data.access import Access
from bench.plan.grid import plan
from bench.plan.run import Run
from bench.store import Store

from .conftest import timed

pytestmark = pytest.mark.perf

WANTED_MS = 30


def loop(run: Run, access: Access) -> tuple[Any, Callable[[], None]]:
    """The run's network, built, and a plain loop over its own batches."""
    from torch.optim import AdamW

    from bench.data.modalities import modality
    from bench.execute.build import build, work_backbone
    from bench.execute.engine import prepared_data
    from bench.execute.groups import parameter_groups
    from bench.execute.loaders import Order, steps_of, training_loader
    from bench.execute.optimizer import make_schedule
    from bench.problems import problem_of

    problem, prepared = problem_of(run.task), prepared_data(run, access)
    pool, seed = prepared.pool(run.replicate), run.replicate
    order = Order(pool["train"], run.task["name"], seed, int(run.task["budget"]["batch_size"]), balanced=False)
    steps = steps_of(run.task["budget"], order.whole.per_epoch)
    method = build(run, work_backbone(run, access), problem, steps)
    declared = run.spec["method"]["optimizer"]
    optimizer = AdamW(parameter_groups(method, declared, None, apart=False))
    factor, rates = make_schedule(declared, steps), [group["lr"] for group in optimizer.param_groups]
    kind = modality(run.task["problem"].partition("-")[0])

    def train() -> None:
        method.train()
        parts = (pool["train"], kind, method.backbone.encoder, run.task, seed, problem, order)
        for batch in training_loader(*parts, steps=steps):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor(batch.step)
            optimizer.zero_grad()
            problem.loss(method(batch.inputs), batch.labels).backward()
            optimizer.step()
        predict(method, pool["val"])  # the one validation that a fit ends with

    return method, train


def predict(method: Any, part: Any) -> None:
    """The outputs for one part."""
    import torch

    from bench.execute.loaders import evaluation_batches

    method.eval()
    with torch.no_grad():
        for _, batch in evaluation_batches(part, method.backbone.encoder):
            method(batch.inputs)


def plainly(run: Run, access: Access) -> None:
    """Build, train, predict validation and test rows."""
    from bench.execute.engine import prepared_data

    method, train = loop(run, access)
    train()
    for part in prepared_data(run, access).tests():
        predict(method, part)


@pytest.fixture
def fresh(toy: Path, tmp_path: Path) -> Callable[..., Iterator[Run]]:
    """Runs of one declaration that differ in their seed."""

    def runs(*arguments: str) -> Iterator[Run]:
        return iter(plan(arguments, seeds=range(200), access=Access.from_environment()))

    return runs


@pytest.mark.parametrize("log", ["csv", "none"])
def test_a_trivial_run(
    fresh: Callable[..., Iterator[Run]],
    tmp_path: Path,
    say: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    log: str,
) -> None:
    from bench.execute.options import Options

    access, options, store = Access.from_environment(), Options(log=(log,)), Store.open(tmp_path / "store")
    left = fresh("all=toy/waves", "task.budget.steps=1", "task.budget.validations=1")

    def harness() -> None:
        assert carry_out([next(left)], store, access, options).failed == {}

    plain = timed(lambda: plainly(next(left), access), 15, 2)
    whole = timed(harness, 15, 2)
    over = 1000 * (whole - plain)
    say(f"a run of one step, log {log}: {1000 * whole:.1f} ms; plain {1000 * plain:.1f} ms")
    say(f"    overhead {over:.1f} ms{'' if over < WANTED_MS else f', over {WANTED_MS} ms'}")
    profile = cProfile.Profile()
    profile.runcall(lambda: [harness() for _ in range(10)])
    for name, taken in largest(profile, 10):
        say(f"    {name:60} {taken:6.2f} ms")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        say(f"    without waiting for the disk (fsync): {1000 * timed(harness, 15, 1):.1f} ms")


PARTS = (
    *("posix.fsync", "_load_external_callbacks", "(execute)", "(prepared_data)", "(pool)", "(build)"),
    *(
        "(work_backbone)",
        "(_trainer)",
        "trainer.py:fit",
        "(_predict)",
        "(_record)",
        "(publish)",
        "(claim)",
        "(enqueue)",
    ),
    *("(provenance)", "(equal_contents)", "(_validate)", "(score)", "_manual_seed_impl", "(make_loggers)", "(remove)"),
    *("format_stack",),
)


def largest(profile: cProfile.Profile, runs: int) -> list[tuple[str, float]]:
    """Named parts of a run by their own and their callees' time, in ms for each run."""
    found: dict[str, float] = {}
    for (file, _, name), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        shown = f"{Path(file).parent.name}/{Path(file).name}:{name}" if file != "~" else name
        asked = any(
            part.strip("()") == name if part.startswith("(") and "bench" in file else part in shown for part in PARTS
        )
        if asked:
            found[shown] = 1000 * cumulative / runs
    return sorted(found.items(), key=lambda item: -item[1])


@pytest.mark.parametrize(
    "arguments",
    [
        ("all=toy/waves", "task.budget.steps=300", "task.budget.validations=1"),
        ("full=demo/digits", "task.budget.steps=40", "task.budget.validations=1"),
        ("lora=demo/digits", "task.budget.steps=40", "task.budget.validations=1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_throughput(
    fresh: Callable[..., Iterator[Run]], tmp_path: Path, say: Callable[[str], None], arguments: tuple[str, ...]
) -> None:
    """Steps a second of the fit alone, on the same batches, one after the other several times."""
    from bench.execute.options import Options

    access, store = Access.from_environment(), Store.open(tmp_path / "store")
    left = fresh(*arguments)
    steps = int(arguments[1].partition("=")[2])
    ratios, rates = [], []
    for _ in range(5):
        run = next(left)
        assert carry_out([run], store, access, Options(log=("none",))).failed == {}
        record = store.record(run.key)
        assert record is not None
        spent = record["cost"]["fit_seconds"]
        _, train = loop(run, access)
        plain = timed(train, 1, 0)
        ratios.append(spent / plain)
        rates.append((steps / spent, steps / plain))
    ratio, (ours, theirs) = sorted(zip(ratios, rates, strict=True))[2]
    say(f"{arguments[0]:18} {ours:7.1f} steps/s; plain {theirs:7.1f} steps/s; {ratio:.2f} times as long")
