"""How the folder `sentences` was made: a small BERT that learns to fill gaps in sentences of a generated language.

    python methods/backbones/make_sentences.py --out sentences

The language is that of the task demo/grammar (`tasks/demo/grammar.py`), as the text a language model has read is in
the language of its tasks. It reads faultless sentences alone, without labels, of streams of its own; a sentence that
the task holds is left out. As in BERT, a part of the words is hidden: most of them behind a mask, some replaced by
others, some left as they are; the network says which words stood there. The weights are the network's without the
layer that says so. Random numbers are counters (`bench.core.streams`): batch k depends on k alone, so that the same
machine, library versions and thread count give the same file. About one minute on one core.

It stops early on purpose: after four times as many steps full fine-tuning makes no error on demo/grammar, and a task
on which methods are all right cannot tell them apart. The number of steps was chosen by the task's own test accuracy,
so that these weights say nothing about how good such networks are on it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM

from bench.core.loading import load
from bench.core.streams import generator, seed

Ints = NDArray[np.int64]

TASK = Path(__file__).parents[2] / "tasks" / "demo"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, _, CLS, SEP, MASK = range(len(SPECIAL))
ARGS: dict[str, Any] = {
    "hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 192,
    "max_position_embeddings": 32, "type_vocab_size": 2, "pad_token_id": PAD,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
STEPS, BATCH, PEAK_LR, WEIGHT_DECAY = 1500, 64, 2e-3, 0.01
HIDDEN = 0.2  # part of the words that is to be found; of these
MASKED, REPLACED = 0.7, 0.2  # so much is masked, and so much replaced by a random word


def vocabulary() -> list[str]:
    """Every token: the special ones, and the words of the language in its own order."""
    return [*SPECIAL, *load("grammar:lexicon", TASK)().words()]


def kept_out() -> set[str]:
    """The sentences of the task, which are not trained on."""
    return {text for columns in load("grammar:grammar", TASK)().values() for text in columns["sentence"]}


def sentences(count: int, held: set[str], *coordinates: str | int) -> list[str]:
    """`count` faultless sentences that are not among `held`; a function of the arguments."""
    draw, sentence, words = (
        generator("augmentation", "sentences", *coordinates),
        load("grammar:sentence", TASK),
        load("grammar:lexicon", TASK)(),
    )
    found: list[str] = []
    while len(found) < count:
        text = sentence(draw, words)
        if text not in held:
            found.append(text)
    return found


def tokens(texts: list[str], places: dict[str, int]) -> Ints:
    """Numbers (n, longest) of the words between [CLS] and [SEP], padded."""
    rows = [[CLS, *(places[word] for word in text.split()), SEP] for text in texts]
    found = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def hide(raw: Ints, size: int, *coordinates: str | int) -> tuple[Ints, NDArray[np.bool_]]:
    """`raw` with some words hidden, and which ones are to be found; `size` is that of the vocabulary."""
    draw = generator("augmentation", "hidden", *coordinates)
    wanted = (draw.random(raw.shape) < HIDDEN) & (raw >= len(SPECIAL))
    how, others = draw.random(raw.shape), draw.integers(len(SPECIAL), size, raw.shape)
    shown = np.where(how < MASKED, MASK, np.where(how < MASKED + REPLACED, others, raw))
    return np.where(wanted, shown, raw), wanted


def train(steps: int = STEPS, batch: int = BATCH, report: int = 200) -> tuple[Any, float]:
    """The trained BertForMaskedLM, and the mean loss per hidden word of the last `report` batches, in nats."""
    words, held = vocabulary(), kept_out()
    places = {word: place for place, word in enumerate(words)}
    torch.manual_seed(seed("init", "sentences", "weights"))
    network: Any = BertForMaskedLM(BertConfig(vocab_size=len(words), **ARGS)).train()
    thick = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    thin = [parameter for parameter in network.parameters() if parameter.ndim < 2]
    groups = [{"params": thick, "weight_decay": WEIGHT_DECAY}, {"params": thin, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_LR, betas=(0.9, 0.98))
    losses: list[float] = []
    begun = time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * min(1, (step + 1) / (0.05 * steps + 1), 1.03 * (1 - step / steps))
        raw = tokens(sentences(batch, held, "train", step), places)
        shown, wanted = hide(raw, len(words), "train", step)
        loss = error(network, shown, raw, wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses = [*losses, loss.item()][-report:]
        if (step + 1) % report == 0:
            print(f"{step + 1} steps, {time.process_time() - begun:.0f} s, loss {np.mean(losses):.3f}", flush=True)
    return network, float(np.mean(losses))


def error(network: Any, shown: Ints, raw: Ints, wanted: NDArray[np.bool_]) -> Tensor:
    """Mean cross-entropy of the hidden words."""
    there = torch.from_numpy(raw != PAD).long()
    states = network.bert(torch.from_numpy(shown), attention_mask=there).last_hidden_state
    chosen = torch.from_numpy(wanted)
    return cross_entropy(network.cls(states[chosen]), torch.from_numpy(raw)[chosen])


def write(network: Any, folder: Path) -> None:
    """The encoder's weights, its configuration and its tokenizer, as transformers reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().contiguous() for name, tensor in network.bert.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config = {"model_type": "bert", "architectures": ["BertModel"], "vocab_size": network.config.vocab_size, **ARGS}
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(vocabulary())}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    names = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL}
    about = {**names, "model_max_length": ARGS["max_position_embeddings"], "tokenizer_class": "PreTrainedTokenizerFast"}
    for name, body in (("config", config), ("tokenizer_config", about), ("tokenizer", json.loads(made.to_str()))):
        (folder / f"{name}.json").write_text(json.dumps(body, indent=1, sort_keys=True) + "\n")


def main() -> None:
    """Train, and write the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, _ = train(options.steps)
    write(network, options.out)
    size = sum(file.stat().st_size for file in options.out.iterdir())
    print(f"{sum(tensor.numel() for tensor in network.bert.parameters())} parameters, {size} bytes")


if __name__ == "__main__":
    main()
