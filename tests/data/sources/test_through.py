"""A function between the source and the task; declarations that follow the image size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.sources import Source, sized, source

CODE = """
def odd(load, least):
    raw = load("train")
    kept = [row for row, label in enumerate(raw["label"]) if label % 2 and label >= least]
    return {"odd": {"image": raw["image"][kept], "label": raw["label"][kept]}}
"""
SHA = "f6d9e39f37dc45d327f6db33428ee58970ccceabb2535a5c179de35886b70443"


def made(folder: Path, **changes: Any) -> Source:
    home = folder / "tasks/mine"
    home.mkdir(parents=True, exist_ok=True)
    (home / "rows.py").write_text(CODE)
    declared = {"sklearn": "digits", "sha256": SHA, "through": "rows:odd", "params": {"least": 3}, **changes}
    return source(declared, home, Access(folder / "cache"))


def test_rows_pass_through_a_function(tmp_path: Path) -> None:
    rows = made(tmp_path).load("odd")
    assert rows is not None
    assert set(rows.columns["label"].tolist()) == {3, 5, 7, 9}
    assert len(rows.columns["image"]) == len(rows)
    with pytest.raises(UserError, match="rows:odd makes the splits odd, not 'train'"):
        made(tmp_path).load("train")


def test_the_function_and_its_params_are_part_of_the_identity(tmp_path: Path) -> None:
    one = made(tmp_path).identity().fingerprint
    assert one["sha256"] == SHA
    assert made(tmp_path, params={"least": 5}).identity().fingerprint != one
    assert made(tmp_path, through=None).identity().fingerprint != one


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("return 1 / 0", "rows:odd, must give .* ZeroDivisionError"),
        ("return [1, 2]", "rows:odd, must give .* AttributeError"),
        ('return {"odd": {"image": [1], "label": [1, 2]}}', "columns of unequal length for 'odd'"),
    ],
)
def test_a_function_that_fails_is_a_sentence(tmp_path: Path, body: str, sentence: str) -> None:
    opened = made(tmp_path)
    (tmp_path / "tasks/mine/rows.py").write_text(f"def odd(load, least):\n    {body}\n")
    with pytest.raises(UserError, match=sentence):
        opened.load("odd")


def test_an_address_and_its_checksums_follow_the_image_size() -> None:
    declared = {
        "url": "https://example.org/cells_{size}.npz",
        "md5": {"128": "a", "256": "b"},
        "bytes": {"256": 7, "128": 5},
    }
    assert sized(declared, 256) == {"url": "https://example.org/cells_256.npz", "md5": "b", "bytes": 7}
    with pytest.raises(UserError, match="image.size is 64; .* is declared for 128, 256"):
        sized(declared, 64)
    with pytest.raises(UserError, match=r"has no image\.size"):
        sized(declared, None)
    assert sized({"hub": "a/b"}, 256) == {"hub": "a/b"}
