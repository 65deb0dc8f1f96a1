"""Adapters of the `peft` library by declaration alone: `{peft: LORA, params: {...}, targets: attention}`.

`params` are the fields of the tuner's own configuration. peft puts its layers into the backbone in place, on
an explicit list of layers; what the tuner adds is trained, saved and merged by peft's own code. Tuners that
act on the inputs of a `PreTrainedModel` (prompts) or wrap its forward are refused by name, for the harness
calls the backbone itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bench.core.errors import UserError, nearest
from bench.execute.adapters.adaptation import Adaptation
from bench.execute.adapters.interchange import exact_targets
from bench.execute.adapters.targets import module_names

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

# Fields that the harness sets, or that make sense only in peft's own scripts.
_OURS = {
    "peft_type", "task_type", "target_modules", "exclude_modules", "base_model_name_or_path", "auto_mapping",
    "revision", "peft_version", "inference_mode", "total_step", "rank_pattern", "modules_to_save",
}  # fmt: skip
# Initialisations that need data or another model before training; without that peft would train something
# else.
_CALIBRATED = ("eva", "corda", "lora_ga", "loftq")
# What peft and the tuners raise about a backbone or a configuration that they do not take.
_REFUSALS = (
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    RuntimeError,
    AssertionError,
    ImportError,
)


class PeftAdaptation(Adaptation):
    """A tuner of the installed `peft`, on the layers that `targets` names (absent: on peft's own)."""

    def __init__(self, backbone: nn.Module, *, peft: str, **rest: Any) -> None:
        super().__init__(backbone, **rest)
        self.peft_type = str(peft).upper()
        self._peft: tuple[PeftModel, ...] = ()

    def setup(self, **params: Any) -> None:
        """The fields of the tuner's configuration."""

    @property
    def model(self) -> PeftModel:
        return self._peft[0]

    @property
    def config(self) -> PeftConfig:
        return self.model.peft_config["default"]

    def build(self) -> None:
        """Inject the tuner's layers; peft draws their values from torch's global generator."""
        config = self._config()
        from peft import PeftModel

        try:
            self._peft = (PeftModel(self.backbone, config, autocast_adapter_dtype=False),)
        except _REFUSALS as error:
            raise UserError(
                f"peft's {self.peft_type} does not accept the backbone {type(self.backbone).__name__} "
                f"with these targets: {_first_sentence(error)}"
            ) from error
        # What layers share (a vector bank, projections) belongs to the tuner; owned here, it moves and is
        # seen with us.
        for name, child in self.model.base_model.named_children():
            if child is not self.backbone:
                self.add_module(name, child)
        kept = set(self.moving)
        for name, parameter in self.backbone.named_parameters():
            if _stripped(name) in kept:
                parameter.requires_grad_(True)
        self.moving = [name for name, parameter in self.backbone.named_parameters() if parameter.requires_grad]

    def check_used(self, parameters: Iterable[nn.Parameter] | None = None) -> None:
        """UserError naming the layers on which nothing that peft added received a gradient."""
        named = dict(self.backbone.named_parameters())
        ids = {id(parameter) for parameter in (named.values() if parameters is None else parameters)}
        layers: dict[str, bool] = {}
        for name in self.moving:
            if id(named[name]) in ids:
                layer = _layer(name)
                layers[layer] = layers.get(layer, False) or named[name].grad is not None
        bypassed = [layer for layer, reached in layers.items() if not reached]
        if bypassed:
            raise UserError(
                f"No gradient reached what peft's {self.peft_type} added to {', '.join(bypassed[:4])}: the "
                "backbone does not use the layer or reads its weight directly; leave it out of the targets."
            )

    def merge(self) -> None:
        """Merge by peft's own code; UserError where the tuner cannot."""
        if self.state != "attached":
            raise RuntimeError("only an attached adaptation can be merged, and only once")
        if not self.mergeable:
            raise UserError(f"peft's {self.peft_type} cannot merge what it trained into the weights.")
        try:
            self.model.merge_and_unload()
        except (*_REFUSALS, NotImplementedError) as error:
            raise UserError(f"peft's {self.peft_type} cannot merge here: {_first_sentence(error)}") from error
        self.state = "merged"

    @property
    def mergeable(self) -> bool:
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [module for module in self.backbone.modules() if isinstance(module, BaseTunerLayer)]
        return all(type(layer).merge is not BaseTunerLayer.merge for layer in layers)

    def named_trained(self) -> list[tuple[str, nn.Parameter]]:
        if self.state == "merged":
            raise RuntimeError("peft keeps nothing of what it trained after a merge; ask before")
        return super().named_trained()

    def _state(self) -> list[tuple[str, Tensor]]:
        """Without the buffers: a tuner's random projections come back when attached under the same seed."""
        return list(self.named_trained())

    def save_adapter(self, folder: Path, name_or_path: str | None = None) -> bool:
        """Save by peft's `save_pretrained`; before a merge only."""
        if self.state != "attached":
            raise RuntimeError("a peft adaptation is saved while it is attached")
        self.config.base_model_name_or_path = name_or_path
        self.model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        return True

    def values(self) -> dict[str, Any]:
        """The declared params, as the tuner's configuration takes them."""
        return dict(self.params)

    def _config(self) -> PeftConfig:
        """The tuner's configuration; UserError for an unknown tuner, field or value."""
        config_class = _config_class(self.peft_type)
        fields = {field.name for field in dataclasses.fields(config_class)}
        for word in self.params:
            if word in _OURS:
                raise UserError(f"adaptation.params.{word} is set by the harness for every peft adaptation.")
            if word not in fields:
                hint = nearest(word, fields - _OURS)
                raise UserError(f"peft's {self.peft_type} has no field {word!r} for adaptation.params.{hint}")
        start = str(self.params.get("init_lora_weights", ""))
        if start in _CALIBRATED:
            raise UserError(f"peft's initialisation {start!r} needs data before training, which no declaration gives.")
        values = self.values()
        if "feedforward_modules" in fields:
            values.setdefault("feedforward_modules", [])
        if self.targets is not None:
            if "target_modules" not in fields:
                raise UserError(f"peft's {self.peft_type} takes no targets; leave adaptation.targets out.")
            names = module_names(self.backbone, self.targets, self.groups)
            values["target_modules"] = exact_targets(names, [path for path, _ in self.backbone.named_modules()])
        try:
            config: PeftConfig = config_class(**values)
            return config
        except _REFUSALS as error:
            raise UserError(f"peft's {self.peft_type} refuses adaptation.params: {_first_sentence(error)}") from error


def _config_class(peft_type: str) -> type[Any]:
    """The configuration class of a tuner type; UserError when unknown or of a kind that is refused."""
    from peft.config import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
    from peft.tuners.tuners_utils import BaseTuner

    configs = {str(known.value): config for known, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if peft_type not in configs:
        known = sorted(configs)
        raise UserError(f"peft has no tuner type {peft_type!r}.{nearest(peft_type, known)} It has {', '.join(known)}.")
    tuner: Any = {str(known.value): tuner for known, tuner in PEFT_TYPE_TO_TUNER_MAPPING.items()}[peft_type]
    if issubclass(configs[peft_type], PromptLearningConfig) or not issubclass(tuner, BaseTuner):
        raise UserError(f"peft's {peft_type} changes the inputs of a PreTrainedModel, not available for a backbone.")
    if tuner.forward is not BaseTuner.forward and peft_type != "ADALORA":
        raise UserError(f"peft's {peft_type} works in a forward of its own, not available for a backbone.")
    found: type[Any] = configs[peft_type]
    return found


def _first_sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200].rstrip() + " …"


def _stripped(name: str) -> str:
    """A backbone parameter's name before peft wrapped its layer."""
    return name.replace(".base_layer.", ".")


def _layer(name: str) -> str:
    """The layer that a parameter of peft's belongs to: `a.b.lora_A.default.weight` -> `a.b`."""
    parts = name.split(".")
    for index, part in enumerate(parts):
        if part == "default" and index:
            return ".".join(parts[: index - 1])
    return name.rpartition(".")[0]
