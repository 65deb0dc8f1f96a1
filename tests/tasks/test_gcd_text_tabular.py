"""Category discovery in text and tables: what is known is as published, twins run, real data are what they claim."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.core.canonical import digest
from bench.core.errors import UserError
from bench.core.loading import load
from bench.data.access import Access
from bench.data.prepare import Prepared, Wanted, prepare, unseal
from bench.data.sources import source
from bench.declarations.catalog import Catalog
from bench.declarations.schema import check_task
from bench.execute.backbones import Origin, make_backbone
from bench.problems import extra_fields, problem_of

SIZES = {  # task: classes, known ones
    "gcd/text/banking77": (77, 58),
    "gcd/text/clinc150": (150, 112),
    "gcd/tabular/letter": (26, 19),
    "gcd/tabular/pendigits": (10, 5),
    "gcd/tabular/optdigits": (10, 5),
    "gcd/tabular/satimage": (6, 3),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.find()


def declared(catalog: Catalog, name: str) -> dict[str, Any]:
    found = catalog.task(name)
    return {"name": name, **check_task(found.body, found.place, extra_fields(found.body["problem"]))}


def home(catalog: Catalog, name: str) -> Path:
    return catalog.task(name).home


def prepared(catalog: Catalog, name: str, access: Access, twin: bool) -> tuple[Prepared, str]:
    task = declared(catalog, name)
    mark = digest([name, twin, str(access.cache)])
    wanted = Wanted(task, None, problem_of(task), home(catalog, name), twin, mark, mark)
    return prepare(wanted, access), mark


def known_names(task: Mapping[str, Any]) -> set[str]:
    known = task["known"]
    return {str(name) for name in (task["classes"][:known] if isinstance(known, int) else known)}


def test_the_suites_hold_all_of_them(catalog: Catalog) -> None:
    listed = [name for kind in ("text", "tabular") for name in catalog.suite(f"gcd/{kind}").body["tasks"]]
    assert sorted(listed) == sorted(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_a_task_says_what_it_is(catalog: Catalog, name: str) -> None:
    task = declared(catalog, name)
    assert (len(task["classes"]), len(known_names(task))) == SIZES[name]
    assert (problem_of(task).classes(), problem_of(task).known()) == SIZES[name]
    assert all(task[key] for key in ("title", "description", "citation", "licence", "homepage"))
    assert task["metric"] == "discovery-all"
    assert task["report"] == ["discovery-old", "discovery-new"]
    assert catalog.backbone(task["backbone"]).body["modality"] == task["problem"].partition("-")[0]
    source(task["source"], home(catalog, name), Access(Path("/nowhere"), offline=True)).identity()


def test_the_known_classes_are_those_that_the_published_code_draws(catalog: Catalog) -> None:
    for name, share in (("gcd/text/banking77", 0.75), ("gcd/text/clinc150", 0.75)):
        task = declared(catalog, name)
        names = np.array(sorted(task["classes"]))
        drawn = np.random.RandomState(0).choice(names, round(len(names) * share), replace=False)
        assert known_names(task) == set(drawn.tolist())
    for name, novel in (("gcd/tabular/letter", 7), ("gcd/tabular/pendigits", 5), ("gcd/tabular/satimage", 3)):
        task = declared(catalog, name)
        order = np.arange(len(task["classes"]))
        np.random.RandomState(0).shuffle(order)
        assert known_names(task) == {str(task["classes"][place]) for place in order[:-novel]}
    # Not drawn by that code, but written down in it.
    assert known_names(declared(catalog, "gcd/tabular/optdigits")) == {"2", "1", "9", "8", "7"}


@pytest.mark.parametrize("name", SIZES)
def test_a_twin_goes_through_its_backbone(catalog: Catalog, name: str, tmp_path: Path) -> None:
    access = Access(tmp_path, offline=True)
    found, mark = prepared(catalog, name, access, twin=True)
    task = declared(catalog, name)
    train, (test,) = found.pool(0)["train"], found.tests()
    assert train.labels is not None
    assert len(test) == int((train.labels < 0).sum()) > 0
    assert set(np.unique(train.labels[train.labels >= 0])) <= set(range(SIZES[name][1]))
    assert max(unseal(mark, "test", access)[1]) >= SIZES[name][1], "there is something to discover"
    torch.manual_seed(0)
    body = catalog.backbone(task["backbone"]).body
    backbone = make_backbone(Origin(body, task, home(catalog, name), access, twin=True)).eval()
    with torch.no_grad():
        features = backbone(backbone.encoder(train.inputs.take(train.rows[:5])))
    assert features.shape == (5, backbone.dim)
    assert torch.isfinite(features).all()
    assert len(torch.unique(features, dim=0)) == 5


# ---------------------------------------------------------------- the functions that data pass through


class Numbers(list[int]):
    """A column of class numbers that knows the names, as the hub's are."""

    def __init__(self, numbers: list[int], names: list[str]) -> None:
        super().__init__(numbers)
        self.features = SimpleNamespace(names=names)


def test_intents_come_by_name_whatever_their_numbers(catalog: Catalog) -> None:
    named = load("intents:named", home(catalog, "gcd/text/banking77"))
    texts = ["a", "b", "c", "d"]
    first = named(lambda split: {"text": texts, "label": Numbers([0, 1, 2, 1], ["x", "y", "oos"])})
    second = named(lambda split: {"text": texts, "label": Numbers([2, 0, 1, 0], ["y", "oos", "x"])})
    assert first == second == {"train": {"text": texts, "label": ["x", "y", "oos", "y"]}}
    kept = named(lambda split: {"text": texts, "i": Numbers([0, 1, 2, 1], ["x", "y", "oos"])}, "i", ["oos"], ["a", "b"])
    assert kept["b"] == {"text": ["a", "b", "d"], "label": ["x", "y", "y"]}
    with pytest.raises(UserError, match="'label' of 'train' comes without names"):
        named(lambda split: {"text": texts, "label": [0, 1, 0, 1]})


def test_intents_in_the_hub_s_own_layout(catalog: Catalog, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    name = "gcd/text/clinc150"
    task = declared(catalog, name)
    features = Features({"text": Value("string"), "intent": ClassLabel(names=["oos", "balance", "alarm"])})
    folder = tmp_path / "mirror/datasets/clinc/clinc_oos/plus"
    folder.mkdir(parents=True)
    data = Dataset.from_dict({"text": ["p", "q", "r"], "intent": [1, 0, 2]}, features=features)
    data.to_parquet(folder / "train-00000-of-00001.parquet")
    access = Access(tmp_path / "cache", tmp_path / "mirror", True)
    rows = source(task["source"], home(catalog, name), access).load("train")
    assert rows is not None
    assert rows.columns == {"text": ["p", "r"], "label": ["balance", "alarm"]}
    numbers = problem_of(task).encode(rows.columns["label"])
    assert [task["classes"][number] for number in numbers] == ["balance", "alarm"]


def test_codes_of_classes_get_their_names(catalog: Catalog) -> None:
    task = declared(catalog, "gcd/tabular/satimage")
    named = load(task["source"]["through"], home(catalog, "gcd/tabular/satimage"))
    params = task["source"]["params"]
    assert set(params["names"].values()) == set(task["classes"])
    made = named(lambda split: {"b1": np.array([9, 8]), "class": np.array([7, 1])}, **params)
    assert made["all"]["class"] == ["very damp grey soil", "red soil"]
    assert made["all"]["b1"].tolist() == [9, 8]
    with pytest.raises(UserError, match="holds '6'"):
        named(lambda split: {"class": np.array([6])}, **params)


@pytest.mark.parametrize("name", [name for name in SIZES if "tabular" in name])
def test_a_table_as_it_is_published_is_read(catalog: Catalog, name: str, tmp_path: Path) -> None:
    """Rows in the published form: no header, the declared columns, some of them spaced."""
    task = declared(catalog, name)
    columns, through = task["source"]["columns"], task["source"].get("through")
    high = task["tabular"]["range"][1]
    codes = list(task["source"]["params"]["names"]) if through else [str(one) for one in task["classes"]]
    separator = " " if name.endswith("satimage") else ", " if name.endswith("pendigits") else ","
    lines = []
    for place in range(4 * len(codes)):
        cells = {one: str((place * 7 + at) % (high + 1)) for at, one in enumerate(columns)}
        lines.append(separator.join({**cells, "class": codes[place % len(codes)]}[one] for one in columns))
    url = task["source"]["url"]
    file = (
        tmp_path / "mirror/files" / url.partition("#")[2]
        if "#" in url
        else tmp_path / "mirror/files" / url.split("/")[-1]
    )
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines) + "\n")
    access = Access(tmp_path / "cache", tmp_path / "mirror", True)
    found, mark = prepared(catalog, name, access, twin=False)
    _, labels, *_ = unseal(mark, "test", access)
    assert set(labels) == set(range(len(codes)))
    (test,) = found.tests()
    row = int(test.rows[0])
    cells = [float((row * 7 + columns.index(one)) % (high + 1)) for one in task["inputs"]]
    np.testing.assert_allclose(test.inputs.take(np.array([row]))[0], np.array(cells) / high * 2 - 1, atol=1e-6)


# ---------------------------------------------------------------- real data


def test_banking77_is_what_it_claims(mirror: Path, catalog: Catalog, tmp_path: Path) -> None:
    name = "gcd/text/banking77"
    task = declared(catalog, name)
    access = Access(tmp_path, mirror, True)
    found, mark = prepared(catalog, name, access, twin=False)
    train, (test,) = found.pool(0)["train"], found.tests()
    assert train.labels is not None
    assert len(train) == task["source"]["rows"]["train"] == 10_003
    rows, labels, *_ = unseal(mark, "test", access)
    assert (rows == test.rows).all()
    sizes = np.zeros(77, dtype=int)
    np.add.at(sizes, labels, 1)
    np.add.at(sizes, train.labels[train.labels >= 0], 1)
    assert (sizes.sum(), sizes.min(), sizes.max()) == (10_003, 35, 187)
    labelled = np.bincount(train.labels[train.labels >= 0], minlength=77)
    assert labelled.tolist() == [round(0.1 * size) for size in sizes[:58]] + [0] * 19
    problem = problem_of(task)
    texts = [text for (text,) in test.inputs.take(test.rows)]
    for word, intent in (("passcode", "passcode_forgotten"), ("disposable", "disposable_card_limits")):
        number = int(problem.encode([intent])[0])
        own = np.mean([word in text for text, label in zip(texts, labels, strict=True) if label == number])
        assert own > 0.5, f"most sentences of {intent} speak of it"


def test_letter_is_what_it_claims(mirror: Path, catalog: Catalog, tmp_path: Path) -> None:
    name = "gcd/tabular/letter"
    task = declared(catalog, name)
    access = Access(tmp_path, mirror, True)
    found, mark = prepared(catalog, name, access, twin=False)
    train, (test,) = found.pool(0)["train"], found.tests()
    assert train.labels is not None
    assert len(train) == task["source"]["rows"]["all"] == 20_000
    rows = train.inputs.take(np.arange(20_000))
    assert (rows.min(), rows.max(), rows.dtype) == (-1, 1, np.float32)
    assert 20_000 - len(np.unique(train.inputs.content())) == 1332, "as the description says"
    # The mirror's rows, written as the published file is, have the declared checksum of the published file.
    names = list(problem_of(task).names)
    order = [name for name in names if name in known_names(task)] + [n for n in names if n not in known_names(task)]
    numbers = np.empty(20_000, dtype=int)
    ids, hidden, *_ = unseal(mark, "test", access)
    numbers[train.rows] = train.labels
    numbers[ids] = hidden
    counts = np.rint((rows + 1) / 2 * 15).astype(int)
    lines = [",".join([order[numbers[row]], *map(str, counts[row])]) for row in range(20_000)]
    assert hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest() == task["source"]["sha256"]
    known = {names.index(name) for name in known_names(task)}
    with (mirror / "files/letter.csv").open() as file:
        sizes = np.bincount([names.index(row["class"]) for row in csv.DictReader(file)])
    assert int((train.labels >= 0).sum()) == sum(round(0.5 * int(sizes[one])) for one in known)
    assert len(test) == 20_000 - int((train.labels >= 0).sum())
