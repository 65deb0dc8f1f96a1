from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.declarations.catalog import Catalog
from bench.declarations.combine import combine
from bench.declarations.overrides import apply
from bench.declarations.schema import METHOD, Field, check, task_schema

Bodies = tuple[dict[str, Any], dict[str, Any]]
Change = Callable[..., Bodies]


@pytest.fixture
def schema(extra: Callable[[str], dict[str, Field]]) -> Field:
    return task_schema(extra("text-classification"))


@pytest.fixture
def change(bodies: Bodies, schema: Field) -> Change:
    def changed(*overrides: str) -> Bodies:
        applied = apply(*bodies, overrides, schema)
        return applied.task, applied.method

    return changed


@pytest.fixture
def bodies(catalog: Catalog, schema: Field) -> Bodies:
    task = catalog.task("glue/rte")
    method = combine([catalog.method("lora")])
    return check(task.body, schema, task.place), check(method.body, METHOD, method.place)


def test_values_are_read_as_in_files(change: Change) -> None:
    _, method = change(
        "optimizer.lr=1e-3",
        "adaptation.params.rank=010",
        "adaptation.params.init=no",
        "head.head=gcr:GCR",
    )
    assert method["optimizer"]["lr"] == 0.001
    assert method["adaptation"]["params"] == {"rank": 10, "alpha": 16.0, "init": "no"}
    assert method["head"]["head"] == "gcr:GCR"


def test_the_task_has_its_prefix_and_nothing_given_changes(change: Change, bodies: Bodies) -> None:
    before = copy.deepcopy(bodies)
    task, method = change("task.backbone=roberta-base", "task.text.max_length=64", "task.inputs[1]=other")
    assert (task["backbone"], task["text"], task["inputs"]) == (
        "roberta-base",
        {"max_length": 64},
        ["sentence1", "other"],
    )
    assert method == before[1]
    assert bodies == before


def test_list_items_in_both_spellings_and_whole_lists(change: Change) -> None:
    assert change("task.inputs.0=x")[0]["inputs"] == ["x", "sentence2"]
    assert change("task.inputs=[a]")[0]["inputs"] == ["a"]
    assert change("adaptation.targets=['*.attn.qkv[q,v]']")[1]["adaptation"]["targets"] == ["*.attn.qkv[q,v]"]


def test_a_second_override_of_a_key_wins(change: Change) -> None:
    assert change("optimizer.lr=1", "optimizer.lr=2")[1]["optimizer"]["lr"] == 2


def test_exclusive_keys_replace_each_other(change: Change) -> None:
    task, method = change("task.budget.steps=100", "adaptation.peft=LORA")
    assert task["budget"] == {"steps": 100, "batch_size": 16, "validations": 10}
    assert set(method["adaptation"]) == {"peft", "params", "targets"}
    task, _ = change("task.budget.steps=100", "task.budget.epochs=2")
    assert task["budget"] == {"epochs": 2, "batch_size": 16, "validations": 10}
    assert change("task.source.folder=data")[0]["source"] == {"folder": "data"}  # hub's companion goes too
    assert change("task.budget={steps: 5}")[0]["budget"]["steps"] == 5


def test_a_mapping_sets_each_of_its_keys(change: Change) -> None:
    _, method = change("adaptation.params={rank: 2, alpha: 1}")
    assert method["adaptation"]["params"] == {"rank": 2, "alpha": 1, "init": "kaiming"}


def test_null_unsets(change: Change) -> None:
    _, method = change("optimizer.clip=1.0", "optimizer.clip=null")
    assert "clip" not in check(method, METHOD, "x")["optimizer"]


def test_a_word_may_give_way_to_a_number(change: Change) -> None:
    assert change("adaptation.params.init=3")[1]["adaptation"]["params"]["init"] == 3


@pytest.mark.parametrize(
    ("override", "pieces"),
    [
        ("adaptation.params.rnak=16", ['"rnak" is an unknown key', 'Did you mean "adaptation.params.rank"']),
        ("adaptation.params.zzz=16", ["which holds alpha, init, rank"]),
        ("adaption.params.rank=16", ['Did you mean "adaptation.params.rank"']),
        ("lora.rank=16", ['Did you mean "adaptation.params.rank"']),
        ("budget.epochs=5", ['Did you mean "task.budget.epochs"']),
        ("task.budgt.epoch=5", ["Did you mean", '"task.budget.epochs"']),
        ("task.optimizer.lr=5", ['Did you mean "optimizer.lr"']),
        ("task.inputs[2]=x", ['"inputs" has the items 0 to 1, not "2"']),
        ("task.inputs.first=x", ['not "first"']),
        ("optimizer.lr.x=1", ['"optimizer.lr" has no keys below it']),
        ("task.title=x", ['"title" is an unknown key']),
        ("search.optimizer.lr.low=1", ['"search" is an unknown key']),
        ("task.problem=image-classification", ["declare another task"]),
        ("optimizer.lr=fast", ['"optimizer.lr" must be a number of at least 0', 'the text "fast"']),
        ("optimizer.lr='1e-3'", ["without quotes"]),
        ("optimizer.lr=-1", ["at least 0"]),
        ("optimizer.schedule=linaer", ['Did you mean "linear"']),
        ("task.budget.epochs=1.5", ['"task.budget.epochs" must be an integer']),
        ("task.budget.epochs=true", ["an integer"]),
        ("adaptation.params.rank=big", ['"adaptation.params.rank" must be a number', '"big"']),
        ("adaptation.params.rank=true", ["must be a number"]),
        ("adaptation.params.rank=[1]", ["must be a number", "a list of 1"]),
        ("adaptation.params={rnak: 2}", ['"rnak" is an unknown key', '"adaptation.params.rank"']),
        ("adaptation.params={}", ["changes nothing"]),
        ("adaptation.params={'a b': 1}", ["names between dots"]),
        ("adaptation.adapter=lora.LoRA", ['"file:Name"']),
        ("task.backbone=${oc.env:HOME}", ["interpolation is refused"]),
        ("adaptation.params.init=a${b}", ["interpolation is refused"]),
        ("task.${x}.y=1", ["names between dots"]),
        ("task..x=1", ["names between dots"]),
        ("optimizer.lr[x]=1", ["names between dots"]),
        ("task.backbone=!!python/name:os.system", ["tag"]),
        ("adaptation.targets=*.query", ['quote text that begins with "*"']),
        ("optimizer.lr=#1", ["has no value; write null"]),
        ("optimizer.lr=[1", ["cannot be read"]),
        ("optimizer.lr=.nan", ["finite"]),
        ("+optimizer.lr=1", ["neither added nor deleted"]),
        ("~optimizer.lr=1", ["neither added nor deleted"]),
        ("optimizer.lr", ["key=value"]),
        ("lr=1", ["key=value"]),
    ],
)
def test_refused(change: Change, override: str, pieces: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        change("optimizer.warmup=0.1", override)
    assert override in str(caught.value)
    for piece in pieces:
        assert piece in str(caught.value)


def test_what_was_refused_in_the_middle_changed_nothing(change: Change, bodies: Bodies) -> None:
    before = copy.deepcopy(bodies)
    with pytest.raises(UserError):
        change("task.inputs[0]=x", "optimizer.lr=1", "task.inputs[5]=x")
    assert bodies == before


def test_an_override_costs_little(change: Change) -> None:
    change("optimizer.lr=1e-3")
    started = time.process_time()
    for _ in range(20):
        change("optimizer.lr=1e-3", "task.budget.epochs=5")
    assert (time.process_time() - started) / 20 < 0.02
