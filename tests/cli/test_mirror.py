"""Data that are missing or damaged: said before anything is claimed, with what a person can do."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from .conftest import Cli

PLACE = Path("datasets", "nyu-mll", "glue")
README = """\
---
configs:
- config_name: rte
  data_files:
  - split: train
    path: rte/train-*
  - split: validation
    path: rte/validation-*
---
Made up.
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror that holds a made-up RTE of a few rows; it is in use."""
    import pyarrow
    import pyarrow.parquet

    mirror = tmp_path / "mirror"
    (mirror / PLACE / "rte").mkdir(parents=True)
    (mirror / PLACE / "README.md").write_text(README)
    for split, rows in (("train", 60), ("validation", 20)):
        columns = {
            "sentence1": [f"The {split} sentence number {row} is long." for row in range(rows)],
            "sentence2": [f"It is {row}." for row in range(rows)],
            "label": [row % 2 for row in range(rows)],
            "idx": list(range(rows)),
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), file_of(mirror, split))
    monkeypatch.setenv("BENCH_MIRROR", str(mirror))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return mirror


def file_of(mirror: Path, split: str) -> Path:
    return mirror / PLACE / "rte" / f"{split}-00000-of-00001.parquet"


def sums(mirror: Path) -> str:
    files = sorted(path for path in mirror.rglob("*.parquet"))
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{path.relative_to(mirror).as_posix()}\n" for path in files
    )


def test_no_mirror_and_no_network(cli: Cli, empty: Path) -> None:
    complaint = cli("run", "lora=glue/rte", "--offline").complaint
    assert complaint == (
        "The dataset nyu-mll/glue is not in the mirror or the cache, and --offline forbids fetching it; run once "
        "without --offline, or put it in a mirror as datasets/nyu-mll/glue/ and set BENCH_MIRROR."
    )


def test_plan_says_what_is_still_to_be_downloaded(cli: Cli, empty: Path) -> None:
    said = cli("plan", "lora=glue/rte", "--offline")
    assert said.code == 0
    assert "to download" in said.out
    assert "The network is forbidden" in said.out


def test_data_from_a_mirror_and_weights_from_nowhere(
    cli: Cli, empty: Path, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights, too, are missed before a run is recorded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (fake / "SHA256SUMS").write_text(sums(fake))
    complaint = cli("run", "lora=glue/rte", "--offline").complaint
    assert "sentence-transformers/all-MiniLM-L6-v2" in complaint
    assert "--offline forbids" in complaint


def test_a_mirror_that_disagrees_with_its_checksums(cli: Cli, empty: Path, fake: Path) -> None:
    (fake / "SHA256SUMS").write_text(sums(fake))
    damaged = file_of(fake, "validation")
    damaged.write_bytes(damaged.read_bytes()[:-7])
    for command in ("plan", "run"):
        complaint = cli(command, "lora=glue/rte", "--offline").complaint
        assert complaint.startswith(f"{damaged} is damaged: its SHA-256 begins ")
        assert complaint.endswith("copy the file anew.")


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("kept", [0, 200, -7])
def test_a_truncated_file_without_checksums(cli: Cli, empty: Path, fake: Path, split: str, kept: int) -> None:
    damaged = file_of(fake, split)
    damaged.write_bytes(damaged.read_bytes()[:kept])
    complaint = cli("run", "lora=glue/rte", "--offline").complaint
    assert complaint.startswith(f"{damaged} cannot be read as parquet: ")


def test_a_mirror_without_a_split(cli: Cli, empty: Path, fake: Path) -> None:
    file_of(fake, "validation").unlink()
    complaint = cli("run", "lora=glue/rte", "--offline").complaint
    assert "validation" in complaint
    assert "glue/rte" in complaint or "nyu-mll/glue" in complaint


def test_a_mirror_without_the_config(cli: Cli, empty: Path, fake: Path) -> None:
    assert "declares no config 'cola' of nyu-mll/glue" in cli("run", "lora=glue/cola", "--offline").complaint


def test_a_mirror_with_other_columns(cli: Cli, empty: Path, fake: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"] * 30, "label": [0, 1] * 15}), file_of(fake, "train"))
    assert "sentence1" in cli("run", "lora=glue/rte", "--offline").complaint


def test_a_mirror_with_a_label_nobody_declared(cli: Cli, empty: Path, fake: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(file_of(fake, "train"))
    labels = pyarrow.array([7] * len(table))
    pyarrow.parquet.write_table(table.set_column(2, "label", labels), file_of(fake, "train"))
    assert "7" in cli("run", "lora=glue/rte", "--offline").complaint


def test_a_mirror_s_readme_that_is_no_yaml(cli: Cli, empty: Path, fake: Path) -> None:
    (fake / PLACE / "README.md").write_text("---\nconfigs: [!!python/name:os.system x\n---\n")
    assert "README.md" in cli("run", "lora=glue/rte", "--offline").complaint


@pytest.mark.parametrize(
    "header", ["configs: 3", "configs: [1]", "configs:\n- config_name: rte", "- configs", "configs:\n- data_files: x"]
)
def test_a_mirror_s_readme_that_says_something_else(cli: Cli, empty: Path, fake: Path, header: str) -> None:
    (fake / PLACE / "README.md").write_text(f"---\n{header}\n---\n")
    said = cli("run", "lora=glue/rte", "--offline")
    assert "README.md" in said.complaint


def test_a_mirror_that_is_empty(cli: Cli, empty: Path, fake: Path) -> None:
    shutil.rmtree(fake / PLACE)
    (fake / PLACE).mkdir()
    assert "nyu-mll/glue" in cli("run", "lora=glue/rte", "--offline").complaint


@pytest.mark.parametrize("text", ["word\n", "\xff\xfe", "0" * 64 + "  other\n\n"])
def test_checksums_that_are_none(cli: Cli, empty: Path, fake: Path, text: str) -> None:
    (fake / "SHA256SUMS").write_bytes(text.encode("latin-1"))
    said = cli("plan", "lora=glue/rte", "--offline")
    assert "Traceback" not in said.err
    assert said.code in (0, 2)
