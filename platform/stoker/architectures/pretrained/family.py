"""Pretrained text models of transformers, with a new head or their own output: tuned whole, in part, or by adapters."""

import importlib.util
from pathlib import Path

import torch
from torch import nn

from stoker.architectures.pretrained.body import empty_body, loaded_body, new_weights
from stoker.architectures.pretrained.decoder import PretrainedDecoder
from stoker.architectures.pretrained.encoder import PretrainedEncoder
from stoker.architectures.pretrained.encoder_decoder import PretrainedEncoderDecoder
from stoker.architectures.pretrained.kinds import MODEL, WITH_OUTPUT, auto_class
from stoker.architectures.pretrained.masked import PretrainedMasked
from stoker.architectures.pretrained.network import Loaded, PretrainedNetwork
from stoker.architectures.pretrained.origin import read_origin
from stoker.architectures.search_settings import with_search
from stoker.datasets.model_files import CONFIG, TOKENIZER, WEIGHTS, model_folder, pinned, weight_files
from stoker.errors import JobError, Problem
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.dataset import Dataset
from stoker.job.signature import BlanksOutput, ContinuationOutput, Output, Signature, TextOutput

LIBRARIES = ("transformers", "peft")
NETWORKS: dict[type[Output | None], type[PretrainedNetwork]] = {
    ContinuationOutput: PretrainedDecoder,
    BlanksOutput: PretrainedMasked,
    TextOutput: PretrainedEncoderDecoder,
}
"""Networks of the models that keep their own output layer; all others get a new head."""


def build(settings: PretrainedSettings, signature: Signature) -> nn.Module:
    """Build the network with the model's weights; on the meta device from its description alone."""
    on_meta = torch.get_default_device().type == "meta"
    folder = model_folder(settings.model, MODEL, weights=not on_meta)
    if not on_meta:
        body, new = loaded_body(folder, settings.model, auto_class(signature))
        return _network(Loaded(body, folder, new), settings, signature)
    body = empty_body(folder, auto_class(signature))
    return _network(Loaded(body, folder, _new(folder, body, signature)), settings, signature)


def rebuild(settings: PretrainedSettings, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model, whose own weights are still to be loaded.

    Raises:
        JobError: the weights that are not saved with it are gone, or are others than at its training.

    """
    if not (digest := read_origin(saved)):
        return _network(Loaded(empty_body(saved, auto_class(signature)), None), settings, signature)
    network = build(settings, signature)
    assert isinstance(network, PretrainedNetwork)
    if network.origin_digest() != digest:
        message = (
            f"the weights in '{settings.model}' are not those that this run was trained on (SHA-256 {digest[:12]})"
        )
        raise JobError([Problem(MODEL, f"{message}; put these back")])
    return network


def _network(model: Loaded, settings: PretrainedSettings, signature: Signature) -> PretrainedNetwork:
    kind = NETWORKS.get(type(signature.output), PretrainedEncoder)
    return kind(model, settings, signature)


def notes(settings: PretrainedSettings, signature: Signature) -> list[str]:
    """Return a note where the model has no output layers and gets new ones."""
    folder = model_folder(settings.model, MODEL)
    with torch.device("meta"):
        body = empty_body(folder, auto_class(signature))
    if not (new := _new(folder, body, signature)):
        return []
    trained = sum(body.get_parameter(name).numel() for name, _ in body.named_parameters() if name in new)
    return [f"'{settings.model}' has no output layers for this task: it gets new ones, of {trained:,} weights"]


def _new(folder: Path, body: nn.Module, signature: Signature) -> frozenset[str]:
    """Return the names of the weights that are new in a model with output layers of its own."""
    return new_weights(folder, body) if type(signature.output) in WITH_OUTPUT else frozenset()


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
    """Pin the model to its folder or commit, and fill in how texts are searched for."""
    name = pinned(settings.model, model_folder(settings.model, MODEL))
    return with_search(settings, signature).model_copy(update={"model": name})
