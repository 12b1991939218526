"""Makes the paths of pretrained models absolute: drivers and trials run in other folders than the command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.job.architecture.pretrained import Pretrained
from stoker.job.job import Job

TOKENIZER, MODEL, FAMILY = "dataset.text.tokenizer", "architecture.model", "architecture.family"


def with_absolute_models(job: Job) -> Job:
    """Return a job that names the folders of models and tokenizers that exist by absolute paths, also in its sweep."""
    update: dict[str, object] = {}
    if isinstance(job.architecture, Pretrained):
        update["architecture"] = job.architecture.model_copy(update={"model": _absolute(job.architecture.model)})
    if name := job.dataset.text.tokenizer:
        text = job.dataset.text.model_copy(update={"tokenizer": _absolute(name)})
        update["dataset"] = job.dataset.model_copy(update={"text": text})
    if job.sweep:
        pretrained = isinstance(job.architecture, Pretrained) or FAMILY in job.sweep.space
        paths = {TOKENIZER, *([MODEL] if pretrained else [])}
        space = {path: _searched(entry, path, paths) for path, entry in job.sweep.space.items()}
        update["sweep"] = job.sweep.model_copy(update={"space": space})
    return job.model_copy(update=update)


def _searched(value: Any, path: str, paths: set[str]) -> Any:
    """Return a value of the search space, such as a list of choices at a path, with absolute paths of models."""
    if isinstance(value, str):
        return _absolute(value) if path in paths else value
    if isinstance(value, list):
        return [_searched(each, path, paths) for each in value]
    if isinstance(value, Mapping):
        inside = paths | {MODEL} if value.get("family") == "pretrained" else paths
        return {key: _searched(each, f"{path}.{key}", inside) for key, each in value.items()}
    return value


def _absolute(model: str) -> str:
    """Return the absolute path of a folder, and any other name as it is."""
    folder = Path(model).expanduser()
    return str(folder.absolute()) if folder.is_dir() else model
