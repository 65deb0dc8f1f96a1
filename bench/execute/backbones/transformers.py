"""Text backbones from transformers: encoders whose token states are pooled to one vector per row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.errors import UserError, first_line
from bench.execute.backbones import Backbone, Features, Origin


class TextEncoder:
    """Tuples of one or two strings -> token tensors, padded to the longest of the batch."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._tokenizer, self._max_length = tokenizer, max_length

    def __call__(self, raw: list[tuple[str, ...]]) -> dict[str, Tensor]:
        columns = [list(column) for column in zip(*raw, strict=True)]
        if len(columns) > 2:
            raise UserError(f"A text backbone takes one or two input columns, not {len(columns)}.")
        encoded = self._tokenizer(
            *columns, truncation=True, max_length=self._max_length, padding=True, return_tensors="pt"
        )
        return dict(encoded)


class TransformersBackbone(Backbone):
    """`pool`: mean over tokens, the first token (cls), or the model's own pooler (default; without one, cls)."""

    offers = ("tokens",)
    _tokenizer: Any

    def __init__(
        self, network: Any, encoder: TextEncoder, groups: dict[str, list[str]], pool: str, tokenizer: Any
    ) -> None:
        super().__init__(network, int(network.config.hidden_size), encoder, groups)
        if pool == "default" and getattr(network, "pooler", None) is None:
            pool = "cls"
        if pool != "default" and getattr(network, "pooler", None) is not None:
            network.pooler = None  # weights that would never be used, trained or counted
        self._pool = pool
        object.__setattr__(self, "_tokenizer", tokenizer)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self._pooled(self.network(**inputs), inputs)

    def features(self, inputs: dict[str, Tensor], wants: Sequence[str]) -> Features:
        """Tokens are the last layer's states of all words and marks; the mask leaves the padding out."""
        self.refuse(wants)
        found = self.network(**inputs)
        return Features(self._pooled(found, inputs), found.last_hidden_state, inputs["attention_mask"].bool())

    def widths(self, want: str) -> tuple[int, ...]:
        self.refuse([want])
        return (self.dim,)

    def _pooled(self, found: Any, inputs: dict[str, Tensor]) -> Tensor:
        if self._pool == "default":
            pooled: Tensor = found.pooler_output
            return pooled
        states: Tensor = found.last_hidden_state
        if self._pool == "cls":
            return states[:, 0]
        mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1).clamp(min=1)

    def save(self, folder: Path) -> None:
        """`AutoModel.from_pretrained(FOLDER)` and `AutoTokenizer.from_pretrained(FOLDER)` open it."""
        network: Any = self.network
        network.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)


def make(origin: Origin) -> Backbone:
    """Load the network and its tokenizer; only safetensors files are read, and no code of the repository."""
    groups = dict(origin.declared.get("targets") or {})
    network, tokenizer = _twin(origin) if origin.twin else _published(origin)
    longest = int(getattr(network.config, "max_position_embeddings", 512))
    length = min(int((origin.task.get("text") or {}).get("max_length") or 128), longest)
    pool = str(origin.declared.get("pool") or "cls")
    return TransformersBackbone(network, TextEncoder(tokenizer, length), groups, pool, tokenizer)


def _published(origin: Origin) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = origin.folder()
    args = dict(origin.declared.get("args") or {})
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        network, loading = AutoModel.from_pretrained(
            folder,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **args,
        )
    except Exception as error:
        raise UserError(f"transformers cannot open {folder}: {first_line(error)}") from None
    if any("pooler" in name for name in loading["missing_keys"]):
        network.pooler = None  # it was never trained
    return network, tokenizer


def _twin(origin: Origin) -> tuple[Any, Any]:
    """A tiny random network of the declared architecture, over the twin data's own words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    args = dict(origin.declared.get("twin") or {})
    if "model_type" not in args:
        raise UserError(
            f"The backbone {origin.declared['name']} has no twin; declare it in methods/backbones with "
            "`twin: {model_type: bert, hidden_size: 32, ...}`."
        )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{word}" for word in range(24))]
    tokens = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = AutoConfig.for_model(args.pop("model_type"), **{"vocab_size": len(words), "pad_token_id": 0, **args})
    network: nn.Module = AutoModel.from_config(config)
    return network, tokenizer
