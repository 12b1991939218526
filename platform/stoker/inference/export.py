"""Writes the model of a run in a format that other programs load."""

from pathlib import Path

from stoker.errors import JobError, Problem
from stoker.inference.model import Model
from stoker.job.saved_model import WEIGHTS
from stoker.tasks.abilities import can_export


def export(model: Model, folder: Path, merge: bool) -> str:
    """Write a model to a new folder; return the Python code that loads it.

    The model itself is of no further use: adapters that are merged are no longer in it.

    Raises:
        JobError: the folder has files in it, or the model has no other format than its own.

    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise JobError([Problem("--output", f"'{folder}' is there already; name a new folder, or delete it")])
    network = model.network
    if not can_export(network):
        assert model.job.architecture is not None
        family = model.job.architecture.family
        own = f"it is in {model.folder}, its weights in {WEIGHTS}; load it by stoker.inference.model.Model.load"
        raise JobError([Problem("", f"only pretrained networks are exported, and this one is of {family}; {own}")])
    return network.export(folder, model.fields.tokenizer.asset(), merge)
