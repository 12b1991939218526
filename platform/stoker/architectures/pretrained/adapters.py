"""Low-rank adapters beside the linear layers of a pretrained model, by peft."""

import warnings

from torch import nn

from stoker.errors import Problem
from stoker.job.architecture.pretrained import Lora

TARGETS = "architecture.lora.targets"
LINEAR = ("Linear", "Conv1D")
"""Layers that get adapters, by class: torch's, and that of GPT-2."""
ALL = "all-linear"
"""The name that peft has for all linear layers but that of the output."""


def missing_targets(body: nn.Module, lora: Lora, model_type: str) -> list[Problem]:
    """Return a problem for layers that are named although the model does not have them."""
    linear = [name for name, layer in body.named_modules() if type(layer).__name__ in LINEAR]
    there = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
    missing = [
        target
        for target in lora.targets or ()
        if not any(name == target or name.endswith(f".{target}") for name in linear)
    ]
    if not missing:
        return []
    named = ", ".join(f"'{target}'" for target in missing)
    return [Problem(TARGETS, f"this model ({model_type}) has no linear layer {named}; it has {there}")]


def add_adapters(body: nn.Module, lora: Lora, new: frozenset[str]) -> None:
    """Put adapters beside the target layers but those with `new` weights; nothing else of the model keeps gradients."""
    from peft import LoraConfig, inject_adapter_in_model

    targets = list(lora.targets) if lora.targets else ALL
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        exclude_modules=sorted({name.rpartition(".")[0] for name in new}) or None,
        bias="none",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out")  # peft sees by itself how GPT-2 lays out weights
        inject_adapter_in_model(config, body)
