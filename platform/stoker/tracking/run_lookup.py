"""Lookup of runs and trials in a home by the references that users type."""

from pathlib import Path

from stoker.errors import NotFound
from stoker.tracking.ledger import read_trials
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import SweepFacts, Trial, best_trial, is_sweep, read_facts, trial_id

BEST = "best"
"""`ID.best` is the best trial of a sweep."""


def list_runs(home: Path) -> list[RunFolder]:
    """List the runs of a home, newest first."""
    folder = home / "runs"
    if not folder.is_dir():
        return []
    children = (RunFolder(path) for path in folder.iterdir() if not path.name.startswith("."))
    found = [run for run in children if run.readable()]
    return sorted(found, key=lambda run: run.header().order, reverse=True)


def find_run(home: Path, reference: str) -> RunFolder:
    """Find a run by id, by `run:ID`, by name (its newest run), by a unique prefix of an id, or by `@last`.

    With `.N` appended, find trial N of a sweep; with `.best`, its best one.

    Raises:
        NotFound: no run matches, or several do.

    """
    reference = reference.removeprefix("run:")
    if is_trial_reference(reference):
        sweep, _, which = reference.rpartition(".")
        return find_trial(find_run(home, sweep), which)
    everything = list_runs(home)
    if not everything:
        raise NotFound(f"no run '{reference}': nothing was submitted from {home} yet")
    if reference == "@last":
        mine = [run for run in everything if not run.adopted.exists()]
        if not mine:
            raise NotFound(f"nothing was submitted from {home} yet")
        return mine[0]
    headers = [(run, run.header()) for run in everything]
    for matches in (_by_id(headers, reference), _by_name(headers, reference)):
        if matches:
            return matches[0]
    prefixed = [run for run, header in headers if header.id.startswith(reference)]
    if len(prefixed) == 1:
        return prefixed[0]
    if prefixed:
        raise NotFound(f"'{reference}' could be {', '.join(run.path.name for run in prefixed[:5])}; type more of it")
    newest = ", ".join(header.id for _, header in headers[:3])
    raise NotFound(f"no run '{reference}' (newest: {newest}); `stoker ls` lists all")


def is_trial_reference(reference: str) -> bool:
    """Return whether a reference names a trial; ids and names of runs have no dots."""
    sweep, _, which = reference.rpartition(".")
    return bool(sweep) and (which == BEST or (which.isascii() and which.isdigit()))


def find_trial(sweep: RunFolder, which: str) -> RunFolder:
    """Find a trial of a sweep by its number, or the best one so far.

    Raises:
        NotFound: there is no such trial, or the run is no sweep.

    """
    run, facts = sweep.path.name, read_facts(sweep)
    if facts is None and not is_sweep(sweep):
        raise NotFound(f"{run} is no sweep: it has no trial '{which}'")
    trials = read_trials(sweep.ledger)
    if facts is None or not trials:
        raise NotFound(f"no trial of {run} has begun yet")
    number = _best_number(run, trials, facts) if which == BEST else int(which)
    if number not in [trial.number for trial in trials]:
        raise NotFound(f"{run} has no trial {number}: it has trials {trials[0].number} to {trials[-1].number}")
    folder = sweep.trial(number)
    if not folder.readable():
        raise NotFound(f"{trial_id(run, number)} was chosen but has not begun yet")
    return folder


def run_with_model(folder: RunFolder) -> RunFolder:
    """Return the run that has the model: of a sweep, its best trial.

    Raises:
        NotFound: there is no best trial yet.

    """
    return find_trial(folder, BEST) if read_facts(folder) else folder


def _best_number(run: str, trials: list[Trial], facts: SweepFacts) -> int:
    best = best_trial(trials, facts)
    if best is None:
        raise NotFound(f"no trial of {run} has a value of {facts.metric} yet; `stoker trials {run}` shows them")
    return best.number


def _by_id(headers: list[tuple[RunFolder, RunHeader]], reference: str) -> list[RunFolder]:
    return [run for run, header in headers if header.id == reference]


def _by_name(headers: list[tuple[RunFolder, RunHeader]], reference: str) -> list[RunFolder]:
    return [run for run, header in headers if header.name == reference]
