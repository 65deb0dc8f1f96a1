"""The small BERT that ships with the package: its folder, what it knows of its language, and the recipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from bench.core.errors import UserError
from bench.core.loading import load
from bench.data.access import Access
from bench.execute.adapters.targets import resolve
from bench.execute.backbones import Backbone, Origin, make_backbone
from bench.plan.fingerprint import weights_identity

HOME = Path(__file__).parents[3] / "methods" / "backbones"
TASK = {"name": "demo/grammar", "text": {"max_length": 32}}


@pytest.fixture(scope="module")
def recipe() -> Any:
    """The module `make_sentences.py`."""
    return sys.modules[load("make_sentences:train", HOME).__module__]


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HOME / "sentences.yaml").read_text())
    return found


def made(declared: dict[str, Any], folder: Path, home: Path = HOME, twin: bool = False) -> Backbone:
    return make_backbone(Origin(declared, TASK, home, Access(folder, None, True), twin)).eval()


def test_the_folder_is_the_declared_network_and_keeps_the_size_limit(
    declared: dict[str, Any], recipe: Any, tmp_path: Path
) -> None:
    folder = HOME / declared["weights"]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 1_350_000
    assert not list(folder.glob("*.yaml")), "the catalog would read it as a declaration"
    config = json.loads((folder / "config.json").read_text())
    assert {key: config[key] for key in recipe.ARGS} == recipe.ARGS
    state = load_file(folder / "model.safetensors")
    assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in state.values())
    network = made(declared, tmp_path).network
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {
        name: tensor.shape for name, tensor in state.items()
    }
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert sum(tensor.numel() for tensor in network.parameters()) == declared["parameters"]


def test_the_tokenizer_knows_every_word_of_the_task(declared: dict[str, Any], recipe: Any, tmp_path: Path) -> None:
    encoder = made(declared, tmp_path).encoder
    texts = sorted(recipe.kept_out())[:50]
    places = {word: place for place, word in enumerate(recipe.vocabulary())}
    found = encoder([(text,) for text in texts])
    assert np.array_equal(found["input_ids"].numpy(), recipe.tokens(texts, places))
    assert torch.equal(found["attention_mask"], (found["input_ids"] != recipe.PAD).long())
    assert encoder([("another language",)])["input_ids"].tolist() == [[2, 1, 1, 3]]


def test_the_target_groups_name_layers_of_the_network_and_of_its_twin(declared: dict[str, Any], tmp_path: Path) -> None:
    for twin, layers in ((False, 4), (True, 2)):
        network = made(declared, tmp_path, twin=twin).network
        counts = {group: len(resolve(network, group, declared["targets"])) for group in declared["targets"]}
        assert counts == {"attention": 2 * layers, "attention-output": layers, "mlp": 2 * layers}


def test_weights_that_are_no_folder_are_a_sentence(declared: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "one.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"one\.safetensors is no folder"):
        made({**declared, "weights": "one.safetensors"}, tmp_path, home=tmp_path)


def test_the_key_holds_a_digest_of_the_folder(declared: dict[str, Any], tmp_path: Path) -> None:
    folder, found = tmp_path / "sentences", []
    folder.mkdir()
    for file in (HOME / declared["weights"]).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for text in (None, "{}"):
        if text is not None:
            (folder / "tokenizer.json").write_text(text)
        found.append(weights_identity(declared, tmp_path, Access(tmp_path / "cache", None, True), False).fingerprint)
    assert found[0] != found[1]
    shipped = weights_identity(declared, HOME, Access(tmp_path / "cache", None, True), False)
    assert shipped.fingerprint == found[0]


def test_it_has_read_faultless_sentences_that_the_task_does_not_hold(recipe: Any) -> None:
    from bench.core.streams import generator

    held = recipe.kept_out()
    assert len(held) == 1800
    found = recipe.sentences(6, held, "x", 3)
    recipe.sentences(6, held, "x", 4)
    assert found == recipe.sentences(6, held, "x", 3) != recipe.sentences(6, held, "x", 4)
    assert held.isdisjoint(found)
    assert found[0] not in recipe.sentences(6, {*held, found[0]}, "x", 3)
    draw, words = generator("augmentation", "sentences", "x", 3), load("grammar:lexicon", recipe.TASK)()
    assert found == [load("grammar:sentence", recipe.TASK)(draw, words, faulty=False) for _ in range(6)]


def test_some_words_are_hidden_and_no_special_token(recipe: Any) -> None:
    size = len(recipe.vocabulary())
    raw = np.tile(np.array([recipe.CLS, *range(5, 55), recipe.SEP, recipe.PAD]), (200, 1))
    shown, wanted = recipe.hide(raw, size, "x")
    assert np.array_equal(shown[~wanted], raw[~wanted])
    assert not wanted[:, [0, -2, -1]].any()
    assert abs(wanted[:, 1:-2].mean() - recipe.HIDDEN) < 0.02
    assert abs((shown[wanted] == recipe.MASK).mean() - recipe.MASKED) < 0.04
    assert shown[wanted].min() >= recipe.MASK


def test_the_shipped_states_know_number_and_kind_of_hidden_words(
    declared: dict[str, Any], recipe: Any, tmp_path: Path
) -> None:
    """Nearest mean state by kind of a masked word, on new sentences: shipped weights beat random ones by far."""
    shares = []
    for random in (False, True):
        network: Any = made(declared, tmp_path).network
        if random:
            torch.manual_seed(0)
            network = type(network)(network.config, add_pooling_layer=False).eval()
        shares.append(_told(network, recipe))
    assert shares[0] > 0.85 > shares[1] + 0.2


def _told(network: Any, recipe: Any) -> float:
    """Share of masked words whose kind (of 13, with number) the nearest mean of their states names."""
    words, table = recipe.vocabulary(), load("grammar:lexicon", recipe.TASK)()
    module = sys.modules[load("grammar:lexicon", recipe.TASK).__module__]
    forms = (*module.DETERMINERS, *table.nouns, *table.intransitive, *table.transitive)
    groups = (*forms, table.adjectives, table.adverbs, module.PREPOSITIONS, (module.RELATIVE,), (module.CONJUNCTION,))
    kinds = np.array([next((n for n, group in enumerate(groups) if word in group), -1) for word in words])
    raw = recipe.tokens(
        recipe.sentences(300, recipe.kept_out(), "test"), {word: place for place, word in enumerate(words)}
    )
    rows = np.arange(len(raw))
    chosen = 1 + rows % 8
    shown = raw.copy()
    shown[rows, chosen] = recipe.MASK
    with torch.inference_mode():
        states = network(torch.from_numpy(shown), attention_mask=torch.from_numpy(raw != recipe.PAD).long())[0]
    found, true = states.numpy()[rows, chosen], kinds[raw[rows, chosen]]
    half = rows < len(rows) // 2
    seen = np.unique(true[half])
    means = np.stack([found[half & (true == kind)].mean(0) for kind in seen])
    nearest = seen[((found[~half, None] - means) ** 2).sum(-1).argmin(1)]
    return float((nearest == true[~half]).mean())


def test_two_steps_of_the_recipe_train_repeat_and_are_written(recipe: Any, tmp_path: Path) -> None:
    (one, loss), (two, _) = (recipe.train(steps=2, batch=4) for _ in range(2))
    assert 4 < loss < 7
    for name, tensor in one.state_dict().items():
        assert torch.isfinite(tensor).all()
        assert torch.equal(tensor, two.state_dict()[name]), name
    recipe.write(one, tmp_path / "again")
    shipped = HOME / "sentences"
    assert {file.name for file in shipped.iterdir()} == {file.name for file in (tmp_path / "again").iterdir()}
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_text() == (shipped / name).read_text()
