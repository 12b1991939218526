"""Pretrained text models of transformers with a new head: tuned as a whole, in their last layers, or by adapters."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from stoker.architectures.adapters import add_adapters, default_targets, missing_targets
from stoker.architectures.heads import outputs
from stoker.architectures.inputs import only_one
from stoker.architectures.pretrained_body import body_layers, empty_body, is_encoder_decoder, loaded_body, read_config
from stoker.architectures.pretrained_origin import Origin, read_origin
from stoker.datasets.model_files import CONFIG, TOKENIZER, WEIGHTS, model_folder, pinned, weight_files
from stoker.datasets.tokens.tokenizer import PADDING, SPECIAL
from stoker.errors import JobError, Problem
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.dataset import Dataset
from stoker.job.signature import Signature

LIBRARIES = ("transformers", "peft")
MODEL = "architecture.model"


class Pretrained(nn.Module):
    """The model's features of each token, their mean without padding or the model's own pooling, and a linear layer."""

    special: Tensor

    def __init__(
        self, body: nn.Module, settings: PretrainedSettings, signature: Signature, folder: Path | None
    ) -> None:
        super().__init__()
        self.name = next(iter(signature.texts))
        config: Any = body.config
        self.pooling = settings.pooling
        if settings.pooling == "mean" and hasattr(body, "pooler"):
            body.pooler = cast("nn.Module", None)  # as a model without one
        _freeze(body, settings)
        self.body = body
        self.origin = Origin(settings.model, folder)
        end = config.eos_token_id if isinstance(config.eos_token_id, int) else 0
        special = [end] * SPECIAL
        special[PADDING] = config.pad_token_id or 0
        self.register_buffer("special", torch.tensor(special), persistent=False)
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(config.hidden_size, outputs(signature))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs) from a text (B, length) of token numbers, padded with 0."""
        tokens = inputs[self.name]
        if not len(tokens):  # the model's own code cannot divide nothing into heads
            return self.forward({self.name: tokens.new_zeros(1, tokens.shape[1])})[:0]
        there = tokens != PADDING
        first = torch.arange(tokens.shape[1], device=tokens.device) == 0
        there = there | (first & ~there.any(dim=1, keepdim=True))  # attention to nothing is not a number
        numbers = torch.where(tokens >= SPECIAL, tokens - SPECIAL, self.special[tokens.clamp(max=SPECIAL - 1)])
        # The library leaves out a mask that hides nothing: it looks at the values, of which the meta device has none.
        found = self.body(input_ids=numbers, attention_mask=None if tokens.is_meta else there.long())
        if self.pooling == "pooler":
            features = found.pooler_output
        else:
            weights = there.unsqueeze(2).to(found.last_hidden_state.dtype)
            features = (found.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1)
        result: Tensor = self.output(self.dropout(features))
        return result

    def unchanged_weights(self) -> frozenset[str]:
        """Return the names of the weights that training does not change: those of the model where it is frozen."""
        return frozenset(f"body.{name}" for name, each in self.body.named_parameters() if not each.requires_grad)

    def origin_digest(self) -> str:
        """Return the SHA-256 of the model's weights; empty where all of them are trained."""
        return self.origin.digest if self.unchanged_weights() else ""

    def save_origin(self, folder: Path) -> None:
        """Write the model's description and, where weights are not saved, the SHA-256 of those that they came from."""
        self.origin.write(folder, self.body.config, self.origin_digest())


def build(settings: PretrainedSettings, signature: Signature) -> nn.Module:
    """Build the network with the model's weights; on the meta device from its description alone."""
    on_meta = torch.get_default_device().type == "meta"
    folder = model_folder(settings.model, MODEL, weights=not on_meta)
    body = empty_body(folder) if on_meta else loaded_body(folder, settings.model)
    return Pretrained(body, settings, signature, folder)


def rebuild(settings: PretrainedSettings, signature: Signature, saved: Path) -> nn.Module:
    """Build the network of a saved model, whose own weights are still to be loaded.

    Raises:
        JobError: the weights that are not saved with it are gone, or are others than at its training.

    """
    if not (digest := read_origin(saved)):
        return Pretrained(empty_body(saved), settings, signature, None)
    network = build(settings, signature)
    assert isinstance(network, Pretrained)
    if network.origin.digest != digest:
        message = (
            f"the weights in '{settings.model}' are not those that this run was trained on (SHA-256 {digest[:12]})"
        )
        raise JobError([Problem(MODEL, f"{message}; put these back")])
    return network


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
    """Pin the model to its folder or commit, and name the layers that get adapters."""
    folder = model_folder(settings.model, MODEL)
    update: dict[str, object] = {"model": pinned(settings.model, folder)}
    if settings.lora != "none" and settings.lora.targets is None:
        targets = default_targets(read_config(folder).model_type)
        update["lora"] = settings.lora.model_copy(update={"targets": targets})
    return settings.model_copy(update=update)


def misfits(settings: PretrainedSettings, signature: Signature) -> list[Problem]:
    """Return a problem for other samples than texts, and for settings that do not fit the model."""
    if problems := only_one("text", settings.family, signature):
        return problems
    folder = model_folder(settings.model, MODEL)
    config = read_config(folder)
    if is_encoder_decoder(config):
        message = f"'{settings.model}' ({config.model_type}) translates texts; use an encoder, such as BERT"
        return [Problem(MODEL, message)]
    with torch.device("meta"):
        body = empty_body(folder)
    problems = []
    known, (shape,) = config.vocab_size, signature.texts.values()
    if shape.vocabulary - SPECIAL > known:
        message = f"the tokenizer has {shape.vocabulary - SPECIAL:,} tokens, the model {known:,}; use the model's own"
        problems.append(Problem("dataset.text.tokenizer", message))
    layers = len(body_layers(body))
    if settings.frozen != "all" and settings.frozen > layers:
        message = f"the model has {layers} layers, fewer than {settings.frozen}; use at most {layers}, or all"
        problems.append(Problem("architecture.frozen", message))
    if settings.pooling == "pooler" and getattr(body, "pooler", None) is None:
        message = f"'{settings.model}' ({config.model_type}) has no pooling layer; use mean"
        problems.append(Problem("architecture.pooling", message))
    if settings.lora != "none":
        problems += missing_targets(body, settings.lora, config.model_type)
    return problems


def _freeze(body: nn.Module, settings: PretrainedSettings) -> None:
    """Leave only those weights of a model with gradients that the job trains; add adapters."""
    if settings.lora != "none":
        add_adapters(body, settings.lora)
    elif settings.frozen == "all":
        body.requires_grad_(False)
    elif settings.frozen:
        layers = list(body_layers(body))
        trained = {id(each) for layer in layers[settings.frozen :] for each in layer.parameters()}
        inside = {id(each) for layer in layers for each in layer.parameters()}
        before = True  # the embeddings: what comes before the layers
        for parameter in body.parameters():
            before = before and id(parameter) not in inside
            if before or (id(parameter) in inside and id(parameter) not in trained):
                parameter.requires_grad_(False)
