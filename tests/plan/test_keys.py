"""Promise 1: identity is meaning."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.data.access import Access
from bench.plan.grid import again, plan
from bench.plan.run import Run
from bench.plan.why import differences


def one(*arguments: str, **options: Any) -> Run:
    (run,) = plan(arguments or ("scaled=toy/waves",), access=Access.from_environment(), **options)
    return run


def changed(before: Run, after: Run) -> list[str]:
    return [name for name, _, _ in differences(before.spec, after.spec)]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_key_is_known(toy: Path) -> None:
    """Written down: a change here takes the key from every stored result, and must be meant.

    It is one when ENGINE is raised, when the metric's file changes, or when a declared default does.
    """
    assert one().spec["engine"] == 3
    assert one().key == "9a618274bff4bd8e6a79188ae4b28b543f3a956db0d83f93f0b43aa216d7c910"


def test_paths_comments_titles_and_searches_do_not_change_it(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = one().key
    moved = tmp_path / "elsewhere" / "project"
    shutil.copytree(toy, moved)
    monkeypatch.chdir(moved)
    assert one().key == before
    edit(moved / "methods/kinds/scaled.py", '"""W = diag(scale) W0."""', '"""Rows scaled."""  # one number each')
    edit(moved / "methods/kinds/scaled.yaml", "title: Each row", "# a comment\ntitle: Every row")
    edit(moved / "methods/kinds/scaled.yaml", "low: 1.0e-4", "low: 1.0e-5")
    edit(moved / "tasks/toy/waves.yaml", "title: Waves", "title: Many waves")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    assert one().key == before


def test_the_order_of_keys_and_of_parts_does_not_change_it(toy: Path) -> None:
    declared = toy / "tasks/toy/waves.yaml"
    before = one().key
    declared.write_text("\n".join(reversed(declared.read_text().strip().splitlines())) + "\n")
    assert one().key == before


@pytest.mark.parametrize(
    ("argument", "where"),
    [
        ("adaptation.params.start=0.5", "method.adaptation.params.start"),
        ("optimizer.lr=0.5", "method.optimizer.lr"),
        ("task.budget.batch_size=16", "task.budget.batch_size"),
        ("task.selection=last", "task.selection"),
        ("task.source.params.rows=97", "data.params.rows"),
    ],
)
def test_a_parameter_changes_it(toy: Path, argument: str, where: str) -> None:
    assert changed(one(), one("scaled=toy/waves", argument)) == [where]


def test_seed_precision_and_twin_change_it(toy: Path) -> None:
    assert changed(one(), one(seeds=[1])) == ["replicate"]
    assert changed(one(), one(precision="bf16")) == ["precision"]
    assert "twin" in changed(one(), one(twin=True))


def test_saying_the_default_does_not_change_it(toy: Path) -> None:
    assert one("scaled=toy/waves", "adaptation.params.start=1.0").key == one().key
    assert one("scaled=toy/waves", "task.budget.trials=7", "task.budget.seconds=900").key == one().key


@pytest.mark.parametrize(
    ("file", "old", "new", "where"),
    [
        (
            "methods/kinds/scaled.py",
            "self.scale[:, None] *",
            "2 * self.scale[:, None] *",
            "code.methods/kinds/scaled.py",
        ),
        ("methods/kinds/helper.py", "shape[0]", "shape[0] + 0", "code.methods/kinds/helper.py"),
        ("methods/backbones/little.py", "Dropout(0.1)", "Dropout(0.2)", "code.methods/backbones/little.py"),
        ("tasks/toy/make.py", "90 *", "91 *", "code.tasks/toy/make.py"),
    ],
)
def test_an_edit_to_the_code_changes_it_and_is_named(toy: Path, file: str, old: str, new: str, where: str) -> None:
    before = one()
    edit(toy / file, old, new)
    assert changed(before, one()) == [where]


def test_files_of_one_name_in_two_projects_both_count(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's own methods/adapters/lora.py beside the built-in one."""
    (toy / "methods/adapters").mkdir()
    own = toy / "methods/adapters/lora.py"
    own.write_text("class Own:\n    pass\n")
    (toy / "methods/adapters/ownhead.yaml").write_text('title: A head\nhead: {head: "lora:Own"}\n')
    both, alone = one("lora+ownhead=toy/waves"), one("lora=toy/waves")
    name = "methods/adapters/lora.py"
    assert both.spec["code"][name] != alone.spec["code"][name]
    own.write_text("class Own:\n    x = 1\n")
    assert one("lora+ownhead=toy/waves").spec["code"][name] != both.spec["code"][name]


def test_numbers_have_the_form_of_what_they_replace(toy: Path) -> None:
    """A whole number is not another key than the same number with a point, nor reaches a method as another type."""
    whole, point = (
        one("scaled=toy/waves", "adaptation.params.start=2"),
        one("scaled=toy/waves", "adaptation.params.start=2.0"),
    )
    assert whole.key == point.key
    assert isinstance(whole.spec["method"]["adaptation"]["params"]["start"], float)
    assert one("scaled=toy/waves", "optimizer.lr=1").key == one("scaled=toy/waves", "optimizer.lr=1.0").key


def test_identities_are_found_once_in_a_plan(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.plan import fingerprint

    asked: list[str] = []
    real = fingerprint.data_identity
    monkeypatch.setattr(
        fingerprint, "data_identity", lambda task, *more: asked.append(task["name"]) or real(task, *more)
    )
    assert len(plan(["all,scaled=toy/waves"], seeds=range(5), access=Access.from_environment())) == 10
    assert asked == ["toy/waves"]


def test_new_code_means_newly_prepared_data(toy: Path) -> None:
    before = one()
    edit(toy / "tasks/toy/make.py", "90 *", "91 *")
    assert one().data != before.data
    assert one("scaled=toy/waves", "task.budget.batch_size=16").data == one().data


def test_the_metric_s_code_is_in_it(toy: Path) -> None:
    assert "metrics/accuracy.py" in one().spec["code"]


def test_a_request_means_the_same_run_again(toy: Path) -> None:
    from bench.declarations.catalog import Catalog

    run = one("scaled=toy/waves", "adaptation.params.start=0.5", "task.budget.epochs=2", seeds=[4])
    assert again(run.request, Catalog.find(), Access.from_environment()).key == run.key


def test_mistakes_in_the_request_are_sentences(toy: Path) -> None:
    with pytest.raises(UserError, match='"scalde".*Did you mean "scaled"'):
        one("scalde=toy/waves")
    with pytest.raises(UserError, match="toy/wave.*toy/waves"):
        one("scaled=toy/wave")
    with pytest.raises(UserError, match="precision"):
        one(precision="fp8")
    with pytest.raises(UserError, match=r"adaptation.params.strat.*start"):
        one("scaled=toy/waves", "adaptation.params.strat=2")
    with pytest.raises(UserError, match=r"task.budget.batch_size"):
        one("scaled=toy/waves", "task.budget.batch_size=many")


def test_a_mirror_s_bytes_are_in_it_and_a_damaged_file_is_refused(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    import numpy as np

    mirror = tmp_path / "mirror"
    (mirror / "files").mkdir(parents=True)
    file = mirror / "files" / "waves.npz"
    images, labels = np.zeros((12, 8, 8), np.uint8), np.arange(12) % 3
    np.savez(file, train_image=images, train_label=labels, test_image=images, test_label=labels)
    (toy / "tasks/toy/filed.yaml").write_text(
        "title: Waves in a file\nsource: {generator: null, params: null, url: https://example.org/waves.npz, "
        f"sha256: {'ab' * 32}}}\nclasses: [a, b, c]\nmetric: accuracy\n"
    )
    monkeypatch.setenv("BENCH_MIRROR", str(mirror))
    before = one("all=toy/filed")
    assert before.spec["data"] == {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert before.provisional == ("waves.npz comes from a mirror",)
    np.savez(file, train_image=images + 1, train_label=labels, test_image=images, test_label=labels)
    assert changed(before, one("all=toy/filed")) == ["data.sha256"]
    monkeypatch.delenv("BENCH_MIRROR")
    assert one("all=toy/filed").spec["data"] == {"sha256": "ab" * 32}
