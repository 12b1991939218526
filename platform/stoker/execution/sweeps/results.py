"""What a sweep leaves behind: pictures of its best trial and of its search, their pages, and what it all came to."""

import sys
import traceback
from dataclasses import dataclass, replace
from typing import Any

from stoker.errors import StokerError
from stoker.execution.recording import PATIENCE_S
from stoker.execution.sweeps.descriptions import sweep_description
from stoker.execution.sweeps.figures import draw_figures
from stoker.execution.sweeps.mlflow_view import publish_view
from stoker.execution.sweeps.sharing import SharedDataset, from_shared
from stoker.execution.sweeps.trial_recording import TrialRecording
from stoker.job.goals import Aim
from stoker.job.job import Job
from stoker.jobfile.loading import load_job
from stoker.search.search import Search
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import SweepFacts, Trial, write_facts


@dataclass(frozen=True)
class SweepResult:
    """What a sweep has found."""

    trials: list[Trial]
    best: Trial
    aims: tuple[Aim, ...]
    facts: SweepFacts


def record_result(folder: RunFolder, job: Job, found: SweepResult, search: Search, pages: TrialRecording) -> str:
    """Draw the search, and bring the best trial's model to MLflow; return what did not get through, or nothing."""
    or_log_failure(lambda: draw_figures(search.study, folder.artifacts, [aim.name for aim in found.aims]))
    trouble = pages.close(PATIENCE_S)
    registered = ""
    if job.tracking != "none" and not trouble:
        try:
            pages.log_model(found.best.number, job.tracking.register_as)
            registered = job.tracking.register_as or ""
        except StokerError as error:
            trouble = str(error)
    importances = or_log_failure(search.importances) or {}
    facts = replace(found.facts, best=found.best.number, importances=importances, registered=registered)
    write_facts(folder, replace(facts, worked_s=0.0))  # whoever extends it gives it its time again
    pages.store_ledger()
    return trouble


def draw_trial_results(folder: RunFolder, job: Job, data: SharedDataset) -> None:
    """Draw a trial's results from its model, as a run of its own leaves them."""
    from stoker.execution.results import evaluate_all
    from stoker.inference.model import Model
    from stoker.training.assembly import Prepared, assemble, prepare

    if (code := str(folder.code)) not in sys.path and folder.code.is_dir():
        sys.path.insert(0, code)
    trial = load_job(folder.resolved).job
    prepared = Prepared(trial, from_shared(data)) if trial.dataset == job.dataset else prepare(trial)
    assembly = replace(assemble(prepared), objective=Model.load(folder.model).objective)
    evaluate_all(folder, assembly)


def sweep_page_description(found: SweepResult, sweep: str, page: Any) -> str:
    """Write the description of the sweep's page, with a link to the view of its trials."""
    first, view = found.aims[0], ""
    if page is not None:
        names = [aim.name for aim in found.aims]
        view = or_log_failure(lambda: publish_view(page, sweep, names, first.direction, found.facts.paths)) or ""
    return sweep_description(found.trials, first.name, first.direction, sweep, view)


def or_log_failure(step: Any) -> Any:
    """Take a step whose failure must not cost the sweep its result; None where it has failed."""
    try:
        return step()
    except Exception:
        traceback.print_exc()
        return None
