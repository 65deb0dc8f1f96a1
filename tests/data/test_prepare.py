"""Preparation from each kind of source, and what is kept apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.prepare import Prepared, Wanted, equal_contents, prepare, unseal
from bench.data.sources import source
from bench.problems import problem_of

README = """---
configs:
- config_name: one
  data_files:
  - split: train
    path: one/train-*
  - split: validation
    path: one/validation-*
- config_name: two
  data_files:
  - split: train
    path: two/train-*
---
text
"""


def repository(folder: Path) -> Path:
    """A dataset repository as the hub lays it out."""
    for config in ("one", "two"):
        (folder / config).mkdir(parents=True)
    texts = [f"row {number % 7} of {number}" for number in range(40)]
    labels = [number % 2 for number in range(40)]
    pq.write_table(pa.table({"text": texts[:30], "label": labels[:30]}), folder / "one/train-00000.parquet")
    pq.write_table(pa.table({"text": texts[30:], "label": labels[30:]}), folder / "one/validation-00000.parquet")
    pq.write_table(pa.table({"text": texts[:5], "label": labels[:5]}), folder / "two/train-00000.parquet")
    (folder / "README.md").write_text(README)
    return folder


def text_task(**changes: object) -> dict[str, object]:
    return {
        "name": "t/one",
        "problem": "text-classification",
        "source": {"hub": "owner/name", "config": "one", "revision": "a" * 40},
        "inputs": ["text"],
        "label": "label",
        "classes": ["no", "yes"],
        "splits": {"train": "train[:80%]", "val": "train[80%:]", "test": "validation", "shuffle": "random"},
        **changes,
    }


def make(task: dict[str, object], access: Access, home: Path, name: str = "d") -> Prepared:
    inputs = digest([str(home), name, repr(task)])
    return prepare(Wanted(task, None, problem_of(task), home, False, inputs, name), access)


def test_a_hub_repository_from_a_mirror(tmp_path: Path) -> None:
    repository(tmp_path / "mirror/datasets/owner/name")
    access = Access(tmp_path / "cache", tmp_path / "mirror", True)
    prepared = make(text_task(), access, tmp_path)
    pool = prepared.pool(0)
    assert [len(pool["train"]), len(pool["val"])] == [24, 6]
    (test,) = prepared.tests()
    assert test.labels is None
    assert test.inputs.take(test.rows[:2]) == [("row 2 of 30",), ("row 3 of 31",)]
    ids, labels, _ = unseal("d", "test", access)
    assert ids.tolist() == list(range(10))
    assert labels.tolist() == [0, 1] * 5
    for row, (text,) in zip(pool["train"].ids, pool["train"].inputs.take(pool["train"].rows), strict=True):
        assert text.endswith(f" of {row}")
    assert pool["train"].labels is not None
    assert (pool["train"].labels == pool["train"].ids % 2).all()
    assert set(prepared.pool(1)["train"].ids) != set(pool["train"].ids)
    assert not list(prepared.folder.rglob("*test*label*"))


def test_the_identity_is_the_bytes_of_the_named_config(tmp_path: Path) -> None:
    folder = repository(tmp_path / "mirror/datasets/owner/name")
    access = Access(tmp_path / "cache", tmp_path / "mirror", True)

    def identity() -> dict[str, object]:
        return source({"hub": "owner/name", "config": "one"}, tmp_path, access).identity().fingerprint

    before = identity()
    pq.write_table(pa.table({"text": ["x"], "label": [1]}), folder / "two/train-00000.parquet")
    assert identity() == before
    pq.write_table(pa.table({"text": ["x"], "label": [1]}), folder / "one/train-00000.parquet")
    assert identity() != before


def test_a_hub_repository_from_the_hub_s_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `huggingface_hub` lays it out; nothing is fetched."""
    revision = "a" * 40
    repository(tmp_path / "hub/datasets--owner--name/snapshots" / revision)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    access = Access(tmp_path / "cache", None, True)
    prepared = make(text_task(), access, tmp_path)
    assert len(prepared.pool(0)["train"]) == 24
    opened = source(text_task()["source"], tmp_path, access)  # type: ignore[arg-type]
    assert opened.identity().fingerprint["revision"] == revision
    assert opened.download() == 0


def test_what_is_not_here_offline_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match="owner/name is not in the mirror or the cache, and --offline forbids"):
        make(text_task(), Access(tmp_path / "cache", None, True), tmp_path)
    assert not list((tmp_path / "cache").rglob("meta.json"))


def test_a_part_that_a_mirror_lacks_is_left_out_and_said(tmp_path: Path) -> None:
    repository(tmp_path / "mirror/datasets/owner/name")
    access = Access(tmp_path / "cache", tmp_path / "mirror", True)
    splits = {"train": "train[:80%]", "val": "train[80%:]", "test": {"near": "validation", "far": "elsewhere"}}
    prepared = make(text_task(splits=splits), access, tmp_path)
    assert [part.name for part in prepared.tests()] == ["test-near"]
    assert prepared.meta["missing"] == ["test-far"]
    with pytest.raises(UserError, match="the mirror has no split 'elsewhere'"):
        make(text_task(splits={"train": "train", "test": "elsewhere"}), access, tmp_path, "e")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = repository(tmp_path / "mirror/datasets/owner/name")
    access = Access(tmp_path / "cache", tmp_path / "mirror", True)
    file = folder / "one/train-00000.parquet"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UserError, match=r"train-00000.parquet cannot be read as parquet"):
        make(text_task(), access, tmp_path)
    (tmp_path / "other").mkdir()
    folder = repository(tmp_path / "other/datasets/owner/name")
    (tmp_path / "other/SHA256SUMS").write_text(f"{'0' * 64}  ./datasets/owner/name/one/train-00000.parquet\n")
    with pytest.raises(UserError, match=r"train-00000.parquet is damaged"):
        source(text_task()["source"], tmp_path, Access(tmp_path / "cache", tmp_path / "other", True)).identity()  # type: ignore[arg-type]


def test_a_folder_of_images(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("test", 4)):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for number in range(count):
                shade = 200 if name == "cat" else number * 10
                PIL.Image.new("RGB", (20, 10), (shade, number, 0)).save(
                    tmp_path / "photos" / split / name / f"{number}.png"
                )
    task = {
        "name": "t/photos",
        "problem": "image-classification",
        "source": {"folder": "photos"},
        "inputs": ["image"],
        "label": "label",
        "classes": ["cat", "dog"],
        "image": {"size": 8, "channels": 3, "augment": {}},
        "splits": {"train": "train[:50%]", "val": "train[50%:]", "test": "test", "shuffle": "stratified"},
    }
    access = Access(tmp_path / "cache")
    prepared = make(task, access, tmp_path)
    (test,) = prepared.tests()
    assert test.inputs.take(test.rows).shape == (8, 8, 8, 3)
    labels = unseal("d", "test", access)[1]
    assert ((test.inputs.take(test.rows)[..., 0] == 200).all(axis=(1, 2)) == (labels == 0)).all()
    assert np.bincount(labels).tolist() == [4, 4]
    assert (np.diff(labels) != 0).sum() > 1, "the order of rows says nothing of their class"
    train = prepared.pool(0)["train"]
    assert train.labels is not None
    assert np.bincount(train.labels).tolist() == [3, 3]
    assert equal_contents(prepared, 0)["test~train"] > 0
    before = source(task["source"], tmp_path, access).identity().fingerprint  # type: ignore[arg-type]
    PIL.Image.new("RGB", (20, 10)).save(tmp_path / "photos/train/cat/0.png")
    assert source(task["source"], tmp_path, access).identity().fingerprint != before  # type: ignore[arg-type]


def test_pixels_of_other_depths_are_scaled_or_refused() -> None:
    from bench.data.modalities.image import _bytes

    assert _bytes(np.array([[0.0, 0.5, 1.0]])).tolist() == [[0, 128, 255]]
    assert _bytes(np.array([[0, 257, 65535]], np.uint16)).tolist() == [[0, 1, 255]]
    assert _bytes(np.array([[False, True]])).tolist() == [[0, 255]]
    with pytest.raises(UserError, match="expected bytes, 16 bits"):
        _bytes(np.array([[-1.0, 300.0]]))


def test_relinked_folders_change_the_fingerprint(tmp_path: Path) -> None:
    """Directory links are followed by the reading and by the fingerprint alike; no images is a mistake."""
    for shade in (10, 200):
        (tmp_path / f"real{shade}").mkdir()
        PIL.Image.new("L", (4, 4), shade).save(tmp_path / f"real{shade}/a.png")
    (tmp_path / "photos" / "train").mkdir(parents=True)
    opened = source({"folder": "photos"}, tmp_path, Access(tmp_path / "cache"))
    with pytest.raises(UserError, match="holds no images"):
        opened.identity()
    found = []
    for shade in (10, 200):
        link = tmp_path / "photos" / "train" / "one"
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / f"real{shade}")
        found.append(opened.identity().fingerprint["folder"])
        assert len(opened.load("train") or []) == 1
    assert found[0] != found[1]


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test_a_folder_of_images(tmp_path)
    from bench.data.modalities import image

    monkeypatch.setattr(image, "_decode", lambda *given: pytest.fail("decoded again"))
    meta = json.loads((tmp_path / "cache/prepared/d/meta.json").read_text())
    assert meta["tests"]["test"]["rows"] == 8
    (folder,) = (tmp_path / "cache/inputs").glob("*/test")
    assert image.MODALITY.open(folder).take(np.arange(8)).shape == (8, 8, 8, 3)


def test_wrong_columns_labels_and_empty_parts_are_sentences(tmp_path: Path) -> None:
    repository(tmp_path / "mirror/datasets/owner/name")
    access = Access(tmp_path / "cache", tmp_path / "mirror", True)
    for changes, sentence in (
        ({"inputs": ["txt"]}, "inputs names the column 'txt'; the data has text, label"),
        ({"label": "lable"}, "label is 'lable'; the data has text, label"),
        ({"splits": {"train": "train", "test": "validation[:0]"}}, "leaves test without rows"),
        ({"inputs": ["label"]}, "holds something other than text"),
    ):
        with pytest.raises(UserError, match=sentence):
            make(text_task(**changes), access, tmp_path)
    with pytest.raises(UserError, match="labels run from -1 to 1; the task declares 2"):
        problem_of(text_task()).encode([-1, 1])
    assert not list((tmp_path / "cache" / "prepared").glob("[a-z]*"))


def test_digits_are_as_declared() -> None:
    from bench.declarations.catalog import Catalog

    body = Catalog.find().task("demo/digits").body
    rows = source(body["source"], Path(), Access(Path("/nowhere"))).load("train")
    assert rows is not None
    assert len(rows) == 1297
    with pytest.raises(UserError, match="carries other data"):
        source({**body["source"], "sha256": "0" * 64}, Path(), Access(Path("/nowhere"))).load("train")
