from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bench.core.canonical import canonical
from bench.core.errors import UserError
from bench.declarations.backbones import edit_distance, resolve_backbone
from bench.declarations.catalog import Catalog
from bench.declarations.resolve import ExtraFields, Resolved, resolve, works_on

Of = Callable[..., Resolved]
Changed = Callable[[Mapping[str, str]], Catalog]


@pytest.fixture
def of(extra: ExtraFields) -> Of:
    def resolved(catalog: Catalog, methods: str, task: str, *overrides: str) -> Resolved:
        return resolve(catalog, methods.split("+"), task, overrides, extra)

    return resolved


def test_everything_is_merged_and_filled(of: Of, catalog: Catalog, project: Path) -> None:
    resolved = of(catalog, "lora", "glue/rte", "task.budget.epochs=5", "adaptation.params.rank=16")
    assert (resolved.method_name, resolved.task_name, resolved.backbone_name) == (
        "lora",
        "glue/rte",
        "tiny-bert",
    )
    assert resolved.task == {
        "problem": "text-classification",
        "source": {"hub": "nyu-mll/glue", "config": "rte"},
        "inputs": ["sentence1", "sentence2"],
        "label": "label",
        "splits": {"train": "train[:90%]", "val": "train[90%:]", "test": "validation", "shuffle": "none"},
        "metric": "accuracy",
        "report": [],
        "budget": {"epochs": 5, "batch_size": 16, "validations": 10},
        "selection": "val",
        "text": {"max_length": 128},
    }
    assert resolved.method["adaptation"]["params"]["rank"] == 16
    assert resolved.method["optimizer"]["optimizer"] == "adamw"
    assert resolved.backbone == {
        "library": "transformers",
        "name": "owner/tiny-bert",
        "revision": "1234567",
        "args": {},
        "modality": "text",
        "pool": "default",
        "targets": {"attention": ["*.query", "*.value"]},
    }
    assert resolved.homes["backbone"] == project / "methods/backbones"
    assert resolved.homes["task"] == project / "tasks/glue"
    assert [path.name for path in resolved.paths] == [
        "lora.yaml",
        "rte.yaml",
        "_family.yaml",
        "tiny-bert.yaml",
    ]


def test_notes_are_no_part_of_the_identity(of: Of, catalog: Catalog) -> None:
    resolved = of(catalog, "fish+lora", "glue/rte")
    identity = canonical([resolved.method, resolved.task, resolved.backbone])
    for note in ("title", "citation", "search", "problems", "download", "parameters", "description"):
        assert f'"{note}"' not in identity
    assert resolved.meta["task"]["title"] == "Recognizing Textual Entailment"
    assert resolved.meta["method"]["title"] == "Fish + LoRA"
    assert resolved.meta["method"]["problems"] == ["domain-generalization", "classification"]
    assert resolved.meta["backbone"] == {"title": "Tiny", "parameters": 1000, "download": 4000}


def test_no_path_is_in_the_identity(of: Of, catalog: Catalog, project: Path) -> None:
    resolved = of(catalog, "lora", "glue/rte", f"task.backbone={project}")
    assert resolved.backbone is not None
    assert resolved.backbone["library"] == "local"
    assert str(project) not in json.dumps([resolved.method, resolved.task, resolved.backbone])
    assert resolved.homes["backbone"] == project
    assert resolved.backbone_name == str(project)


def test_order_of_parts_does_not_matter(of: Of, catalog: Catalog) -> None:
    one, other = of(catalog, "fish+lora", "glue/rte"), of(catalog, "lora+fish", "glue/rte")
    assert one == other
    assert one.method_name == "fish+lora"


def test_a_task_without_a_backbone(of: Of, catalog: Catalog, project: Path) -> None:
    resolved = of(catalog, "lora", "digits/small")
    assert (resolved.backbone, resolved.backbone_name) == (None, None)
    assert resolved.task["image"] == {"size": 32}  # what the problem's own fields fill in
    assert resolved.homes["task"] == project / "tasks/digits"


def test_the_generator_is_looked_up_beside_the_file_that_names_it(of: Of, changed: Changed) -> None:
    catalog = changed(
        {
            "tasks/toys/_family.yaml": """
                problem: tabular-classification
                source: {generator: "make:moons", params: {noise: 0.1}}
                splits: {train: train, test: test}
                inputs: [x, y]
                metric: accuracy
                budget: {steps: 1}
                """,
            "tasks/toys/deep/noisy.yaml": "source: {params: {noise: 0.9}}",
        }
    )
    resolved = of(catalog, "full", "toys/deep/noisy")
    assert resolved.task["source"]["params"] == {"noise": 0.9}
    assert resolved.homes["task"].name == "toys"


@pytest.mark.parametrize(
    ("files", "task", "pieces"),
    [
        (
            {"tasks/glue/bad.yaml": "source: {hub: a/b}\nimage: {size: 3}"},
            "glue/bad",
            ["bad.yaml", '"image"'],
        ),
        ({"tasks/glue/bad.yaml": "inputs: [a]"}, "glue/bad", ["bad.yaml", '"source" is missing']),
        ({"tasks/bad/x.yaml": "metric: a"}, "bad/x", ["x.yaml", '"problem" must be MODALITY-KIND']),
        (
            {"tasks/glue/bad.yaml": "source: {hub: a/b}\nbudget: {steps: 3}"},
            "glue/bad",
            ["only one of epochs, steps"],
        ),
    ],
)
def test_mistakes_in_files(of: Of, changed: Changed, files: dict[str, str], task: str, pieces: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        of(changed(files), "lora", task)
    for piece in pieces:
        assert piece in str(caught.value)


def test_a_mistake_of_the_family_names_the_family_file(of: Of, changed: Changed) -> None:
    catalog = changed(
        {
            "tasks/new/_family.yaml": "problem: text-classification\nbudget: {epochs: 0}\nmetric: a",
            "tasks/new/x.yaml": "source: {hub: a/b}\nsplits: {train: a, test: b}",
        }
    )
    with pytest.raises(UserError, match=r'tasks/new/_family.yaml: "budget.epochs" must be an integer of at least 1'):
        of(catalog, "lora", "new/x")


def test_a_family_says_null_to_change_its_budget(of: Of, changed: Changed) -> None:
    text = "source: {hub: a/b}\ninputs: [a]\nbudget: {epochs: null, steps: 3}"
    assert of(changed({"tasks/glue/short.yaml": text}), "lora", "glue/short").task["budget"]["steps"] == 3


def test_what_an_override_breaks_is_blamed_on_it(of: Of, catalog: Catalog) -> None:
    with pytest.raises(UserError, match=r'The override "task.budget.epochs=null": "budget" must hold one of'):
        of(catalog, "lora", "glue/rte", "task.budget.epochs=null")
    with pytest.raises(UserError, match=r'The override "task.metric=null": the key "metric" is missing'):
        of(catalog, "lora", "glue/rte", "optimizer.lr=1", "task.metric=null")
    with pytest.raises(UserError, match=r'The override "task.backbone=timm:../x": expected "timm:NAME"'):
        of(catalog, "lora", "glue/rte", "task.backbone=timm:../x")


def test_a_method_for_other_problems(of: Of, catalog: Catalog) -> None:
    with pytest.raises(UserError) as caught:
        of(catalog, "sparse", "glue/rte")
    assert str(caught.value) == (
        'The method "sparse" works on segmentation, and the task "glue/rte" is of the kind classification.'
    )
    problems: list[tuple[dict[str, list[str]], str]] = [
        ({}, "a-b"),
        ({"problems": ["b-c"]}, "a-b-c"),
        ({"problems": ["c"]}, "a-b"),
    ]
    assert [works_on(*each) for each in problems] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "modality", "library", "real"),
    [
        ("timm:resnet18", "text", "timm", "resnet18"),
        ("transformers:google/vit-base", "image", "transformers", "google/vit-base"),
        ("timm/vit_tiny.augreg", "text", "timm", "timm/vit_tiny.augreg"),
        ("owner/model", "image", "timm", "owner/model"),
        ("owner/model", "text", "transformers", "owner/model"),
        ("resnet50", "image", "timm", "resnet50"),
        ("bert-base-uncased", "text", "transformers", "bert-base-uncased"),
    ],
)
def test_backbones_of_libraries(catalog: Catalog, name: str, modality: str, library: str, real: str) -> None:
    found = resolve_backbone(catalog, name, modality, "t")
    assert (found.body["name"], found.body["library"], found.body["modality"]) == (real, library, modality)
    assert found.home is None


def test_a_declared_backbone_goes_first(catalog: Catalog, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "unet").mkdir()
    (project / "weights").mkdir()
    monkeypatch.chdir(project)
    assert resolve_backbone(catalog, "unet", "image", "t").body["library"] == "file"
    assert resolve_backbone(catalog, "unet", "image", "t").body["name"] == "unet"
    for name in ("weights", "./weights", str(project / "weights")):
        found = resolve_backbone(catalog, name, "image", "t")
        assert (found.body["library"], found.home) == ("local", project / "weights")


@pytest.mark.parametrize(
    ("name", "modality", "message"),
    [
        ("tiny-brt", "text", 'no backbone "tiny-brt". Did you mean "tiny-bert"?'),
        ("tinny-bertt", "text", 'write "timm:tinny-bertt" or "transformers:tinny-bertt"'),
        ("unett", "image", 'Did you mean "unet"'),
        ("./missing", "text", "is a path, and there is no such folder"),
        ("/missing/folder", "text", "no such folder"),
        ("~missing-user/x", "text", "no such folder"),
        ("hub:x", "text", 'expected "timm:NAME" or "transformers:NAME"'),
        ("timm:", "text", 'expected "timm:NAME"'),
        ("transformers:../x", "text", "expected"),
        ("a/b/c", "text", "can be no backbone"),
        ("a/../c", "text", "can be no backbone"),
        ("mlp-large", "tabular", "for the modality tabular no library is the usual one"),
        ("unet", "text", 'the backbone "unet" reads image, and the task\'s modality is text'),
    ],
)
def test_backbones_that_are_none(catalog: Catalog, name: str, modality: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_backbone(catalog, name, modality, "t.yaml")
    assert str(caught.value).startswith("t.yaml: ")
    assert message in str(caught.value)


def test_a_mistaken_backbone_names_the_file_that_names_it(of: Of, changed: Changed) -> None:
    catalog = changed({"tasks/glue/x.yaml": "source: {hub: a/b}\ninputs: [a]\nbackbone: tiny-brt"})
    with pytest.raises(UserError, match=r"tasks/glue/x.yaml: there is no backbone"):
        of(catalog, "lora", "glue/x")


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("ab", "ba", 2)],
)
def test_edit_distance(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == edit_distance(other, one) == distance


def test_omegaconf_is_imported_only_for_overrides(of: Of, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "omegaconf", None)
    of(catalog, "lora", "glue/rte")
    with pytest.raises(ImportError):
        of(catalog, "lora", "glue/rte", "optimizer.lr=1")
