"""Pretrained text models of transformers with a new head: tuned as a whole, in their last layers, or by adapters."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stoker.architectures.inputs import only_one
from stoker.architectures.pretrained.adapters import missing_targets
from stoker.architectures.pretrained.body import body_layers, empty_body, is_encoder_decoder, loaded_body, read_config
from stoker.architectures.pretrained.decoder import PretrainedDecoder
from stoker.architectures.pretrained.encoder import PretrainedEncoder
from stoker.architectures.pretrained.network import PretrainedNetwork, end_token
from stoker.architectures.pretrained.origin import read_origin
from stoker.architectures.words import says_of_each
from stoker.datasets.model_files import CONFIG, TOKENIZER, WEIGHTS, model_folder, pinned, weight_files
from stoker.datasets.tokens.tokenizer import SPECIAL
from stoker.errors import JobError, Problem
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.dataset import Dataset
from stoker.job.signature import ContinuationOutput, Signature

LIBRARIES = ("transformers", "peft")
MODEL = "architecture.model"


def build(settings: PretrainedSettings, signature: Signature) -> nn.Module:
    """Build the network with the model's weights; on the meta device from its description alone."""
    on_meta = torch.get_default_device().type == "meta"
    folder = model_folder(settings.model, MODEL, weights=not on_meta)
    writes = isinstance(signature.output, ContinuationOutput)
    body = empty_body(folder, writes) if on_meta else loaded_body(folder, settings.model, writes)
    return _network(body, settings, signature, folder)


def rebuild(settings: PretrainedSettings, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model, whose own weights are still to be loaded.

    Raises:
        JobError: the weights that are not saved with it are gone, or are others than at its training.

    """
    if not (digest := read_origin(saved)):
        body = empty_body(saved, isinstance(signature.output, ContinuationOutput))
        return _network(body, settings, signature, None)
    network = build(settings, signature)
    assert isinstance(network, PretrainedNetwork)
    if network.origin_digest() != digest:
        message = (
            f"the weights in '{settings.model}' are not those that this run was trained on (SHA-256 {digest[:12]})"
        )
        raise JobError([Problem(MODEL, f"{message}; put these back")])
    return network


def _network(
    body: nn.Module, settings: PretrainedSettings, signature: Signature, folder: Path | None
) -> PretrainedNetwork:
    kind = PretrainedDecoder if isinstance(signature.output, ContinuationOutput) else PretrainedEncoder
    return kind(body, settings, signature, folder)


def unavailable(settings: PretrainedSettings, dataset: Dataset) -> list[Problem]:
    """Return a problem for libraries and files that are not there."""
    if missing := [name for name in LIBRARIES if importlib.util.find_spec(name) is None]:
        message = f"needs {' and '.join(missing)}, not installed here; pip install 'stoker[pretrained]'"
        return [Problem("architecture.family", f"pretrained {message}")]
    folder = model_folder(settings.model, MODEL)
    if not (folder / CONFIG).is_file():
        cure = "name a folder that a model was written to by save_pretrained(FOLDER)"
        return [Problem(MODEL, f"'{settings.model}' has no {CONFIG}; {cure}")]
    problems = []
    if not dataset.text.tokenizer and not (folder / TOKENIZER).is_file():
        cure = "write it by AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER), or set dataset.text.tokenizer"
        problems.append(Problem(MODEL, f"'{settings.model}' has no {TOKENIZER}; {cure}"))
    if Path(settings.model).expanduser().is_dir() and not weight_files(folder):
        cure = "pickles such as pytorch_model.bin are not read; write it by model.save_pretrained(FOLDER)"
        problems.append(Problem(MODEL, f"'{settings.model}' has no {WEIGHTS}; {cure}"))
    return problems


def with_default_sizes(settings: PretrainedSettings, signature: Signature, samples: int) -> PretrainedSettings:
    """Pin the model to its folder or commit."""
    return settings.model_copy(update={"model": pinned(settings.model, model_folder(settings.model, MODEL))})


def misfits(settings: PretrainedSettings, signature: Signature) -> list[Problem]:
    """Return a problem for other samples than texts, and for settings that do not fit the model."""
    if problems := only_one("text", settings.family, signature):
        return problems
    folder = model_folder(settings.model, MODEL)
    config = read_config(folder)
    if is_encoder_decoder(config):
        message = f"'{settings.model}' ({config.model_type}) reads one text and writes another"
        return [Problem(MODEL, f"{message}; use an encoder such as BERT, or a decoder")]
    writes = isinstance(signature.output, ContinuationOutput)
    with torch.device("meta"):
        body = empty_body(folder, writes)
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
    return [
        *problems,
        *(_writer_misfits(settings, config) if writes else _reader_misfits(settings, config, body, signature)),
    ]


def _reader_misfits(
    settings: PretrainedSettings, config: Any, body: nn.Module, signature: Signature
) -> Iterator[Problem]:
    if settings.pooling != "mean" and says_of_each(signature):
        message = "stands for a whole text, and this task says something of each word of it; leave it out"
        yield Problem("architecture.pooling", message)
    elif settings.pooling == "pooler" and getattr(body, "pooler", None) is None:
        message = f"'{settings.model}' ({config.model_type}) has no pooling layer; use mean"
        yield Problem("architecture.pooling", message)


def _writer_misfits(settings: PretrainedSettings, config: Any) -> Iterator[Problem]:
    """Name what a model lacks to continue texts, and settings of the head, which it does not get."""
    if end_token(config) is None:
        message = f"config.json of '{settings.model}' has no eos_token_id, the end of a text; add it"
        yield Problem(MODEL, message)
    if settings.frozen == "all":
        message = "all: a model that continues texts has no new head, and nothing would be trained; use lora"
        yield Problem("architecture.frozen", message)
    given, usual = settings.model_dump(), type(settings).model_fields
    for key in ("pooling", "dropout"):
        if given[key] != usual[key].default:
            message = "is of a new head, which a model that continues texts does not get; leave it out"
            yield Problem(f"architecture.{key}", message)
