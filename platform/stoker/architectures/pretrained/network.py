"""What the networks on a pretrained model share: its weights, those of them that are trained, and token numbers."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.pretrained.adapters import add_adapters
from stoker.architectures.pretrained.body import body_layers, stacks
from stoker.architectures.pretrained.export import (
    adapted_layers,
    merge_adapters,
    write_adapters,
    write_model,
    write_tokenizer,
)
from stoker.architectures.pretrained.origin import Origin
from stoker.datasets.tokens.tokenizer import PADDING, SPECIAL
from stoker.errors import JobError, Problem
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.signature import Signature

NEVER = -1e4
"""Logit of tokens that no text of the model's has; finite, so that smoothed labels have a loss."""


@dataclass(frozen=True)
class Loaded:
    """A model of transformers."""

    body: nn.Module
    folder: Path | None
    """Of its files; None where all of its weights are saved with the network."""
    new: frozenset[str] = frozenset()
    """Names of the weights that the files lack, which are trained in any case."""


class PretrainedNetwork(nn.Module):
    """A pretrained model as a part of a network.

    Args:
        model: of transformers.
        settings: of the job.
        signature: of one text, one sentence, or a question with its text.

    """

    special: Tensor

    def __init__(self, model: Loaded, settings: PretrainedSettings, signature: Signature) -> None:
        super().__init__()
        body = model.body
        self.name = next(iter((*signature.texts, *signature.pairs, *signature.pieces)))
        self.end = end_token(body.config)
        self._settings, self._signature = settings, signature
        _freeze(body, settings, model.new.intersection(body.state_dict()))
        self.body = body
        self.activations = max(max(each.shape) for layer in body_layers(body) for each in layer.parameters())
        """Numbers that its widest layer puts out for a token."""
        self._origin = Origin(settings.model, model.folder)
        special = [self.end or 0] * SPECIAL
        config: Any = body.config
        special[PADDING] = config.pad_token_id or 0
        self.register_buffer("special", torch.tensor(special), persistent=False)

    @property
    def model(self) -> nn.Module:
        """Return the model of transformers, with its own output layer where the network uses that."""
        return self.body

    @property
    def head(self) -> nn.Linear | None:
        """Return the new layer above the model; None where it has its own output layer."""
        return None

    def numbers(self, tokens: Tensor) -> Tensor:
        """Return the model's own numbers of tokens."""
        return torch.where(tokens >= SPECIAL, tokens - SPECIAL, self.special[tokens.clamp(max=SPECIAL - 1)])

    def own_logits(self, logits: Tensor, vocabulary: int) -> Tensor:
        """Return (..., vocabulary) logits in the order of our tokens from those in the order of the model's."""
        return functional.pad(logits[..., : vocabulary - SPECIAL], (SPECIAL, 0), value=NEVER)

    def unchanged_weights(self) -> frozenset[str]:
        """Return the names of the weights that training does not change, and second names of others."""
        found, seen = set(), set()
        for name, value in self.state_dict(keep_vars=True).items():
            if id(value) in seen or (isinstance(value, nn.Parameter) and not value.requires_grad):
                found.add(name)
            seen.add(id(value))
        return frozenset(found)

    def origin_digest(self) -> str:
        """Return the SHA-256 of the model's weights; empty where all of them are trained."""
        return "" if all(each.requires_grad for each in self.parameters()) else self._origin.digest

    def save_origin(self, folder: Path) -> None:
        """Write the model's description and, where weights are not saved, the SHA-256 of those that they came from."""
        self._origin.write(folder, self.body.config, self.origin_digest())

    def export(self, folder: Path, tokenizer: str, merge: bool) -> str:
        """Write the network in the format of transformers, or its adapters in that of peft, and the tokenizer.

        Raises:
            JobError: there are no adapters to merge, or transformers has no such model.

        """
        adapted = bool(adapted_layers(self.model))
        if merge and not adapted:
            message = "this run has trained no adapters (architecture.lora) to merge; leave out --merge"
            raise JobError([Problem("", message)])
        if adapted and not merge:
            code = write_adapters(self.model, self.head, self._settings.model, self._signature, folder)
        else:
            merge_adapters(self.model)
            code = write_model(self.model, self.head, self._settings.pooling, self._signature, folder)
        (shape,) = self._signature.tokens
        write_tokenizer(tokenizer, self.body.config, shape.length, folder)
        return code


def end_token(config: Any) -> int | None:
    """Return the number of the token that ends a text; None if the model has none."""
    ends = config.eos_token_id
    first: int | None = ends[0] if isinstance(ends, list) else ends
    return first


def _freeze(body: nn.Module, settings: PretrainedSettings, new: frozenset[str]) -> None:
    """Leave only those weights of a model with gradients that the job trains, or that are new; add adapters."""
    if settings.lora != "none":
        add_adapters(body, settings.lora, new)
    elif settings.frozen == "all":
        body.requires_grad_(False)
    elif settings.frozen:
        for stack in stacks(body):
            _freeze_first(stack, settings.frozen)
    for name, parameter in body.named_parameters():
        if name in new:
            parameter.requires_grad_(True)


def _freeze_first(stack: nn.Module, count: int) -> None:
    """Take the gradients from the first layers of a stack, and from what comes before them: the embeddings."""
    layers = list(body_layers(stack))
    trained = {id(each) for layer in layers[count:] for each in layer.parameters()}
    inside = {id(each) for layer in layers for each in layer.parameters()}
    before = True
    for parameter in stack.parameters():
        before = before and id(parameter) not in inside
        if before or (id(parameter) in inside and id(parameter) not in trained):
            parameter.requires_grad_(False)


def cache_argument(body: nn.Module) -> str:
    """Return the argument that a model takes its keys and values by, which was renamed in transformers 5.24."""
    return "cache" if "cache" in inspect.signature(body.forward).parameters else "past_key_values"
