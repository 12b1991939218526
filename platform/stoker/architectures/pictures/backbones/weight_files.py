"""Files with the weights of a backbone."""

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from stoker.errors import JobError, Problem

KEY = "architecture.backbone.weights"
SHOWN = 4
NESTED = ("state_dict", "model", "model_state_dict")
"""Names below which training scripts save weights beside other things."""
PREFIXES = ("module.", "model.", "backbone.", "network.backbone.model.", "backbone.model.")
"""What wrappers put before the names."""
CHUNK = 1 << 20
COUNTER = "num_batches_tracked"
"""Of batch normalisation, which old files lack."""


def read_weights(file: Path, key: str = KEY) -> dict[str, Tensor]:
    """Read the weights of a file by name, without running code of pickles.

    Args:
        file: to read.
        key: of the job, which names it.

    Raises:
        JobError: it is not there, broken, or holds something else.

    """
    try:
        content: Any = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except FileNotFoundError as error:
        raise _problem(key, f"there is no file '{file}'; correct the path") from error
    except pickle.UnpicklingError as error:
        cure = "save model.state_dict() alone"
        raise _problem(key, f"'{file}' holds more than weights, which is not loaded; {cure}") from error
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise _problem(key, f"'{file}' is broken: {str(error).partition(chr(10))[0]}; copy it again") from error
    for name in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(isinstance(each, Tensor) for each in content.values()):
        raise _problem(key, f"'{file}' holds no weights by name; save model.state_dict()")
    return dict(content)


def without_prefix(weights: Mapping[str, Tensor], own: Sequence[str]) -> dict[str, Tensor]:
    """Return weights by the names without what a wrapper has put before them, if more of them are known then."""
    known = set(own)

    def fitting(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)}

    return max((fitting(prefix) for prefix in ("", *PREFIXES)), key=lambda named: len(known & named.keys()))


def fill(model: nn.Module, weights: Mapping[str, Tensor], source: str, described: str, key: str = KEY) -> None:
    """Copy weights into a network, all of which must be there in the same shape; a last layer in the file is left out.

    Raises:
        JobError: some are missing, or have another shape.

    """
    own = model.state_dict()
    missing = [name for name in own if name not in weights and not name.endswith(COUNTER)]
    if missing:
        unknown = [name for name in weights if name not in own and not name.endswith(COUNTER)]
        there = f"; it has {_some(unknown)}, which the network lacks" if unknown else ""
        message = f"'{source}' lacks {len(missing)} of the {len(own)} weights of {described}: {_some(missing)}{there}"
        raise _problem(key, f"{message}; name a file of the same network, as model.state_dict() names its weights")
    wrong = [name for name, each in own.items() if name in weights and weights[name].shape != each.shape]
    if wrong:
        first = wrong[0]
        shapes = f"{tuple(weights[first].shape)} in place of {tuple(own[first].shape)}"
        message = f"'{source}' has {len(wrong)} weights of another shape than {described}: {first} ({shapes})"
        raise _problem(
            key, f"{message}; name a file of the same network, or set dataset.image.size to the size it needs"
        )
    with torch.no_grad():
        for name, each in own.items():
            if name in weights:
                each.copy_(weights[name])


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _problem(key: str, message: str) -> JobError:
    return JobError([Problem(key, message)])
