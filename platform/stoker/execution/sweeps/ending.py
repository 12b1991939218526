"""What a sweep leaves behind: pictures of its best trial and of its search, their pages, and what it all came to."""

import sys
import traceback
from dataclasses import dataclass, replace
from typing import Any

from stoker.errors import StokerError
from stoker.execution.recording import PATIENCE_S
from stoker.execution.sweeps.figures import draw_figures
from stoker.execution.sweeps.notes import sweep_note
from stoker.execution.sweeps.pages import TrialPages
from stoker.execution.sweeps.sharing import SharedDataset, from_shared
from stoker.execution.sweeps.view import share_view
from stoker.job.goals import Goal
from stoker.job.job import Job
from stoker.jobfile.loading import load_job
from stoker.search.search import Search
from stoker.tracking.record import RunFolder
from stoker.tracking.trials import SweepFacts, Trial, write_facts


@dataclass(frozen=True)
class Found:
    """What a sweep has found."""

    trials: list[Trial]
    best: Trial
    aims: tuple[Goal, ...]
    facts: SweepFacts


def leave(folder: RunFolder, job: Job, found: Found, search: Search, pages: TrialPages) -> str:
    """Draw the search, and bring the best trial's model to MLflow; return what did not get through, or nothing."""
    with_trace(lambda: draw_figures(search.study, folder.artifacts, [aim.name for aim in found.aims]))
    trouble = pages.close(PATIENCE_S)
    registered = ""
    if job.tracking != "none" and not trouble:
        try:
            pages.log_model(found.best.number, job.tracking.register_as)
            registered = job.tracking.register_as or ""
        except StokerError as error:
            trouble = str(error)
    importances = with_trace(search.importances) or {}
    facts = replace(found.facts, best=found.best.number, importances=importances, registered=registered)
    write_facts(folder, replace(facts, worked_s=0.0))  # whoever extends it gives it its time again
    pages.keep_record()
    return trouble


def draw_best(folder: RunFolder, job: Job, data: SharedDataset) -> None:
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


def note_of(found: Found, sweep: str, page: Any) -> str:
    """Write the description of the sweep's page, with a link to the view of its trials."""
    first, view = found.aims[0], ""
    if page is not None:
        names = [aim.name for aim in found.aims]
        view = with_trace(lambda: share_view(page, sweep, names, first.direction, found.facts.paths)) or ""
    return sweep_note(found.trials, first.name, first.direction, sweep, view)


def with_trace(step: Any) -> Any:
    """Take a step whose failure must not cost the sweep its result; None where it has failed."""
    try:
        return step()
    except Exception:
        traceback.print_exc()
        return None
