"""The body of a pretrained model, by transformers: with its weights, or from its description alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from stoker.architectures.pretrained.kinds import CAUSAL, MODEL
from stoker.datasets.model_files import WEIGHTS, saved_names, weight_files
from stoker.errors import JobError, Problem

ATTENTION = {CAUSAL: {"attn_implementation": "sdpa"}}
"""A model that continues texts is given which token sees which, as torch's own attention takes it."""

MOST_MISSING = 1 / 2
"""Share of the weights that a folder may lack, as files for another purpose lack those of a pooling layer."""


def read_config(folder: Path) -> Any:
    """Return the description of a model.

    Raises:
        JobError: transformers does not know it.

    """
    import transformers

    with quiet():
        try:
            return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            first = str(error).strip().partition("\n")[0]
            message = f"transformers {transformers.__version__} cannot read '{folder}/config.json': {first}"
            raise JobError([Problem(MODEL, f"{message}; use a model of its own types")]) from error


def empty_body(folder: Path, auto_class: str) -> nn.Module:
    """Build a model from its description, without its weights, by a class of transformers such as `AutoModel`."""
    config = read_config(folder)
    with quiet():
        try:
            body: nn.Module = _class(auto_class).from_config(
                config, trust_remote_code=False, dtype=torch.float32, **ATTENTION.get(auto_class, {})
            )
        except ValueError as error:
            raise _unusable(folder, config, error) from error
    return _prepared(body)


def loaded_body(folder: Path, name: str, auto_class: str) -> tuple[nn.Module, frozenset[str]]:
    """Load a model with its weights in float32; return it with the names of weights that are new.

    Raises:
        JobError: it has no safetensors, broken ones, or those of another model.

    """
    if not weight_files(folder):
        cure = "pickles such as pytorch_model.bin are not read; write it by model.save_pretrained(FOLDER)"
        raise JobError([Problem(MODEL, f"'{name}' has no {WEIGHTS}; {cure}")])
    config = read_config(folder)
    with quiet():
        try:
            body, loading = _class(auto_class).from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **ATTENTION.get(auto_class, {}),
            )
        except ValueError as error:
            raise _unusable(folder, config, error) from error
        except SafetensorError as error:
            cure = "copy or download the folder again"
            raise JobError([Problem(MODEL, f"the weights in '{name}' are broken: {error}; {cure}")]) from error
    missing, there = frozenset(loading["missing_keys"]), len(body.state_dict())
    if len(missing) > MOST_MISSING * there:
        message = f"the weights in '{name}' lack {len(missing)} of the {there} that its {config.model_type} has"
        raise JobError([Problem(MODEL, f"{message}; put config.json and weights of one model into the folder")])
    return _prepared(body), missing


def new_weights(folder: Path, body: nn.Module) -> frozenset[str]:
    """Return the names of the weights of a model's output layers if the files lack them all, or are not there yet."""
    saved = saved_names(folder)
    base: Any = body
    prefix = f"{base.base_model_prefix}."
    own = frozenset(name for name, _ in body.named_parameters() if not name.startswith(prefix))
    return own if saved and own.isdisjoint(saved) else frozenset()


def _class(auto_class: str) -> Any:
    import transformers

    return getattr(transformers, auto_class)


def stacks(body: nn.Module) -> list[nn.Module]:
    """Return the encoder and the decoder of a model that has both, or the model itself."""
    model: Any = body
    return [model.get_encoder(), model.get_decoder()] if model.config.is_encoder_decoder else [body]


def body_layers(body: nn.Module) -> nn.ModuleList:
    """Return the layers of a model or of one of its stacks, one above the other: its longest list."""
    return max(_outer_lists(body), key=len, default=nn.ModuleList())


def _outer_lists(module: nn.Module) -> Iterator[nn.ModuleList]:
    """Yield lists that are not inside of others: a layer may be a list itself."""
    for part in module.children():
        if isinstance(part, nn.ModuleList):
            yield part
        else:
            yield from _outer_lists(part)


def _prepared(body: nn.Module) -> nn.Module:
    config: Any = body.config
    config.use_cache = False  # texts are read at once
    part: Any
    for part in body.modules():
        if hasattr(part, "layerdrop"):  # it leaves out whole layers, others on each worker
            part.layerdrop = 0.0
    return body.train()


def _unusable(folder: Path, config: Any, error: Exception) -> JobError:
    first = str(error).strip().partition("\n")[0][:200]
    message = f"'{folder}' ({config.model_type}) is no model of texts for transformers: {first}"
    return JobError([Problem(MODEL, message)])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's progress bars and remarks out of the log."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
