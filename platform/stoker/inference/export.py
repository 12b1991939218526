"""Writes the model of a run in a format that other programs load."""

from pathlib import Path

from stoker.errors import JobError, Problem
from stoker.inference.model import Model
from stoker.inference.torch_export import write_program
from stoker.tasks.abilities import can_export, can_sample


def export(model: Model, folder: Path, merge: bool) -> str:
    """Write a model to a new folder; return the Python code that loads it.

    The model itself is of no further use: adapters that are merged are no longer in it.

    Raises:
        JobError: the folder has files in it, or the model cannot be written in a format of others.

    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise JobError([Problem("--output", f"'{folder}' is there already; name a new folder, or delete it")])
    network = model.network
    if not can_export(network):
        if merge:
            raise JobError([Problem("", "this run has no adapters (architecture.lora) to merge; leave out --merge")])
        if can_sample(network):
            message = f"a model of {model.job.task} makes new samples and is not exported; use stoker generate"
            raise JobError([Problem("", message)])
        return write_program(model, folder)
    return network.export(folder, model.fields.tokenizer.asset(), merge)
