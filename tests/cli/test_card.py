"""`bench show TASK` answers what a person asks before using a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Cli


@pytest.mark.parametrize(
    ("task", "lines"),
    [
        ("dg/pacs", {"source": "flwrlabs/pacs", "folds": "sketch", "classes": "7: dog", "pinned by": "revision 39411"}),
        ("wilds/fmow", {"pinned by": "nothing yet", "to obtain": "Download", "download": "53.9 GB", "here": "no"}),
        ("gcd/tabular/letter", {"known classes": "19", "score": "discovery-all", "pinned by": "sha256 2b89"}),
        ("demo/digits", {"source": "scikit-learn's digits", "licence": "CC-BY-4.0", "here": "yes"}),
        ("glue/mnli", {"splits": "test-matched = validation_matched", "rows": "train 392,702", "score": "accuracy"}),
    ],
)
def test_a_card(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, lines: dict[str, str]) -> None:
    monkeypatch.chdir(tmp_path)
    said = cli("show", task)
    assert said.code == 0, said.err
    shown = dict(line.split("  ", 1) for line in said.out.splitlines() if "  " in line and not line.startswith(" "))
    card = cli("show", task, "--json").json["card"]
    for name, text in lines.items():
        assert text in card[name]
        assert text.split()[0] in shown[name]
    assert max(map(len, said.out.split("\n\n")[1].splitlines())) <= 100
