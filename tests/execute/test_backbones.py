"""Backbones by declaration, by a library's name, and from local folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.core.errors import UserError
from bench.data.access import Access
from bench.execute.backbones import Origin, make_backbone
from bench.plan.grid import plan

from .conftest import Go

TASK = {"name": "t", "image": {"size": 32, "channels": 1}, "text": {"max_length": 16}}


def origin(tmp_path: Path, twin: bool = False, mirror: Path | None = None, **declared: object) -> Origin:
    return Origin(declared, TASK, tmp_path, Access(tmp_path / "cache", mirror, True), twin)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A tiny BERT as transformers saves it, with a pooler that was trained."""
    from transformers import AutoModel, BertConfig, BertTokenizerFast

    folder = tmp_path / "mirror" / "models" / "someone" / "tiny-bert"
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    AutoModel.from_config(config).save_pretrained(folder)
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(folder)
    return folder


def test_a_local_folder_and_a_name_in_a_mirror_are_the_same_network(bert: Path, tmp_path: Path) -> None:
    raw = [("a b c", "d e"), ("f", "g h i j a b c d e f")]
    found = []
    for backbone in (
        make_backbone(
            Origin({"library": "local", "name": "local", "pool": "mean"}, TASK, bert, Access(tmp_path), False)
        ),
        make_backbone(
            origin(tmp_path, mirror=tmp_path / "mirror", library="transformers", name="someone/tiny-bert", pool="mean")
        ),
    ):
        backbone.eval()
        assert backbone.dim == 16
        tokens = backbone.encoder(raw)
        assert tokens["input_ids"].shape == (2, 14)
        found.append(backbone(tokens).detach())
        assert not any("pooler" in name for name, _ in backbone.named_parameters())
    assert torch.equal(found[0], found[1])


def test_padding_does_not_change_the_features(bert: Path, tmp_path: Path) -> None:
    for pool in ("mean", "cls", "default"):
        declared = {"library": "local", "name": "local", "pool": pool}
        backbone = make_backbone(Origin(declared, TASK, bert, Access(tmp_path), False)).eval()
        alone = backbone(backbone.encoder([("a b", "c")]))
        beside = backbone(backbone.encoder([("a b", "c"), ("a b c d e f g", "h i j")]))
        torch.testing.assert_close(alone[0], beside[0], atol=1e-5, rtol=1e-5)


def test_a_folder_that_is_no_backbone_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="config.json cannot be read"):
        make_backbone(Origin({"library": "local", "name": "local"}, TASK, tmp_path / "empty", Access(tmp_path), False))
    (tmp_path / "empty" / "config.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(UserError, match="names neither"):
        make_backbone(Origin({"library": "local", "name": "local"}, TASK, tmp_path / "empty", Access(tmp_path), False))


def test_pickled_weights_are_not_opened(bert: Path, tmp_path: Path) -> None:
    (bert / "model.safetensors").unlink()
    torch.save({}, bert / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no model.safetensors"):
        plan(["probe=glue/rte", f"task.backbone={bert}"], access=Access(tmp_path, None, True), twin=False)


def test_what_is_not_here_offline_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--offline forbids"):
        make_backbone(origin(tmp_path, library="transformers", name="someone/absent", revision="0" * 40))
    with pytest.raises(UserError, match='no architecture.*Did you mean "resnet18"'):
        make_backbone(origin(tmp_path, library="timm", name="resnet81"))


def test_channels_and_sizes_are_fitted(tmp_path: Path) -> None:
    vit = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    backbone = make_backbone(
        origin(tmp_path, twin=True, library="timm", name="vit_tiny_patch16_224", twin_=0, args=vit)
    )
    backbone.eval()
    grey = torch.randint(0, 255, (2, 1, 8, 8), dtype=torch.uint8)
    assert backbone(grey).shape == (2, 16)
    torch.testing.assert_close(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)))


def test_any_timm_name_runs_as_a_twin(go: Go) -> None:
    _, (row,) = go("probe=demo/digits", "task.backbone=timm:mobilenetv3_small_050", twin=True)
    assert row["state"] == "done"


def test_the_twin_of_an_undeclared_text_backbone_is_refused_by_name(go: Go) -> None:
    _, rows = go("probe=glue/rte", "task.backbone=roberta-base", twin=True)
    assert rows == []


def test_predictions_do_not_depend_on_the_evaluation_batch(
    go: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bench.execute import loaders
    from bench.predictions import load

    found = []
    for size in (64, 7):
        monkeypatch.setattr(loaders, "EVALUATION_BATCH", size)
        store, (row,) = go("probe=glue/rte", store=f"store{size}", twin=True)
        folder = store.folder(row["key"])
        assert folder is not None
        found.append(load(folder, "last", "test")["logits"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
