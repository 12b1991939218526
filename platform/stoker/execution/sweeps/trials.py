"""The driver's trials of a sweep: choose, record and end them, and delete the files of all but the best."""

import math
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from stoker.atomic_files import replace_file
from stoker.errors import Cause, StokerError
from stoker.execution.resolved_job import apply_values
from stoker.execution.run_store import RECORD, run_storage
from stoker.execution.sweeps.checkpoint_copies import COPIES, copy_storage
from stoker.execution.sweeps.trial_actor import TrialUpdate
from stoker.execution.sweeps.trial_folders import create_trial_folder, trial_status
from stoker.execution.sweeps.trial_stores import TrialStores
from stoker.execution.worker_result import WorkerResult
from stoker.job.goals import CODE_COSTS, goals_of, measures_always
from stoker.job.own_code import AnyJob, CodeJob
from stoker.jobfile.loading import dump_job
from stoker.jobfile.space.point import point_job
from stoker.search.search import Search
from stoker.storage import remove
from stoker.tracking.ledger import Ledger, ledger_entries
from stoker.tracking.run import RunStatus, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import EpochReport, Trial, best_of, pareto_front, ranked

CANCELLED_BY_USER = "cancelled by the user"
"""Message of a trial that was cancelled alone; it stays cancelled when its sweep is resumed."""
SAVE_TIMEOUT_S, SAVE_RETRY_S = 60.0, 1.0
"""How long a trial that continues with another's weights waits for the storage, and how often it retries."""
WORST_SCORE = 1e30
"""Score of a value that is not finite."""


class Trials:
    """All trials of a sweep, and the choice of the next one.

    Args:
        folder: of the sweep.
        job: resolved.
        search: chooses points.
        count: maximum number of trials; None if only time limits the sweep.
        stores: of the trials, if they share no disk with the driver.

    """

    def __init__(
        self, folder: RunFolder, job: AnyJob, search: Search, count: int | None, stores: TrialStores | None = None
    ) -> None:
        assert job.sweep is not None
        self._folder = folder
        self._header = folder.header()
        self._job = job
        self._search = search
        self._count = count
        self.aims = goals_of(job)
        self._keep = job.sweep.keep
        self._stores = stores
        self._ledger = Ledger(folder.ledger)
        self._pages: dict[int, tuple[str, str]] = {}
        """MLflow run ids and pages of the trials."""
        self._status_lock = threading.Lock()
        self._pruned_files: set[int] = set()
        """Trials whose model and checkpoints are deleted."""
        self._reopen()
        self._replay()
        if stores:
            stores.restore([trial.number for trial in self.ended])
        self._waiting = [trial.number for trial in self.all if not trial.state.final]
        """Trials that an earlier driver has left unfinished."""
        self._next = len(self._ledger.trials)
        self.exhausted = False

    @property
    def all(self) -> list[Trial]:
        """Return all trials by number, which is the order of their start."""
        return [*self._ledger.trials.values()]

    def trial(self, number: int) -> Trial:
        """Return a trial."""
        return self._ledger.trials[number]

    @property
    def ended(self) -> list[Trial]:
        """Return the ended trials."""
        return [trial for trial in self.all if trial.state.final]

    @property
    def failures(self) -> list[Trial]:
        """Return the failed trials."""
        return [trial for trial in self.all if trial.state is State.FAILED]

    @property
    def best(self) -> Trial | None:
        """Return the best trial with a model, by the first metric."""
        first = self.aims[0]
        return best_of([trial for trial in self.all if trial.state is State.SUCCEEDED], first.name, first.direction)

    def known_scores(self, number: int) -> list[tuple[int, float]]:
        """Return the epochs of a trial in which its metric was computed, with the scores."""
        reports = self._ledger.trials[number].reports
        return [(report.epoch, self.score(report)) for report in reports if self._has_score(report)]

    def score(self, report: EpochReport) -> float:
        """Return the score for the scheduler; always finite."""
        first = self.aims[0]
        value = report.metrics.get(first.name, math.nan)
        return value if math.isfinite(value) else (-WORST_SCORE if first.direction == "max" else WORST_SCORE)

    def begin(self) -> int | None:
        """Choose a trial and create its folder; None if none is left."""
        if self._waiting:
            return self._waiting.pop(0)
        if self._count is not None and self._next >= self._count:
            self.exhausted = True
            return None
        point = self._search.ask(self._next)
        if point is None:
            self.exhausted = True
            return None
        number, self._next = self._next, self._next + 1
        self._ledger.begin(number, point.coordinates, point.values)
        create_trial_folder(self._folder, self._job, number, point.values)
        return number

    def save(self) -> bool:
        """Store the trials that were chosen or have ended; return False if that must be retried."""
        return self._stores is None or self._stores.save()

    def requeue(self, number: int) -> None:
        """Put a chosen trial back at the front of the queue."""
        self._waiting.insert(0, number)

    def take(self, number: int, update: TrialUpdate) -> list[tuple[int, float]]:
        """Record a trial's report; return the new epochs in which its metric was computed, with their scores."""
        if self._stores:
            self._stores.apply(number, update.folder)
        new = []
        for report in update.reports:
            if self._ledger.report(number, report.epoch, report.step, report.metrics):
                self._report_epoch(number, report)
                if self._has_score(report):
                    new.append((report.epoch, self.score(report)))
        return new

    def _has_score(self, report: EpochReport) -> bool:
        """Return whether an epoch has the metric that the scheduler compares; expensive ones are not in each."""
        name = self.aims[0].name
        return name in report.metrics or measures_always(self._job, name)

    def change(self, number: int, picks: Mapping[str, Any], values: dict[str, Any], source: int, copy: str) -> None:
        """Change a trial's values, so that it continues from a copy of another one's checkpoint."""
        self._ledger.change(number, picks, values, source, copy)
        self._write_values(number, values)
        deadline = time.monotonic() + SAVE_TIMEOUT_S
        while not self.save() and time.monotonic() < deadline:  # the next driver needs the origin of the weights
            time.sleep(SAVE_RETRY_S)

    def end(self, number: int, result: WorkerResult | None) -> None:
        """Record how a trial ended.

        Args:
            number: of the trial.
            result: its own outcome; None if the scheduler stopped it.

        """
        if result is None:
            self._close(number, State.PRUNED, {})
        elif result.outcome == "succeeded" and isinstance(self._job, CodeJob):
            self._end_own_code(number, result)
        elif result.outcome == "succeeded":
            costs = {key: value for key, value in self._ledger.trials[number].last.items() if "/" not in key}
            self._close(number, State.SUCCEEDED, result.metrics | costs)
        elif result.outcome == "failed":
            self._close(number, State.FAILED, {}, result.cause, result.message)
        elif self._folder.trial(number).cancel_request.exists():
            self._close(number, State.CANCELLED, {}, message=CANCELLED_BY_USER)
        # otherwise it is paused at a checkpoint

    def _end_own_code(self, number: int, result: WorkerResult) -> None:
        """Record the end of a trial of own code: a failure if it has never told the sweep's metric."""
        trial = self._ledger.trials[number]
        metrics = {**trial.last, **result.metrics}
        told = {name for report in trial.reports for name in report.metrics}
        lacking = [aim.name for aim in self.aims if aim.name not in told and aim.name not in CODE_COSTS]
        if not lacking:
            return self._close(number, State.SUCCEEDED, metrics)
        others = ", ".join(sorted(told - CODE_COSTS.keys())) or "nothing"
        message = f"it never told '{lacking[0]}', by which trials are compared (sweep.metric); it told {others}"
        return self._close(number, State.FAILED, {}, Cause.USER_CODE, message)

    def announce(self, number: int, mlflow_run: str, page: str) -> None:
        """Record a trial's MLflow run and page; called from the recording's thread."""
        folder = self._folder.trial(number)
        with self._status_lock:
            self._pages[number] = (mlflow_run, page)
            if folder.readable():
                folder.write_status(replace(folder.status(), mlflow_run=mlflow_run, url=page))

    def delete_checkpoint_copies(self) -> None:
        """Delete the copies of checkpoints, once no trial can continue from them."""
        if any(trial.changes for trial in self.all):
            with suppress(StokerError, OSError):  # remaining files only cost space
                copy_storage(self._folder.trial(0)).clear(COPIES)

    def end_remaining(self, state: State) -> None:
        """End all unfinished trials."""
        for trial in self.all:
            if not trial.state.final:
                self._close(trial.number, state, {})

    def common_failure(self) -> tuple[Cause, str]:
        """Return the most frequent cause of the failed trials and a message with the last one's text."""
        causes = Counter(trial.cause for trial in self.failures)
        cause, times = causes.most_common(1)[0]
        last = next(trial for trial in reversed(self.failures) if trial.cause == cause)
        message = f"{len(self.failures)} of {len(self.all)} trials failed, {times} by {cause}; "
        return Cause(cause), f"{message}trial {last.number}: {last.message}"

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _close(self, number: int, state: State, metrics: dict[str, float], cause: str = "", message: str = "") -> None:
        self._ledger.end(number, state, metrics, cause, message)
        trial = self._ledger.trials[number]
        self._inform_search(trial)
        self._write_status(number, trial_status(trial))
        if self._stores:
            self._stores.end(number)
        if self.save():  # otherwise retried after the next trial's end
            self._apply_retention()

    def _write_status(self, number: int, status: RunStatus) -> None:
        folder = self._folder.trial(number)
        with self._status_lock:
            before = folder.status()
            mlflow_run, page = self._pages.get(number, (before.mlflow_run, before.url))
            folder.write_status(status.with_page(replace(before, mlflow_run=mlflow_run, url=page)))

    def _inform_search(self, trial: Trial) -> None:
        match trial.state:
            case State.SUCCEEDED:
                values = [trial.score(aim.name, aim.direction) for aim in self.aims]
                self._search.tell(trial.number, "complete", values)
            case State.PRUNED:
                self._search.tell(trial.number, "pruned", None)
            case _:
                self._search.tell(trial.number, "failed", None)

    def _report_epoch(self, number: int, report: EpochReport) -> None:
        self._search.report(number, report.epoch, report.metrics.get(self.aims[0].name, math.nan))

    def _replay(self) -> None:
        """Replay the ledger: the search receives the same entries as an earlier driver's, in the same order."""
        open_again = {trial.number for trial in self.all if not trial.state.final}
        for entry in ledger_entries(self._folder.ledger):
            number = entry["trial"]
            match entry["event"]:
                case "begin":
                    self._search.restore(number, entry["picks"])
                    create_trial_folder(self._folder, self._job, number, entry["values"])
                case "report":
                    report = EpochReport(entry["epoch"], entry["step"], entry["metrics"])
                    self._report_epoch(number, report)
                case "end" if number not in open_again:
                    self._inform_search(self._ledger.trials[number])
                    if not self._folder.trial(number).status().state.final:  # the folder is new
                        self._write_status(number, trial_status(self._ledger.trials[number]))
        for number in sorted(open_again):
            if self._ledger.trials[number].changes:
                self._write_values(number, self._ledger.trials[number].values)

    def _reopen(self) -> None:
        """Reopen the trials that were ended with a failed or cancelled sweep, which is resumed now."""
        assert self._job.sweep is not None
        failed = len(self.failures) >= self._job.sweep.failures
        for trial in self.all:
            own = self._folder.trial(trial.number).cancel_request.exists()
            own = own or trial.message == CANCELLED_BY_USER
            if (failed and trial.state is State.FAILED) or (trial.state is State.CANCELLED and not own):
                self._ledger.reopen(trial.number)
                self._write_status(trial.number, RunStatus(State.RUNNING, phase=""))

    def _write_values(self, number: int, values: Mapping[str, Any]) -> None:
        """Write a trial's values to its job files, from which its next attempt starts."""
        folder = self._folder.trial(number)
        replace_file(folder.job, dump_job(point_job(self._job, values)))
        if folder.resolved.exists():
            apply_values(folder.resolved, values)

    def _apply_retention(self) -> None:
        """Delete model and checkpoints of trials beyond `keep`; their records stay."""
        first = self.aims[0]
        goals = {aim.name: aim.direction for aim in self.aims}
        over = ranked([trial for trial in self.all if trial.state is State.SUCCEEDED], first.name, first.direction)
        kept = {trial.number for trial in (*over[: self._keep], *pareto_front(over, goals))}
        for trial in self.all:
            number = trial.number
            if (
                not trial.state.final
                or number in kept
                or number in self._pruned_files
                or trial.state is State.CANCELLED
            ):
                continue
            folder = self._folder.trial(number)
            shutil.rmtree(folder.model, ignore_errors=True)
            with suppress(StokerError, OSError):  # remaining files only cost space
                storage = run_storage(folder, self._header, folder.path.name)
                for key in {key.split("/")[0] for key in storage.keys("")} - set(RECORD if self._stores else ()):
                    remove(storage, key)
                shutil.rmtree(folder.checkpoints, ignore_errors=True)
            self._pruned_files.add(number)
