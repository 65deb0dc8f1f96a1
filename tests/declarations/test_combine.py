from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.declarations.catalog import Catalog
from bench.declarations.combine import Combined, combine, filled
from bench.declarations.merging import merge

Changed = Callable[[Mapping[str, str]], Catalog]


def of(catalog: Catalog, *names: str) -> Combined:
    return combine([catalog.method(name) for name in names])


def test_merge() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    over = {"a": {"b": None, "c": [3], "e": None}, "d": {"f": 1}}
    assert merge(base, over) == {"a": {"c": [3], "e": None}, "d": {"f": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 4}


def test_slots_are_filled_by_their_implementing_keys() -> None:
    assert filled({"optimizer": {"lr": 1}, "adaptation": {"targets": "x"}, "head": {"params": {}}}) == []
    assert filled({"method": {"method": "a:B"}, "head": {"head": "linear"}, "adaptation": {"train": "none"}}) == [
        "method",
        "adaptation",
        "head",
    ]


def test_one_method_alone(catalog: Catalog, project: Path) -> None:
    lora = of(catalog, "lora")
    assert lora.name == "lora"
    assert lora.body == catalog.method("lora").body
    assert set(lora.homes.values()) == {project / "methods/adapters"}


def test_every_order_is_the_same_method(catalog: Catalog, project: Path) -> None:
    results = [of(catalog, *names) for names in permutations(["fish", "lora", "gcr", "quick"])]
    assert all(each == results[0] for each in results)
    combined = results[0]
    assert combined.name == "quick+fish+lora+gcr"
    assert combined.homes == {
        "method": project / "methods/heads",
        "objective": project / "methods/objectives",
        "adaptation": project / "methods/adapters",
        "head": project / "methods/heads",
        "optimizer": project / "methods/heads",
    }


def test_plain_values_of_the_later_slot_win(catalog: Catalog) -> None:
    body = of(catalog, "lora", "fish").body
    assert body["optimizer"] == {"lr": 5e-4, "schedule": "linear", "weight_decay": 0.1}
    assert of(catalog, "quick", "fish").body["optimizer"]["lr"] == 1e-3  # a part that fills no slot yields
    assert of(catalog, "fish", "lora-pro").body["optimizer"]["lr"] == 1e-4


def test_a_part_that_fills_a_later_slot_too_wins_by_it(changed: Changed) -> None:
    catalog = changed(
        {
            "methods/x/both.yaml": "objective: {objective: 'a:B'}\noptimizer: {optimizer: 'a:C', lr: 0.7}",
            "methods/x/whole.yaml": "method: {method: 'a:M'}\noptimizer: {lr: 0.9}",
        }
    )
    combined = of(catalog, "lora", "both")
    assert (combined.name, combined.body["optimizer"]["lr"]) == ("both+lora", 0.7)
    assert of(catalog, "gcr", "whole").name == "whole+gcr"


@pytest.mark.parametrize(
    ("names", "slot"),
    [
        (("lora", "full"), "adaptation"),
        (("lora", "lora-pro"), "adaptation"),
        (("fish", "sparse"), "objective"),
    ],
)
def test_two_fillings_of_one_slot(catalog: Catalog, names: tuple[str, str], slot: str) -> None:
    with pytest.raises(UserError) as caught:
        of(catalog, *names)
    assert f'"{names[0]}" and "{names[1]}" both fill the slot "{slot}"' in str(caught.value)


def test_notes_and_problems_of_a_combination(changed: Changed) -> None:
    catalog = changed(
        {
            "methods/x/head.yaml": "title: Head\nproblems: [classification, regression]\nhead: {head: 'a:B'}",
            "methods/x/far.yaml": "problems: [segmentation]\nhead: {head: 'a:B'}",
        }
    )
    combined = of(catalog, "head", "fish", "lora")
    assert combined.body["title"] == "Fish + LoRA + Head"
    assert combined.body["problems"] == ["classification"]
    assert set(combined.body["search"]) == {"optimizer.lr", "adaptation.params.rank"}
    with pytest.raises(UserError, match='"fish" and "far" work on no problem in common'):
        of(catalog, "far", "fish")


def test_parts_are_left_as_they_were(catalog: Catalog) -> None:
    before = repr(catalog.method("fish").body), repr(catalog.method("lora").body)
    of(catalog, "fish", "lora")
    assert before == (repr(catalog.method("fish").body), repr(catalog.method("lora").body))


def test_a_range_of_a_search_replaces_another_whole(changed: Changed) -> None:
    """Its keys exclude one another: {low, high} over {choices} is neither."""
    catalog = changed(
        {
            "methods/x/ranged.yaml": "objective: {objective: 'a:B'}\nsearch: {optimizer.lr: {choices: [0.1, 0.2]}}",
            "methods/x/listed.yaml": "head: {head: 'a:B'}\nsearch: {optimizer.lr: {low: 0.1, high: 0.2}}",
        }
    )
    assert of(catalog, "ranged", "listed").body["search"] == {"optimizer.lr": {"low": 0.1, "high": 0.2}}
