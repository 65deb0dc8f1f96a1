from __future__ import annotations

import copy
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.declarations.references import reference
from bench.declarations.schema import (
    BACKBONE,
    METHOD,
    SUITE,
    TASK,
    Field,
    check,
    check_task,
    modality_and_kind,
    split_meta,
)

TASK_BODY: dict[str, Any] = {
    "problem": "text-classification",
    "source": {"hub": "nyu-mll/glue", "config": "rte"},
    "inputs": ["a"],
    "splits": {"train": "train[:90%]", "val": "train[90%:]", "test": "validation"},
    "metric": "accuracy",
    "budget": {"epochs": 3},
}
EXTRA = {
    "classes": Field("list", item=Field("text")),
    "text": Field("mapping", fields={"max_length": Field("integer")}),
}


def task(**changes: Any) -> dict[str, Any]:
    return check_task({**copy.deepcopy(TASK_BODY), **changes}, "t.yaml", EXTRA)


def test_task_defaults() -> None:
    body = task()
    assert body["label"] == "label"
    assert body["selection"] == "val"
    assert body["splits"]["shuffle"] == "none"
    assert body["budget"] == {"epochs": 3, "batch_size": 32, "validations": 10}
    assert "classes" not in body


@pytest.mark.parametrize(
    "changes",
    [
        {"source": {"url": "https://example.org/a.csv", "sha256": "0" * 64, "format": "csv"}},
        {"source": {"folder": "data"}},
        {"source": {"hub": "a/b", "rows": {"train": 100}, "bytes": 5000}},
        {"source": {"sklearn": "digits", "sha256": "a" * 64}},
        {"source": {"generator": "make:moons", "params": {"noise": 0.1}}},
        {"metric": ["accuracy", "f1"]},
        {"budget": {"steps": 100, "seconds": 60.5, "trials": 20, "validations": 1}},
        {
            "splits": {
                "train": "train[10:20]",
                "test": {"a": "test[:50%]", "b": "test[50%:]"},
                "shuffle": "stratified",
            }
        },
        {"splits": {"train": "train[12.5%:]", "test": "test[-10:]"}},
        {"classes": ["no", "yes"], "text": {"max_length": 5}},
        {"twin": {"rows": 64}},
    ],
)
def test_legal_tasks(changes: dict[str, Any]) -> None:
    assert task(**changes)


@pytest.mark.parametrize(
    ("changes", "pieces"),
    [
        ({"inpts": ["a"]}, ['"inpts"', 'Did you mean "inputs"']),
        ({"clases": ["a"]}, ['"clases"', 'Did you mean "classes"']),
        ({"problem": "classification"}, ['"problem"', "MODALITY-KIND"]),
        ({"inputs": None}, ['"inputs" is missing']),
        ({"problem": None}, ['"problem" is missing']),
        ({"source": {}}, ['"source" must hold one of hub, url, folder, sklearn, generator']),
        ({"source": {"hub": "a/b", "url": "c"}}, ["only one of hub, url", '"hub" and "url"']),
        ({"source": {"hub": "a/b", "sha256": "0" * 64}}, ['"source.sha256" does not go with "hub"']),
        ({"source": {"url": "u", "sha256": "abc"}}, ['"source.sha256" must be a SHA-256']),
        ({"source": {"hub": "../x"}}, ['"source.hub" must be NAME or OWNER/NAME']),
        ({"source": {"generator": "make"}}, ['"source.generator"', '"file:Name"']),
        ({"source": {"generator": "../make:f"}}, ['"source.generator"']),
        ({"budget": {}}, ['"budget" must hold one of epochs, steps']),
        ({"budget": {"epochs": 1, "steps": 1}}, ["only one of epochs, steps"]),
        ({"budget": {"epochs": 0}}, ["at least 1"]),
        ({"budget": {"epochs": 1, "batch_size": True}}, ['"budget.batch_size"', "true"]),
        ({"budget": {"epochs": 1, "seconds": 0}}, ['"budget.seconds"', "above 0"]),
        ({"selection": "test"}, ["one of val, last"]),
        ({"metric": []}, ['"metric"', "empty list"]),
        ({"splits": {"train": "train[", "test": "test"}}, ['"splits.train"', "SPLIT[a%:b%]"]),
        ({"splits": {"train": "train", "test": {"a": "x[1]"}}}, ['"splits.test.a"']),
        ({"splits": {"train": "train"}}, ['"splits.test" is missing']),
        ({"splits": {"train": "a", "test": "b", "shuffle": "yes"}}, ["none, random, stratified"]),
        ({"text": {"max_lenght": 5}}, ['"text.max_lenght"', 'Did you mean "max_length"']),
    ],
)
def test_refused_tasks(changes: dict[str, Any], pieces: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        task(**changes)
    assert str(caught.value).startswith("t.yaml: ")
    for piece in pieces:
        assert piece in str(caught.value)


def test_extra_fields_reach_into_sections_and_replace() -> None:
    extra = {
        "source.tables": Field("list"),
        "splits": Field("mapping", default={}),
        "label": Field("integer"),
    }
    body = check_task(
        {**TASK_BODY, "source": {"hub": "a/b", "tables": ["x"]}, "splits": {"folds": 5}, "label": 3},
        "t",
        extra,
    )
    assert (body["source"]["tables"], body["splits"], body["label"]) == (["x"], {"folds": 5}, 3)
    assert "tables" not in (TASK.fields or {})["source"].fields  # type: ignore[operator]


def test_method_defaults() -> None:
    assert check({}, METHOD, "m") == {
        "objective": {"params": {}},
        "adaptation": {"train": "all", "params": {}},
        "head": {"head": "linear", "params": {}},
        "optimizer": {
            "optimizer": "adamw",
            "lr": 1e-3,
            "weight_decay": 0.0,
            "schedule": "constant",
            "warmup": 0.0,
            "params": {},
        },
    }
    assert "train" not in check({"adaptation": {"peft": "LORA"}}, METHOD, "m")["adaptation"]


@pytest.mark.parametrize(
    ("body", "pieces"),
    [
        (
            {"adaptation": {"adapter": "a:B", "peft": "LORA"}},
            ["only one of adapter, peft, train, adaptation"],
        ),
        ({"adaptation": {"adapter": "lora.LoRA"}}, ['"adaptation.adapter"', '"file:Name"']),
        ({"adaptation": {"train": "some"}}, ["one of all, none"]),
        ({"optimizer": {"optimizer": "adan"}}, ['"adamw" or "adam" or "sgd" or "file:Name"']),
        ({"optimizer": {"lr": "1e-3"}}, ["without quotes"]),
        ({"optimizer": {"warmup": 5}}, ["at most 1"]),
        ({"optimizer": {"learning_rate": 5}}, ['"optimizer.learning_rate" is an unknown key']),
        ({"head": {"head": "liner"}}, ['"linear" or "file:Name"']),
        ({"search": {"optimizer.lr": {"low": 1, "high": 0}}}, ["low is below its high"]),
        ({"search": {"optimizer.lr": {"low": 0, "high": 1, "log": True}}}, ["above 0"]),
        ({"search": {"optimizer.lr": {"low": 1, "choices": [1]}}}, ["only one of low, choices"]),
        ({"search": {"optimizer.lr": {"low": 1}}}, ["{low, high}"]),
        ({"search": {"optimizer.lr": {"low": 1, "high": 9, "log": True, "step": 2}}}, ["or in steps"]),
        ({"search": {"optimizer.lr": {"low": 1, "high": 9, "loog": True}}}, ['Did you mean "log"']),
        (
            {"search": {"optimizer.lr": {"high": 9, "choices": [1]}}},
            ['"search.optimizer.lr.high" does not go with "choices"'],
        ),
        ({"problems": "classification"}, ['"problems" must be a list']),
        ({"adaption": {}}, ['Did you mean "adaptation"']),
    ],
)
def test_refused_methods(body: dict[str, Any], pieces: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        check(body, METHOD, "m.yaml", defaults=False)
    for piece in pieces:
        assert piece in str(caught.value)


def test_backbones() -> None:
    body = check({"library": "timm", "name": "resnet18", "modality": "image"}, BACKBONE, "b")
    assert (body["pool"], body["args"], body["targets"]) == ("default", {}, {})
    for wrong, piece in [
        ({"library": "file", "modality": "image"}, 'with "class"'),
        ({"library": "timm", "modality": "image"}, 'with "name"'),
        ({"library": "timm", "modality": "image", "name": "a", "class": "a:B"}, 'without "class"'),
        ({"library": "hub", "modality": "image"}, "one of timm, transformers, monai, encoder, mlp, file"),
        ({"library": "timm", "name": "a"}, '"modality" is missing'),
        ({"library": "timm", "name": "a/../b", "modality": "text"}, "NAME or OWNER/NAME"),
        ({"library": "timm", "name": "a", "modality": "text", "weights": "../w.pt"}, "a file beside"),
        ({"library": "timm", "name": "a", "modality": "text", "revision": 12}, "in quotes"),
        (
            {"library": "timm", "name": "a", "modality": "text", "targets": {"x": "y"}},
            '"targets.x" must be a list',
        ),
    ]:
        with pytest.raises(UserError) as caught:
            check(wrong, BACKBONE, "b")
        assert piece in str(caught.value)


def test_suites() -> None:
    assert check({"tasks": ["a"]}, SUITE, "s")["average"] == "macro"
    with pytest.raises(UserError, match='"tasks" is missing'):
        check({}, SUITE, "s")


def test_notes_are_kept_apart() -> None:
    body = {"title": "T", "search": {}, "problems": ["x"], "optimizer": {"lr": 1}}
    assert split_meta(body, METHOD) == (
        {"optimizer": {"lr": 1}},
        {"title": "T", "search": {}, "problems": ["x"]},
    )
    notes = {"title", "description", "citation", "licence", "homepage", "parameters", "download"}
    assert {name for name, field in (BACKBONE.fields or {}).items() if field.meta} == notes


def test_a_body_that_is_no_mapping() -> None:
    with pytest.raises(UserError, match="t: the declaration must be a mapping, found a list of 1"):
        check([1], TASK, "t")


def test_modality_and_kind() -> None:
    assert modality_and_kind("image-domain-generalization") == ("image", "domain-generalization")


def test_reference() -> None:
    assert reference("salt:SALT", "m.yaml") == ("salt", "SALT")
    assert reference("lora_c:LoRA_C2", "m.yaml") == ("lora_c", "LoRA_C2")


@pytest.mark.parametrize(
    "ref",
    [
        "salt",
        "salt:",
        ":SALT",
        "a/b:C",
        "a.b:C",
        "..:C",
        "_a:B",
        "a:_B",
        "a:b.c",
        "a:B:C",
        "a:B\n",
        " a:B",
        "é:B",
        "",
    ],
)
def test_reference_refuses(ref: str) -> None:
    with pytest.raises(UserError, match=r"^m.yaml: expected"):
        reference(ref, "m.yaml")
