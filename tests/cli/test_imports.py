"""Commands that compute nothing import nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.store import Store

from .conftest import Cli, key_of

HEAVY = (
    *("torch", "lightning", "transformers", "datasets", "timm", "peft", "torchmetrics"),
    *("sklearn", "scipy", "pandas", "numpy", "pyarrow", "huggingface_hub", "wandb"),
)
SCRIPT = """
import atexit, sys
atexit.register(lambda: print("heavy:", *sorted(set(sys.modules) & set({heavy!r})), file=sys.stderr))
from bench.cli.main import main
main({arguments!r})
"""

COMMANDS = [
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["export", "--help"],
    ["list"],
    ["list", "tasks", "--json"],
    ["show", "all"],
    ["show", "glue/rte"],
    ["show", "KEY"],
    ["plan", "all,lora=*/*", "--seeds", "3", "--twin"],
    ["plan", "all=toy/*", "optimizer.lr=1.0e-3"],
    ["status"],
    ["table"],
    ["table", "glue", "toy/*"],
    ["why", "KEY"],
    ["store", "du"],
    ["completion", "bash"],
    ["run", "all=toy/waves", "--seeds", "2"],  # finished: nothing to compute
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_nothing_heavy_is_imported(store: Store, arguments: list[str]) -> None:
    words = [key_of(store, "scaled") if word == "KEY" else word for word in arguments]
    script = SCRIPT.format(heavy=HEAVY, arguments=words)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "heavy:\n"


def test_completion_imports_nothing_heavy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs at every press of the key."""
    for name, value in {"_BENCH_COMPLETE": "bash_complete", "COMP_WORDS": "bench run sc", "COMP_CWORD": "2"}.items():
        monkeypatch.setenv(name, value)
    script = SCRIPT.format(heavy=HEAVY, arguments=[])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "plain,scaled\n", "heavy:\n")


def test_a_finished_run_is_recognised_without_what_computes(cli: Cli, store: Store) -> None:
    said = cli("run", "all=toy/waves", "--seeds", "2")
    assert (said.code, said.err) == (0, "")
