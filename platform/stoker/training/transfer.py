"""Initial weights from a saved model."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from stoker.errors import JobError, Problem
from stoker.job.saved_model import WEIGHTS
from stoker.tasks.objective import Objective
from stoker.training.sharding import fill

INNER = "autoencoder"
"""The network within a network, which another run has trained."""
STATISTICS = ".running_mean"
"""What batch normalisation has beside the weights of any normalisation."""


def load_weights(objective: Objective, model: Path) -> tuple[str, ...]:
    """Copy the weights of a saved model into an objective, where name and shape agree.

    Args:
        objective: freshly built.
        model: the folder of a saved model.

    Returns:
        Names that keep their new weights, such as a head for other classes.

    Raises:
        JobError: there is no model, none of its weights fits, or this job leaves weights as they are that it has tuned.

    """
    shapes = saved_shapes(model)
    unchanged = objective.unchanged_weights()
    # A user's objective is saved whole; of any other, only the network is.
    for module, prefix in weighted_modules(objective):
        if name := otherwise_normalised(module, shapes):
            raise JobError([other_normalisation(model, name)])
        if fitting := fitting_names(module, shapes):
            if any(f"{prefix}{name}" in unchanged for name in fitting):
                raise JobError([tuned_weights(model)])
            found, own = load_file(model / WEIGHTS), module.state_dict()
            with torch.no_grad():
                for name in fitting:
                    fill(own[name], found[name])
            return tuple(name for name in own if name not in fitting and f"{prefix}{name}" not in unchanged)
    raise JobError([nothing_fits(model)])


def weighted_modules(objective: Objective) -> Iterator[tuple[nn.Module, str]]:
    """Yield the modules whose weights a saved model may have, each with its prefix in the objective."""
    yield objective.network, "network."
    yield objective, ""
    if isinstance(inner := getattr(objective.network, INNER, None), nn.Module):
        yield inner, f"network.{INNER}."


def saved_shapes(model: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a saved model's weights by name, without reading them.

    Raises:
        JobError: there is no model.

    """
    file = model / WEIGHTS
    if not file.is_file():
        raise JobError([Problem("training.start_from", f"no saved model in '{model}' ({WEIGHTS} is missing)")])
    with safe_open(file, "pt") as content:
        return {name: tuple(content.get_slice(name).get_shape()) for name in content.keys()}  # noqa: SIM118


def fitting_names(module: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the names of a module's weights that are saved in the same shape."""
    return [name for name, value in module.state_dict().items() if shapes.get(name) == tuple(value.shape)]


def otherwise_normalised(module: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the name of a layer that normalises by statistics in only one of a network and a saved model.

    The weights of both kinds of layer have the same names and shapes, and mean something else. Empty if there is none.
    """
    own = module.state_dict()
    for layer in (name.removesuffix(".weight") for name in own if name.endswith(".weight") and name in shapes):
        if (f"{layer}{STATISTICS}" in own) != (f"{layer}{STATISTICS}" in shapes):
            return layer
    return ""


def other_normalisation(model: Path, layer: str) -> Problem:
    """Return the problem of a model of the same network with another kind of normalisation."""
    message = f"'{model}' normalises otherwise than this network ({layer}): one of them has a backbone with weights of"
    cure = "write the same architecture.backbone.weights as there"
    return Problem("training.start_from", f"{message} a file or a library, by fixed statistics; {cure}")


def nothing_fits(model: Path) -> Problem:
    """Return the problem of a model whose weights are those of another network."""
    message = f"no weight of '{model}' fits this network; use the architecture of the run it comes from"
    return Problem("training.start_from", message)


def tuned_weights(model: Path) -> Problem:
    """Return the problem of a model that has tuned weights which this job does not train, and so would not save."""
    message = f"'{model}' has tuned weights that this job leaves as they are in architecture.model"
    cure = "export that run (stoker export --merge for adapters) and name the folder as architecture.model"
    return Problem("training.start_from", f"{message}; {cure}, or train them here as well")
