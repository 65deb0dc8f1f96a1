"""A person's mistake is one clear sentence and exit code 2; nothing is half-written, nothing is a traceback.

The fixture `empty` asserts that no store was left with a run in it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.store import Store

from .conftest import SHORT, Cli, key_of

HOME = "${oc.env:HOME}"
TAG = "!!python/object/apply:os.system [id]"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["runn", "all=toy/waves"], "bench has no command 'runn'. Did you mean \"run\"? See bench --help."),
        (["run"], "Missing argument"),
        (["run", "all"], '"all" has no "=": write methods=tasks'),
        (["run", "=toy/waves"], "has nothing left of"),
        (["run", "scaleed=toy/waves"], 'There is no method "scaleed". Did you mean "scaled"?'),
        (["run", "all,,scaled=toy/waves"], "empty name between commas"),
        (["run", "all+all=toy/waves"], "twice"),
        (["run", "z*=toy/waves"], 'The pattern "z*" matches no method.'),
        (["run", "all=toy/wave"], 'There is no task "toy/wave". Did you mean "toy/waves"'),
        (["run", "all=toy"], 'Write "toy/*" for its 2 tasks.'),
        (["run", "all=toy/waves", "--sed", "3"], "No such option '--sed'"),
        (["run", "all=toy/waves", "--seeds", "many"], "--seeds is 'many'; expected a count"),
        (["run", "all=toy/waves", "--seeds", "1000000000"], "expected at most"),
        (["run", "all=toy/waves", "--precision", "8"], "--precision is '8'; expected one of 32, bf16, 16."),
        (["run", "all=toy/waves", "--log", "csvv"], "--log is 'csvv'; expected csv, tensorboard, wandb, none. Did you"),
        (["run", "all=toy/waves", "--workers", "x"], "'x' is not a valid integer. See bench run --help."),
        (["run", "all=toy/waves", "--workers", "-1"], "--workers is -1; expected at least 0."),
        (["run", "all=toy/waves", "--threads", "0"], "--threads is 0; expected at least 1."),
        (["run", "all=toy/waves", "--micro-batch", "0"], "--micro-batch is 0; expected at least 1."),
        (["run", "all=toy/waves", "--device", "gpu"], "--device is 'gpu'; expected auto, cpu, cuda, cuda:N or mps."),
        (["run", "all=toy/waves", "--device", "cuda:x"], "--device is 'cuda:x'; expected"),
        (["run", "all=toy/waves", "--retry", "all"], "'all' is not 'failed'"),
        (["run", "all=toy/waves", "optimizer.lrr=1"], '"lrr" is an unknown key in "optimizer"'),
        (["run", "all=toy/waves", "optimizer.lrr=1"], 'Did you mean "optimizer.lr"?'),
        (["run", "all=toy/waves", "task.budget.stepz=1"], "task.budget.steps"),
        (["run", "scaled=toy/waves", "adaptation.params.begin=1"], '"begin" is an unknown key'),
        (["run", "all=toy/waves", "optimizer.lr=fast"], 'must be a number of at least 0, found the text "fast"'),
        (["run", "all=toy/waves", "optimizer.lr="], "nothing right of"),
        (["run", "all=toy/waves", "+optimizer.lr=1"], "keys can be neither added nor deleted"),
        (["run", "all=toy/waves", "task.budget.steps=0"], "must be an integer of at least 1, found the integer 0"),
        (["run", "all=toy/waves", "task.budget.epochs=2.5"], "must be an integer"),
        (["run", "all=toy/waves", "task.backbone=litle"], 'Did you mean "little"'),
        (["run", "all=toy/waves", "task.metric=acuracy"], 'Did you mean "accuracy"'),
        (["run", "all=toy/waves", f"optimizer.lr={HOME}"], "interpolation is refused"),
        (["run", "all=toy/waves", f"task.metric={TAG}"], "the tag"),
        (["run", "all=toy/waves", "optimizer.lr=[1"], "optimizer.lr=[1"),
        (["run", "scaled=toy/waves", "adaptation.targets=nowhere"], "nowhere"),
        (["plan", "scaleed=toy/waves"], 'Did you mean "scaled"?'),
        (["list", "taks"], 'Did you mean "tasks"?'),
        (["show", "scaleed"], "Nothing is declared as 'scaleed'. Did you mean \"scaled\"? See `bench list`."),
        (["show", "abcdef"], "No run in"),
        (["status", "toys/*"], "no declared task matches 'toys/*'"),
        (["table", "toy/wavse"], 'Did you mean "toy/waves"'),
        (["table", "-m", "al"], "is of the method 'al'"),
        (["why", "abcdef"], "has a key that begins with 'abcdef'"),
        (["score"], "bench score needs keys, or --all."),
        (["score", "abcdef"], "has a key that begins with 'abcdef'"),
        (["export", "abcdef", "model"], "has a key that begins with 'abcdef'"),
        (["store", "rm"], "bench store rm needs keys, or --state."),
        (["store", "rm", "abcdef", "--yes"], "has a key that begins with 'abcdef'"),
        (["store", "merge", "nowhere"], "There is no store at nowhere."),
        (["store", "rmm"], "No such command 'rmm'"),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'."),
    ],
)
def test_what_was_typed(cli: Cli, empty: Path, arguments: list[str], expected: str) -> None:
    assert expected in cli(*arguments).complaint


@pytest.mark.parametrize("command", [["why"], ["score"], ["export"]])
def test_a_failed_run_has_no_result_to_work_on(cli: Cli, store: Store, toy: Path, command: list[str]) -> None:
    key = key_of(store, "broken", "failed")
    said = cli(*command, key[:10], *(["model"] if command == ["export"] else []))
    if command == ["why"]:
        assert said.code == 0
    else:
        assert "is failed; only a finished run can be" in said.complaint
    assert not (toy / "model").exists()


def test_a_key_of_no_digits(cli: Cli, store: Store) -> None:
    assert "none are given" in cli("why", "").complaint


def test_export_of_a_run_whose_code_changed(cli: Cli, store: Store, toy: Path) -> None:
    with (toy / "methods" / "kinds" / "scaled.py").open("a") as file:
        file.write("\n\nmore = 1\n")
    key = key_of(store, "scaled")
    assert f"`bench why {key[:12]}` says which" in cli("export", key[:10], "model").complaint
    assert not (toy / "model").exists()


# -- devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps"])
def test_a_device_that_is_not_there(cli: Cli, empty: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said once, however many runs were asked for, and before any is claimed."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    said = cli("run", "all=toy/waves", "--seeds", "3", "--device", device)
    assert said.complaint == f"--device is {device}, and torch finds no such device here."
    assert not list((empty / "runs").iterdir())


# -- declarations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("methods/kinds/all.yaml", "title: !!python/object/apply:os.system [id]\n", "methods/kinds/all.yaml"),
        ("methods/kinds/all.yaml", f"title: x\noptimizer: {{lr: '{HOME}'}}\n", "interpolation is refused"),
        ("methods/kinds/all.yaml", "title: x\noptimiser: {lr: 1}\n", 'Did you mean "optimizer"?'),
        ("methods/kinds/all.yaml", "title: x\ntitle: y\n", "title"),
        ("methods/kinds/all.yaml", "title: [x\n", "methods/kinds/all.yaml"),
        ("methods/kinds/all.yaml", "", "methods/kinds/all.yaml"),
        ("methods/kinds/all.yaml", "\x00", "methods/kinds/all.yaml"),
        ("tasks/toy/_family.yaml", f"problem: {TAG}\n", "tasks/toy/_family.yaml"),
        ("tasks/toy/waves.yaml", "classes: 3\n", "tasks/toy/waves.yaml"),
        (
            "tasks/toy/waves.yaml",
            "classes: [a, b]\nsource: {generator: 'mak:waves'}\nmetric: f1\n",
            'Did you mean "make"?',
        ),
        (
            "tasks/toy/waves.yaml",
            "classes: [a, b, c]\nsource: {generator: 'make:wave'}\nmetric: f1\n",
            "make.py has no wave",
        ),
        ("tasks/toy/waves.yaml", "classes: [a, b, c]\nmetric: acuracy\n", 'Did you mean "accuracy"'),
    ],
)
def test_declarations(cli: Cli, empty: Path, toy: Path, file: str, text: str, expected: str) -> None:
    (toy / file).write_text(text)
    assert expected in cli("run", "all=toy/waves").complaint


def test_two_tasks_of_one_name(cli: Cli, empty: Path, toy: Path) -> None:
    (toy / "tasks" / "demo").mkdir()
    (toy / "tasks" / "demo" / "digits.yaml").write_text("title: Mine\n")
    for command in (["run", "all=toy/waves"], ["list"], ["plan", "all=demo/digits"]):
        complaint = cli(*command).complaint
        assert '"demo/digits" is declared twice as a task' in complaint
        assert "tasks/demo/digits.yaml" in complaint


# -- a method's Python file -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "which does not exist"),
        ("class Scaled(:\n", "scaled.py line 1 is not Python"),
        ("x = 1\n", "scaled.py has no Scaled, which 'scaled:Scaled' names"),
        ("class Scald:\n    pass\n", 'Did you mean "Scald"?'),
        ("import no_such_library\n\n\nclass Scaled:\n    pass\n", "No module named 'no_such_library' (line 1 of"),
        ("from .helper import missing\n", "ImportError: cannot import name 'missing'"),
        ("value = {}['absent']\n", "scaled.py cannot be imported: KeyError: 'absent' (line 1 of"),
    ],
)
def test_a_method_s_file(cli: Cli, empty: Path, toy: Path, text: str | None, expected: str) -> None:
    """A file that cannot be imported is a person's mistake, not a failed run.

    Nothing of the method was tried, so there is nothing to record; and a row would be in the way: the key holds
    the file's text, not what is installed, so that installing a missing library would leave it failed.
    """
    file = toy / "methods" / "kinds" / "scaled.py"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    assert expected in cli("run", "scaled=toy/waves", *SHORT).complaint


def test_the_rest_of_a_grid_goes_on(cli: Cli, toy: Path, tmp_path: Path) -> None:
    (toy / "methods" / "kinds" / "scaled.py").write_text("value = {}['absent']\n")
    said = cli("run", "scaled,all=toy/waves", *SHORT, "--store", tmp_path / "store")
    assert said.code == 2
    assert "cannot be imported" in said.err
    assert [row["method"] for row in Store(tmp_path / "store").rows()] == ["all"]


def test_parameters_that_a_class_does_not_take(cli: Cli, empty: Path, toy: Path) -> None:
    (toy / "methods" / "kinds" / "scaled.py").write_text(
        (toy / "methods" / "kinds" / "scaled.py").read_text().replace("start=1.0", "begin=1.0")
    )
    assert "start" in cli("run", "scaled=toy/waves", *SHORT).complaint


# -- places -----------------------------------------------------------------------------------------------------------

READING = (["status"], ["table"], ["plan", "all=toy/waves"], ["store", "du"], ["why", "abcdef"], ["score", "--all"])


@pytest.mark.parametrize("command", [*READING, ["run", "all=toy/waves"], ["store", "merge", "."]])
def test_a_store_that_is_a_file(cli: Cli, toy: Path, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert "is a file, not the folder of a store" in cli(*command, "--store", tmp_path / "file").complaint
    assert (tmp_path / "file").read_text() == "mine"


def test_a_store_below_a_file(cli: Cli, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    said = cli("run", "all=toy/waves", "--store", tmp_path / "file" / "store")
    assert "cannot be written: not a directory" in said.complaint


def test_a_folder_of_something_else(cli: Cli, toy: Path) -> None:
    before = sorted(toy.rglob("*"))
    assert "is no store; name a new folder" in cli("run", "all=toy/waves", "--store", toy).complaint
    assert sorted(toy.rglob("*")) == before


def test_a_store_that_is_damaged_or_newer(cli: Cli, store: Store) -> None:
    (store.path / "format.json").write_text("{")
    assert "is damaged" in cli("status").complaint
    (store.path / "format.json").write_text('{"format": 99}')
    assert "has format 99, but 1 is the newest known here" in cli("run", "all=toy/waves").complaint


def test_a_record_that_is_damaged(cli: Cli, store: Store) -> None:
    key = key_of(store, "all")
    (store.folder(key) / "record.json").write_text("{")  # type: ignore[operator]
    assert "record.json is damaged" in cli("show", key[:10]).complaint


def refuse(name: str, place: Path) -> Callable[..., object]:
    """`os.NAME`, but without permission below `place`."""
    real = getattr(os, name)

    def call(path: object, *more: object, **named: object) -> object:
        if isinstance(path, (str, os.PathLike)) and Path(os.fspath(path)).is_relative_to(place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *more, **named)

    return call


@pytest.mark.parametrize("name", ["mkdir", "open"])
def test_a_store_without_permission_to_write(cli: Cli, empty: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, name, refuse(name, empty))
    assert cli("run", "all=toy/waves").complaint == f"{empty} cannot be written: permission denied."


def test_a_store_without_permission_to_read(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", refuse("listdir", store.path))
    assert cli("why", "abcdef").complaint == f"{store.path} cannot be read: permission denied."


@pytest.mark.parametrize("below", ["file", "file/below"])
def test_a_cache_that_cannot_be_made(
    cli: Cli, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / below))
    complaint = cli("run", "all=toy/waves").complaint
    assert complaint.startswith(f"The cache {tmp_path / below} cannot be written (")
    assert complaint.endswith("set BENCH_CACHE to a folder that can.")


def test_a_cache_that_is_there_and_cannot_be_written(
    cli: Cli, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    (cache / "prepared").mkdir(parents=True)
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        assert "cannot be written (Permission denied); set BENCH_CACHE" in cli("run", "all=toy/waves").complaint
    assert not list((cache / "prepared").iterdir())


def test_a_disk_that_is_full_is_said_without_a_traceback(
    cli: Cli, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*more: object, **named: object) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere")

    monkeypatch.setattr("bench.data.prepare.write_json", full)
    monkeypatch.setenv("BENCH_CACHE", os.environ["BENCH_CACHE"] + "-full")
    said = cli("run", "all=toy/waves").complaint
    assert said == "The data of toy/waves cannot be made: OSError: [Errno 28] No space left on device: '/somewhere'"


@pytest.mark.parametrize("command", [["plan", "all=toy/waves"], ["run", "all=toy/waves"]])
def test_a_mirror_that_is_not_there(cli: Cli, empty: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("BENCH_MIRROR", "/nowhere/at/all")
    assert cli(*command).complaint == "BENCH_MIRROR is /nowhere/at/all, and there is no such folder."


def test_checkpoint_seconds(cli: Cli, empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CHECKPOINT_SECONDS", "often")
    assert "BENCH_CHECKPOINT_SECONDS is 'often'; expected a number" in cli("run", "all=toy/waves").complaint
