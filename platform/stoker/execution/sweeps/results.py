"""The results of a sweep: figures, the best trial's model in MLflow, and the description of its MLflow run."""

import sys
import tempfile
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from stoker.errors import StokerError
from stoker.execution.recording import PATIENCE_S
from stoker.execution.run_store import RunStore
from stoker.execution.sweeps.descriptions import sweep_description
from stoker.execution.sweeps.figures import draw_figures
from stoker.execution.sweeps.mlflow_view import publish_view
from stoker.execution.sweeps.sharing import SharedDataset, from_shared
from stoker.execution.sweeps.trial_recording import TrialRecording
from stoker.execution.worker_folder import pack, write_files
from stoker.job.goals import Goal
from stoker.job.job import Job
from stoker.job.own_code import AnyJob
from stoker.jobfile.loading import dump_job, load_job, parse_job
from stoker.search.search import Search
from stoker.secret_files import load_secret_files
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import SweepFacts, Trial, write_facts


@dataclass(frozen=True)
class SweepResult:
    """The outcome of a sweep."""

    trials: list[Trial]
    best: Trial
    aims: tuple[Goal, ...]
    facts: SweepFacts


def record_result(folder: RunFolder, job: AnyJob, found: SweepResult, search: Search, pages: TrialRecording) -> str:
    """Draw the search and log the best trial's model; return any MLflow error, or an empty text."""
    run_or_log(lambda: draw_figures(search.study, folder.artifacts, [aim.name for aim in found.aims]))
    trouble = pages.close(PATIENCE_S)
    registered = ""
    if job.tracking != "none" and not trouble:
        try:
            if pages.log_model(found.best.number, job.tracking.register_as):
                registered = job.tracking.register_as or ""
            elif job.tracking.register_as:
                trouble = f"trial {found.best.number} has left no model that could be registered"
        except StokerError as error:
            trouble = str(error)
    importances = run_or_log(search.importances) or {}
    facts = replace(found.facts, best=found.best.number, importances=importances, registered=registered)
    write_facts(folder, replace(facts, worked_s=0.0))  # `extend` starts the sweep's time again
    pages.store_ledger()
    return trouble


def draw_trial_results(folder: RunFolder, job: Job, data: SharedDataset) -> None:
    """Draw a trial's results from its model, like those of a single run."""
    from stoker.execution.results import evaluate_all
    from stoker.inference.model import Model
    from stoker.training.assembly import assemble
    from stoker.training.preparation import Prepared, prepare

    if (code := str(folder.code)) not in sys.path and folder.code.is_dir():
        sys.path.insert(0, code)
    trial = load_job(folder.resolved).task_job
    prepared = Prepared(trial, from_shared(data)) if trial.dataset_to_load == job.dataset_to_load else prepare(trial)
    assembly = replace(assemble(prepared), objective=Model.load(folder.model).objective)
    evaluate_all(folder, assembly)


def draw_in_task(folder: RunFolder, job: Job, data: "ray.ObjectRef[Any]", gpus: float) -> None:
    """Draw a trial's results in a Ray task on a node where trials train: the driver's own may be too small.

    Args:
        folder: of the trial.
        job: of the sweep.
        data: of that job.
        gpus: of the task.

    Raises:
        ray.exceptions.RayError: the task has died.

    """
    task = ray.remote(_draw_task).options(num_cpus=1, num_gpus=gpus)
    drawn = ray.get(task.remote(pack(folder), folder.path.name, dump_job(job), data))
    write_files(folder.path, drawn)


def _draw_task(files: dict[str, bytes], trial: str, job_text: str, data: SharedDataset) -> dict[str, bytes]:
    """Draw a trial's results from its stored model.

    Args:
        files: of the trial's folder, by relative path.
        trial: its id.
        job_text: the sweep's job.
        data: of that job.

    Returns:
        The figures and tables, by relative path.

    """
    load_secret_files()
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / trial)
        write_files(folder.path, files)
        RunStore(folder).fetch_results()
        draw_trial_results(folder, parse_job(job_text, "job.yaml").task_job, data)
        drawn = [path for path in folder.artifacts.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder.path)): path.read_bytes() for path in drawn}


def sweep_page_description(found: SweepResult, sweep: str, page: Any) -> str:
    """Return the description of the sweep's MLflow run, with a link to the table of its trials."""
    first, view = found.aims[0], ""
    if page is not None:
        names = [aim.name for aim in found.aims]
        view = run_or_log(lambda: publish_view(page, sweep, names, first.direction, found.facts.paths)) or ""
    return sweep_description(found.trials, first.name, first.direction, sweep, view)


def run_or_log(step: Any) -> Any:
    """Run a step on which the sweep's result does not depend; None if it fails."""
    try:
        return step()
    except Exception:
        traceback.print_exc()
        return None
