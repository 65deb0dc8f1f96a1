"""Category discovery: losses as the papers write them, and whole runs."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from bench.core.errors import UserError
from bench.core.loading import load
from bench.data.access import Access
from bench.execute.batch import Batch
from bench.execute.build import build, restore, work_backbone
from bench.execute.engine import prepared_data
from bench.execute.evaluate import predict_part
from bench.execute.parts import Info, ready
from bench.plan.grid import plan
from bench.predictions import load as predictions
from bench.problems import problem_of

from ..conftest import Go

HOME = Path(__file__).parents[2] / "methods" / "discovery"
Array = NDArray[Any]


def named(reference: str) -> Any:
    return load(reference, HOME)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def softmax(row: Array) -> Array:
    shares: Array = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
    return shares


def unit(rows: torch.Tensor) -> Array:
    given = rows.numpy().astype(np.float64)
    long: Array = given / np.linalg.norm(given, axis=1, keepdims=True)
    return long


# ---------------------------------------------------------------- losses, term by term in float64


def info_nce(rows: Array, temperature: float) -> float:
    """-1/2n sum over rows of log exp(z z'/t) / sum over all others of exp(z z/t); z' is the other view."""
    count, total = len(rows) // 2, 0.0
    for place in range(2 * count):
        shares = {other: math.exp(rows[place] @ rows[other] / temperature) for other in range(2 * count)}
        del shares[place]
        total -= math.log(shares[(place + count) % (2 * count)] / sum(shares.values()))
    return total / (2 * count)


def supervised(rows: Array, labels: Array, temperature: float) -> float:
    """Of each row: the mean over the others of its class, in both views, of -log of their share among all others."""
    both, total = np.concatenate([labels, labels]), 0.0
    for place in range(len(rows)):
        others = [other for other in range(len(rows)) if other != place]
        shares = {other: math.exp(rows[place] @ rows[other] / temperature) for other in others}
        alike = [other for other in others if both[other] == both[place]]
        total -= sum(math.log(shares[other] / sum(shares.values())) for other in alike) / len(alike)
    return total / len(rows)


def test_contrastive_losses() -> None:
    projected, labels = random(14, 5), torch.tensor([2, -1, 0, 2, -1, 0, 2])
    rows, known = unit(projected), labels.numpy() >= 0
    found = named("_contrastive:unsupervised")(projected, 1.0)
    assert float(found) == pytest.approx(info_nce(rows, 1.0), rel=1e-5)
    kept = np.concatenate([known, known])
    want = supervised(rows[kept], labels.numpy()[known], 0.07)
    found = named("_contrastive:supervised")(projected[torch.from_numpy(kept)], labels[labels >= 0], 0.07)
    assert float(found) == pytest.approx(want, rel=1e-5)
    both = named("_contrastive:contrast")(projected, labels, 0.35, 1.0, 0.07)
    assert float(both) == pytest.approx(0.65 * info_nce(rows, 1.0) + 0.35 * want, rel=1e-5)


def test_contrast_without_labelled_rows_and_of_one_row() -> None:
    projected = random(6, 4).requires_grad_()
    loss = named("_contrastive:contrast")(projected, torch.full((3,), -1), 0.35, 1.0, 0.07)
    assert loss.item() == pytest.approx(0.65 * info_nce(unit(projected.detach()), 1.0), rel=1e-5)
    one = named("_contrastive:contrast")(projected[:2], torch.tensor([1]), 0.35, 1.0, 0.07)
    assert one.item() == 0
    (loss + one).backward()
    assert projected.grad is not None
    assert torch.isfinite(projected.grad).all()


def test_parametric_losses() -> None:
    student, labels = 3 * random(10, 4), torch.tensor([1, -1, 3, -1, 0])
    teacher, shares = student * 1.7, [softmax(row) for row in student.numpy().astype(np.float64)]
    sharp = [softmax(row) for row in 1.7 * student.numpy().astype(np.float64)]
    crossed = [-(sharp[(place + 5) % 10] * np.log(shares[place])).sum() for place in range(10)]
    assert float(named("simgcd:distillation")(student, teacher)) == pytest.approx(np.mean(crossed), rel=1e-5)
    mean = np.mean(shares, axis=0)
    want = -(mean * np.log(mean)).sum() - math.log(4)
    assert float(named("simgcd:mean_entropy")(student)) == pytest.approx(want, rel=1e-5)
    assert float(named("simgcd:mean_entropy")(torch.zeros(6, 4))) == pytest.approx(0, abs=1e-6)
    both = labels.tolist() * 2
    wrong = [-math.log(shares[place][label]) for place, label in enumerate(both) if label >= 0]
    assert float(named("simgcd:labelled_cross_entropy")(student, labels)) == pytest.approx(np.mean(wrong), rel=1e-5)
    assert float(named("simgcd:labelled_cross_entropy")(student, torch.full((5,), -1))) == 0


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = random(6, 3).requires_grad_(), random(6, 3, seed=1).requires_grad_()
    named("simgcd:distillation")(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None


class Fake(nn.Module):
    """As much of a method as an objective looks at; its backbone is one linear layer."""

    def __init__(self, head: nn.Module, number: str = "known") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone: Any = nn.Linear(6, 8)
        self.head: Any = head
        self.adaptation = SimpleNamespace(context=lambda batch: None)
        self.problem = SimpleNamespace(number=number)


def batch_of(step: int = 0, views: tuple[Any, Any] | None = None) -> Batch:
    first, second = views or (random(6, 6), random(6, 6, seed=1))
    ids = torch.arange(6)
    return Batch(first, ids, torch.tensor([1, -1, 0, -1, 1, -1]), ids * 0, (first, second), step=step)


def part(reference: str, outputs: int = 5, width: int = 8, **params: Any) -> Any:
    """A part that was set up, bound and built."""
    return ready(named(reference)(**params), Info(width=width, outputs=outputs, steps=100))


@pytest.mark.parametrize(("step", "temperature"), [(0, 0.07), (5, 0.06), (15, 0.04), (80, 0.04)])
def test_simgcd_as_the_paper_writes_it(step: int, temperature: float) -> None:
    """The teacher's temperature falls within 15 of 100 steps."""
    method = Fake(part("simgcd:Prototypes", hidden=12, bottleneck=3))
    batch = batch_of(step)
    with torch.no_grad():
        found = float(part("simgcd:SimGCD")(method, batch))
        features = method.backbone(torch.cat(batch.views))
        projected = unit(method.head.project(features))
    cosines = unit(features) @ unit(method.head.weight.detach()).T
    shares = np.array([softmax(row / 0.1) for row in cosines])
    target = np.array([softmax(row / temperature) for row in cosines])
    labels = batch.labels.numpy()
    both = np.concatenate([labels, labels])
    known, mean = both >= 0, shares.mean(axis=0)
    distilled = -(np.roll(target, 6, axis=0) * np.log(shares)).sum(axis=1).mean()
    entropy = -(mean * np.log(mean)).sum() - math.log(5)
    labelled = -np.log(shares[known, both[known]]).mean()
    contrast = 0.65 * info_nce(projected, 1.0) + 0.35 * supervised(projected[known], labels[labels >= 0], 0.07)
    assert found == pytest.approx(0.65 * (distilled - 2 * entropy) + 0.35 * labelled + contrast, rel=1e-4)


def test_gcd_as_the_paper_writes_it() -> None:
    for outputs in (0, 32):
        head = part("gcd:ProjectedCentres", hidden=12, bottleneck=3, projection_outputs=outputs)
        method, batch = Fake(head), batch_of()
        with torch.no_grad():
            found = float(part("gcd:GCD")(method, batch))
            projected = method.head.project(method.backbone(torch.cat(batch.views)))
        assert projected.shape == (12, outputs or 3)
        known = batch.labels.numpy() >= 0
        rows, labels = unit(projected), batch.labels.numpy()[known]
        want = 0.65 * info_nce(rows, 1.0) + 0.35 * supervised(rows[np.concatenate([known, known])], labels, 0.07)
        assert found == pytest.approx(want, rel=1e-4)


def test_two_views_go_through_together_or_apart() -> None:
    """Images as one batch, texts (mappings of tensors) one view after the other; adapters see what the network sees."""

    class Texts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 8)

        def forward(self, inputs: Any) -> torch.Tensor:
            found: torch.Tensor = self.linear(inputs["x"] if isinstance(inputs, dict) else inputs)
            return found

    method, seen = Fake(part("simgcd:Prototypes")), []
    method.backbone = Texts()
    method.adaptation.context = lambda batch: seen.append(batch.inputs)
    first, second = random(3, 6), random(3, 6, seed=1)
    together = named("_contrastive:two_views")(method, batch_of(views=(first, second)))
    apart = named("_contrastive:two_views")(method, batch_of(views=({"x": first}, {"x": second})))
    torch.testing.assert_close(together, apart)
    assert [len(inputs) for inputs in seen] == [6, 1, 1]
    assert seen[2]["x"] is second


def test_prototypes_give_cosines_over_the_temperature() -> None:
    head, features = part("simgcd:Prototypes", 4, 7, temperature=0.25), random(9, 7)
    want = unit(features) @ unit(head.weight.detach()).T / 0.25
    np.testing.assert_allclose(head(features).detach().numpy(), want, atol=1e-5)
    assert part("simgcd:Prototypes", 4, 7, prototypes=9)(features).shape == (9, 9)


def test_objectives_name_what_they_lack() -> None:
    simgcd, gcd = part("simgcd:SimGCD"), part("gcd:GCD")
    with pytest.raises(UserError, match="needs prototypes as a head, not Linear"):
        simgcd(Fake(nn.Linear(8, 5)), batch_of())
    with pytest.raises(UserError, match="needs a head that projects"):
        gcd(Fake(nn.Linear(8, 5)), batch_of())
    with pytest.raises(UserError, match=r"set head\.params\.prototypes"):
        simgcd(Fake(part("simgcd:Prototypes"), number="estimated"), batch_of())
    assert torch.isfinite(simgcd(Fake(part("simgcd:Prototypes", prototypes=6), number="estimated"), batch_of()))


# ---------------------------------------------------------------- whole runs, on the twin


def test_the_last_block_is_the_last_of_the_longest_list() -> None:
    def attached(network: nn.Module) -> set[str]:
        adaptation = named("last_block:LastBlock")(network)
        adaptation.attach()
        return {name for name, parameter in network.named_parameters() if parameter.requires_grad}

    network = nn.ModuleDict(
        {"blocks": nn.ModuleList(nn.Linear(2, 2) for _ in range(11)), "h": nn.ModuleList([nn.Linear(2, 2)])}
    )
    assert attached(network) == {"blocks.10.weight", "blocks.10.bias"}
    assert attached(nn.ModuleDict({"encoder": nn.ModuleDict({"layer": nn.ModuleList([nn.Linear(2, 2)])})})) == {
        "encoder.layer.0.weight",
        "encoder.layer.0.bias",
    }
    with pytest.raises(UserError, match="numbered blocks"):
        attached(nn.Linear(2, 2))


SMALL = ("task.budget.steps=3", "task.budget.batch_size=8")
PROJECTED = ("head.params.hidden=16", "head.params.bottleneck=8")


def restored(go: Go, *arguments: str) -> tuple[Any, Any, Any, Any]:
    """A run, its record, and what its kept state predicts against what was saved."""
    store, (row,) = go(*arguments, twin=True)
    assert row["state"] == "done", store.error(row["key"])
    (run,) = plan(arguments, twin=True, access=Access.from_environment())
    folder = store.folder(row["key"])
    assert folder is not None
    method = restore(run, folder, Access.from_environment())
    (tests,) = prepared_data(run, Access.from_environment()).tests()
    found = predict_part(method, tests)["logits"]
    kept = predictions(folder, row["selection"]["candidate"], "test")["logits"]
    np.testing.assert_array_equal(found, kept)
    return run, row, method, kept


def test_kmeans_run_takes_no_step(go: Go) -> None:
    run, row, method, kept = restored(go, "kmeans=demo/held-back-digits")
    assert method.head.centres.shape[0] == kept.shape[1] == 10
    assert sum(parameter.requires_grad for parameter in method.parameters()) == 0
    fresh = build(run, work_backbone(run, Access.from_environment()), problem_of(run.task), 1)
    pretrained = fresh.backbone.state_dict()
    assert all(torch.equal(tensor, pretrained[name]) for name, tensor in method.backbone.state_dict().items())
    assert set(method.trained_state()) == {"head.centres"}
    assert set(row["scores"]) == {"discovery-all", "discovery-old", "discovery-new", "score"}


def test_kmeans_run_where_the_number_is_not_known(go: Go) -> None:
    _, _, method, kept = restored(
        go, "kmeans=demo/held-back-digits", "task.number=estimated", "head.params.most=20", "head.params.labelled=true"
    )
    assert 5 <= method.head.centres.shape[0] == kept.shape[1] < 20


def test_gcd_run_keeps_no_projection(go: Go) -> None:
    arguments = ("gcd-kmeans+last-block=demo/held-back-digits", *SMALL, *PROJECTED, "head.params.inits=2")
    run, _, method, _ = restored(go, *arguments)
    state = method.trained_state()
    assert "head.centres" in state
    assert not any("projector" in name for name in state)
    moved = {name for name in state if name.startswith("backbone.")}
    assert moved
    assert all(".blocks.1." in name for name in moved), "the twin has two blocks"
    assert run.task["problem"] == "image-category-discovery"


def test_gcd_run_with_hidden_classes_clusters_at_each_validation(
    go: Go,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that a validation says what the fit would give if it ended there; the record keeps the centres of its step."""
    clustered, steps = named("kmeans:Clustered").cluster, []

    def cluster(method: Any, data: Any) -> None:
        steps.append(float(method.head.centres.sum()))
        clustered(method, data)

    monkeypatch.setattr(named("kmeans:Clustered"), "cluster", cluster)
    run, row, method, _ = restored(
        go, "gcd-kmeans+lora=demo/held-back-digits", *SMALL, *PROJECTED, "head.params.inits=2",
        "task.hidden=2", "task.selection=val", "task.budget.validations=3",
    )  # fmt: skip
    assert len(steps) == 3, "the last predictions are of the weights that were validated last"
    assert row["selection"]["rule"] == "val"
    assert problem_of(run.task).known() == 3
    assert (method.head.centres.norm(dim=1) > 0).all()


def test_simgcd_run(go: Go) -> None:
    _, row, method, kept = restored(go, "simgcd+lora=demo/held-back-digits", *SMALL, *PROJECTED)
    assert row["selection"]["candidate"] == "last"
    assert np.abs(kept).max() <= 10 * (1 + 1e-5), "cosines over a temperature of 0.1"
    assert {"head.weight", "head.projector.0.weight"} <= set(method.trained_state())
    assert kept.shape[1] == 10


def test_discovery_methods_do_nothing_else() -> None:
    with pytest.raises(UserError, match="works on category-discovery"):
        plan(["simgcd=demo/digits"], twin=True, access=Access.from_environment())


def test_fillings_of_one_slot_are_refused() -> None:
    with pytest.raises(UserError, match="both fill the slot"):
        plan(["simgcd+gcd-kmeans=demo/held-back-digits"], twin=True, access=Access.from_environment())


def test_losses_that_compare_rows_refuse_pieces_of_a_step(go: Go) -> None:
    _, rows = go("simgcd+lora=demo/held-back-digits", *SMALL, *PROJECTED, twin=True, micro_batch=4)
    assert rows == []
