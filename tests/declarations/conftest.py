"""A small benchmark project on disk, and the task keys its problems declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bench.declarations.catalog import Catalog
from bench.declarations.projects import Project
from bench.declarations.schema import Field

FILES = {
    "tasks/glue/_family.yaml": """
        problem: text-classification
        metric: accuracy
        budget: {epochs: 3, batch_size: 16}
        splits: {train: "train[:90%]", val: "train[90%:]", test: validation}
        backbone: tiny-bert
        text: {max_length: 128}
        """,
    "tasks/glue/_suite.yaml": "title: GLUE\ntasks: [rte, glue/cola]\n",
    "tasks/glue/rte.yaml": """
        title: Recognizing Textual Entailment
        citation: someone, somewhere
        source: {hub: nyu-mll/glue, config: rte}
        inputs: [sentence1, sentence2]
        """,
    "tasks/glue/cola.yaml": """
        source: {hub: nyu-mll/glue, config: cola}
        inputs: [sentence]
        metric: [matthews, accuracy]
        text: null
        """,
    "tasks/digits/small.yaml": """
        problem: image-classification
        source: {generator: "make:digits", params: {count: 64}}
        inputs: [image]
        splits: {train: train, test: {clean: test, noisy: "test[:10]"}}
        metric: accuracy
        budget: {steps: 10}
        """,
    "tasks/digits/make.py": "def digits(count): ...\n",
    "methods/adapters/lora.yaml": """
        title: LoRA
        adaptation: {adapter: "lora:LoRA", params: {rank: 8, alpha: 16.0, init: kaiming}, targets: attention}
        optimizer: {lr: 5.0e-4, schedule: linear}
        search: {optimizer.lr: {low: 1e-5, high: 1e-2, log: true}, adaptation.params.rank: {choices: [2, 4]}}
        """,
    "methods/adapters/full.yaml": "title: Full\nadaptation: {train: all}\n",
    "methods/adapters/lora-pro.yaml": """
        adaptation: {adapter: "lora:LoRA", params: {rank: 4}}
        optimizer: {optimizer: "lora_pro:LoRAPro", lr: 1e-4}
        """,
    "methods/objectives/fish.yaml": """
        title: Fish
        problems: [domain-generalization, classification]
        objective: {objective: "fish:Fish", params: {epsilon: 0.5}}
        optimizer: {lr: 1e-3, weight_decay: 0.1}
        """,
    "methods/objectives/sparse.yaml": """
        problems: [segmentation]
        objective: {objective: "sparse:Sparse"}
        """,
    "methods/heads/gcr.yaml": "head: {head: 'gcr:GCR', params: {rank: 3}}\n",
    "methods/heads/quick.yaml": "optimizer: {lr: 0.1}\n",
    "methods/backbones/tiny-bert.yaml": """
        title: Tiny
        library: transformers
        name: owner/tiny-bert
        revision: "1234567"
        modality: text
        targets: {attention: ["*.query", "*.value"]}
        parameters: 1000
        download: 4000
        """,
    "methods/backbones/unet.yaml": "library: file\nclass: 'unet:UNet'\nmodality: image\n",
}


def _write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").split("\n")
        indent = len(lines[0]) - len(lines[0].lstrip())
        path.write_text("\n".join(line[indent:] for line in lines) + "\n", encoding="utf-8")
    return root


def _extra(problem: str) -> dict[str, Field]:
    """The task keys that a problem declares, as the problems' own modules do."""
    modality = problem.partition("-")[0]
    fields = {"classes": Field("list", item=Field("text"))}
    if modality == "text":
        fields["text"] = Field("mapping", fields={"max_length": Field("integer", low=1, default=64)})
    if modality == "image":
        size = Field("integer", low=1, default=32)
        fields["image"] = Field("mapping", default={}, fields={"size": size})
    return fields


@pytest.fixture
def write_project() -> Callable[[Path, Mapping[str, str]], Path]:
    return _write


@pytest.fixture
def extra() -> Callable[[str], dict[str, Field]]:
    return _extra


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return _write(tmp_path / "project", FILES)


@pytest.fixture
def catalog(project: Path) -> Catalog:
    return Catalog([Project.at(project)])


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Mapping[str, str]], Catalog]:
    """The project with some files added or replaced."""

    def build(files: Mapping[str, str]) -> Catalog:
        return Catalog([Project.at(_write(tmp_path / "changed", {**FILES, **files}))])

    return build
