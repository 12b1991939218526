"""Initial weights from a saved model."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from stoker.errors import JobError, Problem
from stoker.job.saved_model import WEIGHTS
from stoker.tasks.objective import Objective


def load_weights(objective: Objective, model: Path) -> tuple[str, ...]:
    """Copy the weights of a saved model into an objective, where name and shape agree.

    Args:
        objective: freshly built.
        model: the folder of a saved model.

    Returns:
        Names that keep their new weights, such as a head for other classes.

    Raises:
        JobError: there is no model, or none of its weights fits.

    """
    file = model / WEIGHTS
    if not file.is_file():
        raise JobError([Problem("training.start_from", f"no saved model in '{model}' ({WEIGHTS} is missing)")])
    found = load_file(file)
    # A user's objective is saved whole; of any other, only the network is.
    for module in (objective.network, objective):
        own = module.state_dict()
        fitting = [name for name, value in own.items() if name in found and found[name].shape == value.shape]
        if fitting:
            with torch.no_grad():
                for name in fitting:
                    own[name].copy_(found[name])
            return tuple(name for name in own if name not in fitting)
    message = f"no weight of '{model}' fits this network; use the architecture of the run it comes from"
    raise JobError([Problem("training.start_from", message)])
