"""What of a job does not fit a pretrained model, or the other way round."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from stoker.architectures.inputs import only_one
from stoker.architectures.pretrained.adapters import missing_targets
from stoker.architectures.pretrained.body import body_layers, empty_body, read_config
from stoker.architectures.pretrained.encoder_decoder import start_token
from stoker.architectures.pretrained.kinds import FEATURES, MODEL, auto_class, unfit
from stoker.architectures.pretrained.network import end_token
from stoker.architectures.search_settings import search_misfits
from stoker.architectures.texts.words import says_of_each
from stoker.datasets.model_files import model_folder
from stoker.datasets.tokens.pretrained import MASKS
from stoker.datasets.tokens.tokenizer import SPECIAL
from stoker.errors import Problem
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.signature import BlanksOutput, ContinuationOutput, Signature, TextOutput


def misfits(settings: PretrainedSettings, signature: Signature) -> list[Problem]:
    """Return a problem for other samples than texts, and for settings that do not fit the model."""
    if problems := [*only_one("text", settings.family, signature), *search_misfits(settings, signature)]:
        return problems
    folder = model_folder(settings.model, MODEL)
    config = read_config(folder)
    if problems := unfit(config, settings.model, signature):
        return problems
    with torch.device("meta"):
        body = empty_body(folder, auto_class(signature))
    problems = []
    known = config.vocab_size
    tokens = signature.tokens[0].vocabulary - SPECIAL
    if tokens > known:
        message = f"the tokenizer has {tokens:,} tokens, the model {known:,}; use the model's own"
        problems.append(Problem("dataset.text.tokenizer", message))
    layers = len(body_layers(body))
    if settings.frozen != "all" and settings.frozen > layers:
        message = f"the model has {layers} layers, fewer than {settings.frozen}; use at most {layers}, or all"
        problems.append(Problem("architecture.frozen", message))
    if settings.lora != "none":
        problems += missing_targets(body, settings.lora, config.model_type)
    if isinstance(signature.output, ContinuationOutput | TextOutput):
        problems += _end_misfits(settings, config, isinstance(signature.output, TextOutput))
    elif isinstance(signature.output, BlanksOutput):
        problems += _mask_misfits(signature.output)
    own_output = auto_class(signature) != FEATURES
    return [*problems, *(_without_head(settings) if own_output else _head_misfits(settings, config, body, signature))]


def _head_misfits(
    settings: PretrainedSettings, config: Any, body: nn.Module, signature: Signature
) -> Iterator[Problem]:
    if settings.pooling != "mean" and says_of_each(signature):
        message = "stands for a whole text, and this task says something of each word of it; leave it out"
        yield Problem("architecture.pooling", message)
    elif settings.pooling == "pooler" and getattr(body, "pooler", None) is None:
        message = f"'{settings.model}' ({config.model_type}) has no pooling layer; use mean"
        yield Problem("architecture.pooling", message)


def _end_misfits(settings: PretrainedSettings, config: Any, begins: bool) -> Iterator[Problem]:
    """Check that a model has a token that ends a text, and one that begins it where `begins`."""
    missing = {"eos_token_id, the end of a text": end_token(config) is None}
    if begins:
        missing["decoder_start_token_id, the beginning of a text that is written"] = start_token(config) is None
    for name in (name for name, lacks in missing.items() if lacks):
        yield Problem(MODEL, f"config.json of '{settings.model}' has no {name}; add it")


def _mask_misfits(output: BlanksOutput) -> Iterator[Problem]:
    """Check that the tokenizer has a token for a hidden word."""
    if output.mask < SPECIAL:
        message = f"has no token for a hidden word ({' or '.join(MASKS)}); use the model's own"
        yield Problem("dataset.text.tokenizer", message)


def _without_head(settings: PretrainedSettings) -> Iterator[Problem]:
    """Name settings of a new head, which a model with its own output layers does not get."""
    if settings.frozen == "all":
        message = "all: the model has its own output layers for this task, and nothing would be trained; use lora"
        yield Problem("architecture.frozen", message)
    given, usual = settings.model_dump(), type(settings).model_fields
    for key in ("pooling", "dropout"):
        if given[key] != usual[key].default:
            message = "is of a new head; the model has its own output layers for this task; leave it out"
            yield Problem(f"architecture.{key}", message)
