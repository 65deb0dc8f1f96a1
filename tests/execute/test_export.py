"""What leaves the house: merged models that the libraries open, adapters that peft opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.prepare import Part
from bench.execute.build import restore, work_backbone
from bench.execute.engine import prepared_data
from bench.execute.export import export
from bench.plan.grid import plan
from bench.predictions import load
from bench.store import Store

from .conftest import Go


def finished(go: Go, *arguments: str) -> tuple[Any, Store, dict[str, Any], Path]:
    store, (row,) = go(*arguments, twin=True)
    assert row["state"] == "done", store.error(row["key"])
    (run,) = plan(arguments, twin=True, access=Access.from_environment())
    folder = store.folder(row["key"])
    assert folder is not None
    return run, store, row, folder


def inputs_of(run: Any) -> tuple[Part, Any]:
    access = Access.from_environment()
    (part,) = prepared_data(run, access).tests()
    return part, work_backbone(run, access).encoder(part.inputs.take(part.rows))


def head(folder: Path, features: torch.Tensor) -> np.ndarray:
    state = load_file(folder / "head.safetensors")
    return (features @ state["linear.weight"].T + state["linear.bias"]).detach().numpy()


def kept(row: dict[str, Any], folder: Path) -> np.ndarray:
    return load(folder, row["selection"]["candidate"], "test")["logits"]


@pytest.mark.parametrize("method", ["lora", "full", "bitfit", "dora"])
def test_a_merged_text_model_opens_in_transformers(go: Go, tmp_path: Path, method: str) -> None:
    from transformers import AutoModel

    run, _, row, folder = finished(go, f"{method}=glue/rte")
    files = export(run, folder, tmp_path / "model", Access.from_environment())
    assert {"model.safetensors", "config.json", "tokenizer.json", "head.safetensors", "bench.json"} <= set(files)
    _, tokens = inputs_of(run)
    network = AutoModel.from_pretrained(tmp_path / "model", add_pooling_layer=False).eval()
    states = network(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1).float()
    found = head(tmp_path / "model", (states * mask).sum(1) / mask.sum(1))
    np.testing.assert_allclose(found, kept(row, folder), atol=1e-4)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_merged_image_model_opens_in_timm(go: Go, tmp_path: Path, method: str) -> None:
    import timm

    run, _, row, folder = finished(go, f"{method}=demo/digits")
    export(run, folder, tmp_path / "model", Access.from_environment())
    _, pixels = inputs_of(run)
    network = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True).eval()
    found = head(tmp_path / "model", network((pixels.float() / 255 - 0.5) / 0.5))
    np.testing.assert_allclose(found, kept(row, folder), atol=1e-4)


def test_an_adapter_opens_in_peft(go: Go, tmp_path: Path) -> None:
    """The folder opens on the plain backbone and gives the run's own features."""
    from peft import PeftModel

    run, _, row, folder = finished(go, "lora=glue/rte")
    files = export(run, folder, tmp_path / "adapter", Access.from_environment(), adapter=True)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(files)
    _, tokens = inputs_of(run)
    plain = work_backbone(run, Access.from_environment())
    model = PeftModel.from_pretrained(plain.network, tmp_path / "adapter").eval()
    states = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1).float()
    found = head(tmp_path / "adapter", (states * mask).sum(1) / mask.sum(1))
    np.testing.assert_allclose(found, kept(row, folder), atol=1e-4)


def test_a_folder_with_something_in_it_is_not_written_into(go: Go, tmp_path: Path) -> None:
    run, _, _, folder = finished(go, "lora=demo/digits")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        export(run, folder, tmp_path / "full", Access.from_environment())


def test_a_restored_method_says_what_the_record_says(go: Go) -> None:
    from bench.execute.evaluate import predict_part

    run, _, row, folder = finished(go, "adalora=glue/rte")
    part, _ = inputs_of(run)
    found = predict_part(restore(run, folder, Access.from_environment()), part)["logits"]
    np.testing.assert_array_equal(found, kept(row, folder))
