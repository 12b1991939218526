"""Low-rank adapters beside the linear layers of a pretrained model, by peft."""

import warnings

from torch import nn

from stoker.errors import Problem
from stoker.job.architecture.pretrained import Lora

TARGETS = "architecture.lora.targets"
LINEAR = ("Linear", "Conv1D")
"""Layers that get adapters, by class: torch's, and that of GPT-2."""


def default_targets(model_type: str) -> tuple[str, ...] | None:
    """Return the layers that peft gives adapters for a type of model; None if it knows none."""
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    found = KNOWN.get(model_type)
    return tuple(found) if isinstance(found, (list, tuple)) else None


def missing_targets(body: nn.Module, lora: Lora, model_type: str) -> list[Problem]:
    """Return a problem for layers that are named although the model does not have them, and where none are named."""
    linear = [name for name, layer in body.named_modules() if type(layer).__name__ in LINEAR]
    there = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
    if lora.targets is None:
        return [Problem(TARGETS, f"peft names no layers for {model_type}; name some of these: {there}")]
    missing = [
        target for target in lora.targets if not any(name == target or name.endswith(f".{target}") for name in linear)
    ]
    if not missing:
        return []
    named = ", ".join(f"'{target}'" for target in missing)
    return [Problem(TARGETS, f"this model ({model_type}) has no linear layer {named}; it has {there}")]


def add_adapters(body: nn.Module, lora: Lora) -> None:
    """Put adapters beside the target layers; nothing else of the model keeps gradients."""
    from peft import LoraConfig, inject_adapter_in_model

    assert lora.targets is not None
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets), bias="none"
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out")  # peft sees by itself how GPT-2 lays out weights
        inject_adapter_in_model(config, body)
