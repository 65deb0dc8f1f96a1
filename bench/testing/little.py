"""A method small enough for a test: a vision transformer of two blocks, random images, and a driver without Lightning.

Everything is in float64 and on the CPU. `assembled` makes the method of any declaration whose slots may name classes
instead of files; `drive` trains it by the harness's own steps.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bench.data.prepare import Part
from bench.declarations.schema import METHOD, check
from bench.execute.backbones import Backbone
from bench.execute.batch import Batch
from bench.execute.build import assemble
from bench.execute.data import Data
from bench.execute.draws import drawn
from bench.execute.fit import calibrate
from bench.execute.method import Blueprint, Method
from bench.execute.parts import Info
from bench.execute.training import Training, phases_of
from bench.problems import Problem, problem_of

CLASSES, DOMAINS, ROWS, SIZE, WIDTH = 4, 3, 12, 8, 12
CPU = torch.device("cpu")


def problem(kind: str = "classification") -> Problem:
    """Images of four classes; with `domain-generalization` in three training domains."""
    task: dict[str, Any] = {
        "name": "little",
        "problem": f"image-{kind}",
        "classes": [str(number) for number in range(CLASSES)],
        "inputs": ["image"],
        "label": "label",
        "splits": {"train": "all[25%:]", "val": "all[:25%]", "test": "test"},
        "selection": "last",
    }
    if kind == "domain-generalization":
        task |= {"domain": "domain", "domains": [str(number) for number in range(DOMAINS + 1)]}
        del task["splits"]["test"]
    return problem_of(task)


def backbone() -> Backbone:
    """timm's vision transformer with random weights: four patches, two blocks of width 12, a class token."""
    import timm

    from bench.execute.backbones.timm import TimmBackbone

    with drawn("init", "little", 0):
        network = timm.create_model(
            "vit_tiny_patch16_224", img_size=SIZE, patch_size=4, embed_dim=WIDTH, depth=2, num_heads=2, num_classes=0
        )
        return TimmBackbone(network, {}, {}).double()


def assembled(declared: Mapping[str, Any], steps: int, kind: str = "classification") -> Method:
    """The method of a declaration (`{"head": {"head": MyHead, "params": {...}}}`) around a fresh backbone."""
    classes = {
        slot: dict(declared.get(slot) or {}) for slot in ("method", "objective", "adaptation", "head", "optimizer")
    }
    kept = {slot: _classes(given) for slot, given in classes.items()}
    body: dict[str, Any] = check(
        {slot: given for slot, given in classes.items() if given} | {"title": "little"}, METHOD, "a test"
    )
    for slot, named in kept.items():
        body.setdefault(slot, {}).update(named)
    info = Info(
        task="little",
        method="little",
        steps=steps,
        outputs=CLASSES,
        classes=CLASSES,
        domains=DOMAINS if kind == "domain-generalization" else 1,
        channels=3,
        width=WIDTH,
    )
    method = assemble(Blueprint(body, problem(kind), {}, info), backbone())
    return method.double()


def _classes(given: dict[str, Any]) -> dict[str, Any]:
    """Take the keys that hold classes out of a slot, leaving a name that the schema accepts."""
    found = {key: value for key, value in given.items() if isinstance(value, type)}
    given.update(dict.fromkeys(found, "file:Class"))
    return found


def batch(step: int, others: tuple[str, ...] = ()) -> Batch:
    """The rows of a step: random images whose class shows in their brightness."""
    drawn_by = torch.Generator().manual_seed(1000 + step)
    labels = torch.randint(0, CLASSES, (ROWS,), generator=drawn_by)
    pixels = torch.randint(0, 64, (ROWS, 3, SIZE, SIZE), generator=drawn_by) + 48 * labels[:, None, None, None]
    ids = torch.arange(ROWS) + ROWS * step
    return Batch(
        pixels.to(torch.uint8),
        ids,
        labels,
        torch.arange(ROWS) % DOMAINS,
        others={name: batch(step + 500 * (place + 1)) for place, name in enumerate(others)},
        step=step,
    )


class _Images:
    """Images in memory, as a part's inputs are."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images

    def take(self, rows: np.ndarray) -> np.ndarray:
        taken: np.ndarray = self._images[rows]
        return taken

    def lengths(self) -> np.ndarray:
        return np.zeros(len(self._images), dtype=np.int64)


def part(name: str) -> Part:
    """Rows in memory, drawn like the batches."""
    rows = batch(2000 + len(name))
    images: Any = _Images(rows.inputs.permute(0, 2, 3, 1).numpy())
    return Part(name, "all", images, np.arange(ROWS), rows.labels.numpy())


def drive(
    method: Method, steps: int, micro_batch: int | None = None, state: bytes | None = None, until: int | None = None
) -> Training:
    """Train `method` from the beginning, or from a saved `state`, up to step `until`."""
    data = Data(part("train"), part("val"), (replace(part("test"), labels=None),))
    training = Training(method, phases_of(method, steps), data, micro_batch)
    with drawn("method", "little", 0, "little", "fit"):
        if state is None:
            calibrate(method, lambda: [batch(step) for step in range(method.adaptation.calibration_batches)], CPU)
            training.start(None)
        else:
            kept = torch.load(io.BytesIO(state), weights_only=True)
            method.reshape(kept["shapes"])
            method.load_trained_state(kept["method"])
            training.start(kept)
        stop = training.total if until is None else until
        while training.done < stop and not training.over():
            span = training.span()
            others = tuple(span.phase.rows)[1:] if span is not None else ()
            rows = batch(training.done, others)
            training.on_train_batch_start(rows, 0)
            training.training_step(rows, 0)
            training.end_step()
    return training


def saved(training: Training) -> bytes:
    """A training's state as its checkpoint holds it."""
    file = io.BytesIO()
    torch.save(training.state(), file)
    return file.getvalue()


def outputs(method: Method) -> torch.Tensor:
    """What the method predicts for fixed rows, in evaluation mode."""
    method.eval()
    rows = batch(999)
    with torch.no_grad(), drawn("method", "little", 0, "little", "predict"):
        method.adaptation.context(rows)
        return method.predict(rows)
