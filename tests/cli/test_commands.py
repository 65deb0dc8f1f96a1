"""Every command does what its help says, in text and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli.main import COMMANDS
from bench.store import Store

from .conftest import Cli, key_of


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_teaches_by_example(cli: Cli, command: str | None) -> None:
    said = cli(*([command] if command else []), "--help")
    assert said.code == 0
    assert said.out.startswith("Usage: bench")
    assert "Examples:" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [("merge",), ("rm",), ("du",)])
def test_help_of_the_store_s_commands(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli("store", *arguments, "--help").code == 0


@pytest.mark.parametrize("arguments", [(), ("store",)])
def test_without_a_command_the_help_is_shown(cli: Cli, arguments: tuple[str, ...]) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert said.err.startswith("Usage: bench")


def test_version(cli: Cli) -> None:
    assert cli("--version").out.startswith("bench, version ")


def test_list(cli: Cli, toy: Path) -> None:
    said = cli("list", "tasks", "toy/*")
    assert said.code == 0
    assert "Waves in three directions" in said.out
    assert "2 declared." in said.out
    rows = cli("list", "tasks", "toy/*", "--json").json
    assert [(row["kind"], row["name"], row["origin"]) for row in rows] == [
        ("task", "toy/angle", "project"),
        ("task", "toy/waves", "project"),
    ]
    assert {row["kind"] for row in cli("list", "--json").json} == {"task", "method", "backbone", "suite"}


@pytest.mark.parametrize("name", ["all", "toy/waves", "little", "glue"])
def test_show_a_declaration(cli: Cli, toy: Path, name: str) -> None:
    said = cli("show", name)
    assert said.code == 0
    assert name in said.out.splitlines()[0]
    assert "declared in" in said.out
    found = cli("show", name, "--json").json
    assert found["name"] == name
    assert Path(found["file"]).is_file()
    assert found["body"]["title"]


def test_show_a_backbone_s_own_name_does_not_hide_the_declared_one(cli: Cli, toy: Path) -> None:
    found = cli("show", "minilm", "--json").json
    assert found["name"] == "minilm"
    assert found["body"]["name"] == "sentence-transformers/all-MiniLM-L6-v2"


def test_show_a_record(cli: Cli, store: Store) -> None:
    key = key_of(store, "all")
    said = cli("show", key[:10])
    assert said.code == 0
    assert f"run {key} (done)" in said.out
    assert "fit_seconds" in said.out
    found = cli("show", key[:10], "--json").json
    assert found["state"] == "done"
    assert found["spec"]["method"]["name"] == "all"


def test_show_a_failure_with_its_traceback(cli: Cli, store: Store) -> None:
    key = key_of(store, "broken", "failed")
    assert "RuntimeError: the third step went wrong" in cli("show", key[:10]).out
    found = cli("show", key[:10], "--json").json
    assert found["state"] == "failed"
    assert "the third step went wrong" in found["error"]


def test_plan_names_states_and_costs_and_runs_nothing(cli: Cli, store: Store, tmp_path: Path) -> None:
    arguments = ("all=toy/waves", "--seeds", "3")
    said = cli("plan", *arguments)
    assert said.code == 0
    assert "3 runs, 2 done; 1 to do: about" in said.out
    rows = cli("plan", *arguments, "--json").json
    assert [row["state"] for row in rows] == ["done", "done", "queued"]
    assert rows[2]["basis"] == "measured"
    assert rows[2]["seconds"] > 0
    assert len(rows[0]["key"]) == 64
    cli("plan", *arguments, "--store", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_plan_counts_in_words(cli: Cli, store: Store) -> None:
    assert "1 run, 1 done; nothing to do." in cli("plan", "all=toy/waves").out


def test_status(cli: Cli, store: Store) -> None:
    said = cli("status")
    assert said.code == 0
    assert "3 done, 1 failed" in said.out
    assert "RuntimeError: the third step went wrong" in said.out
    rows = {row["method"].split()[0]: row for row in cli("status", "--json").json}
    assert rows["all"]["done"] == 2
    assert rows["broken"]["failed"] == 1
    assert [row["method"] for row in cli("status", "toy/ang*", "--json").json] == ["scaled"]


def test_table(cli: Cli, store: Store) -> None:
    said = cli("table", "toy/waves")
    assert said.code == 0
    assert "±" in said.out
    assert "1 failed" in said.out
    assert "95 % t interval over seeds" in said.out
    rows = {row["method"]: row for row in cli("table", "--json").json}
    assert rows["all"]["seeds"] == 2
    assert set(rows["all"]["half"]) == {"accuracy", "score"}
    assert rows["scaled"]["half"] is None
    assert rows["broken"]["states"] == {"failed": 1}
    assert [row["method"] for row in cli("table", "-m", "sc*,none", "--json").json] == ["scaled"]


def test_table_of_a_suite(cli: Cli, store: Store, toy: Path) -> None:
    (toy / "tasks" / "toy" / "_suite.yaml").write_text("title: Toys\ntasks: [waves, angle]\n")
    said = cli("table", "toy")
    assert "1 of 2" in said.out
    assert "The average of a suite needs all its tasks." in said.out
    rows = cli("table", "toy", "--json").json
    assert {row["method"]: row["average"] for row in rows if "suite" in row} == {
        "all": None,
        "broken": None,
        "scaled": None,
    }


def test_table_of_nothing_yet(cli: Cli, empty: Path) -> None:
    assert "No runs in" in cli("table").out
    assert cli("table", "--json").json == []
    assert cli("table", "toy/*").code == 0  # declared, and not run yet


def test_why_today(cli: Cli, store: Store, toy: Path) -> None:
    key = key_of(store, "scaled")
    said = cli("why", key[:10])
    assert said.code == 0
    assert "No input differs: the key is the same." in said.out
    with (toy / "methods" / "kinds" / "helper.py").open("a") as file:
        file.write("\n\nmore = 1\n")
    said = cli("why", key[:10])
    assert "1 input changed." in said.out
    assert [row["input"] for row in cli("why", key[:10], "--json").json] == ["code.methods/kinds/helper.py"]


def test_why_two_runs_differ(cli: Cli, store: Store) -> None:
    one, two = sorted(row["key"] for row in store.rows() if row["method"] == "all")
    (row,) = cli("why", one[:10], two[:10], "--json").json
    assert row["input"] == "replicate"
    assert {row[one[:12]], row[two[:12]]} == {0, 1}


def test_score_is_appended_and_counted(cli: Cli, store: Store) -> None:
    key = key_of(store, "all")
    rows = cli("score", key[:10], "--json").json
    assert {row["metric"] for row in rows} == {"accuracy", "score"}
    assert all(row["value"] == row["before"] and row["count"] == 2 for row in rows)
    said = cli("score", "--all")
    assert said.code == 0
    assert "same" in said.out


def test_score_prepares_data_that_the_cache_lost(
    cli: Cli, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "new-cache"))
    rows = cli("score", key_of(store, "all"), "--offline", "--json").json
    assert all(row["value"] == row["before"] for row in rows)


def test_export(cli: Cli, store: Store, tmp_path: Path) -> None:
    key = key_of(store, "scaled")
    said = cli("export", key[:10], tmp_path / "adapter", "--adapter")
    assert said.code == 0, said.err
    files = [Path(line).name for line in said.out.splitlines()]
    assert "head.safetensors" in files
    assert json.loads((tmp_path / "adapter" / "bench.json").read_text())["key"] == key
    again = cli("export", key[:10], tmp_path / "adapter", "--adapter")
    assert "is not empty" in again.complaint
    assert "no layout to be exported in" in cli("export", key[:10], tmp_path / "merged").complaint
    assert not (tmp_path / "merged").exists()


def test_store_merge_brings_finished_runs(cli: Cli, store: Store, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert cli("store", "merge", store.path, "--store", other).out == "3 runs copied; 0 here already.\n"
    assert cli("store", "merge", store.path, "--store", other).out == "0 runs copied; 3 here already.\n"
    assert len(cli("table", "--store", other, "--json").json) == 2


def test_store_rm(cli: Cli, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of(store, "scaled")
    assert "add --yes" in cli("store", "rm", key[:10]).complaint
    assert cli("store", "rm", key[:10], key, "--yes").out == "1 run removed.\n"
    assert cli("store", "rm", "--state", "failed", "--yes").out == "1 run removed.\n"
    assert cli("store", "rm", "--state", "failed", "--yes").out == "0 runs removed.\n"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda question: False)
    said = cli("store", "rm", key_of(store, "all"))
    assert (said.code, said.out) == (0, "0 runs removed.\n")
    assert len(store.rows()) == 2


def test_store_du(cli: Cli, store: Store) -> None:
    assert "in all." in cli("store", "du").out
    rows = cli("store", "du", "--json").json
    assert sum(row["runs"] for row in rows) == 4
    assert all(row["bytes"] > 1000 for row in rows)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(cli: Cli, shell: str) -> None:
    said = cli("completion", shell)
    assert said.code == 0
    assert "_BENCH_COMPLETE" in said.out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("bench ta", ["table"]),
        ("bench run sc", ["scaled"]),
        ("bench run all,sc", ["all,scaled"]),
        ("bench run all+sc", ["all+scaled"]),
        ("bench run all=toy/w", ["all=toy/waves"]),
        ("bench run all=toy/angle,toy/w", ["all=toy/angle,toy/waves"]),
        ("bench show litt", ["little"]),
        ("bench run all=nothing/here", [""]),
    ],
)
def test_completion(cli: Cli, toy: Path, monkeypatch: pytest.MonkeyPatch, typed: str, expected: list[str]) -> None:
    monkeypatch.setenv("_BENCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    said = cli()
    assert [line.partition(",")[2] for line in said.out.splitlines()] == expected
