"""The models of earlier runs that a job uses."""

from pathlib import Path

from stoker.job.job import Job
from stoker.settings import load_settings
from stoker.tracking.models import fetch_model
from stoker.tracking.run_lookup import find_run


def start_model(job: Job) -> Path | None:
    """Return the folder of the model of `training.start_from`: a run's, fetched if need be, or a folder; or None."""
    return model_folder(job.training.start_from)


def classifier_model(job: Job) -> Path | None:
    """Return the folder of the classifier that `training.evaluate.features` names, fetched if need be; or None."""
    return model_folder(job.training.evaluate.classifier)


def model_folder(model: str | None) -> Path | None:
    """Return the folder of a model that is named by its run or its folder, fetched if need be; or None."""
    if model is None:
        return None
    if model.startswith("run:"):
        settings = load_settings()
        return fetch_model(find_run(settings.home, model).record(), settings)
    return Path(model)
