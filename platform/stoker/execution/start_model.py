"""The model that a job starts from."""

from pathlib import Path

from stoker.job.job import Job
from stoker.settings import load_settings
from stoker.tracking.models import fetch_model
from stoker.tracking.run_lookup import find_run


def start_model(job: Job) -> Path | None:
    """Return the folder of the model of `training.start_from`: a run's, fetched if need be, or a folder; or None."""
    model = job.training.start_from
    if model is None:
        return None
    if model.startswith("run:"):
        settings = load_settings()
        return fetch_model(find_run(settings.home, model).record(), settings)
    return Path(model)
