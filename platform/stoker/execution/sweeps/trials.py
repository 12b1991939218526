"""The trials of a sweep, as the driver keeps them: begun, told of, ended, and the best ones kept."""

import math
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from stoker.errors import Cause, StokerError
from stoker.execution.durable import storage_of
from stoker.execution.outcome import WorkerResult
from stoker.execution.resolved import change_resolved
from stoker.execution.sweeps.actor import Told
from stoker.execution.sweeps.afar import RECORD, Afar
from stoker.execution.sweeps.copies import COPIES, copies_of
from stoker.execution.sweeps.folders import make_trial, status_of
from stoker.job.goals import goals_of
from stoker.job.job import Job
from stoker.jobfile.loading import dump_job
from stoker.jobfile.space.point import point_job
from stoker.search.search import Search
from stoker.storage import remove
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunStatus, State
from stoker.tracking.trials import Ledger, Report, Trial, best_of, entries, pareto_front, ranked

ASKED = "somebody has asked for it"
"""Message of a trial that was cancelled on its own: it stays so when its sweep goes on."""
SECURE_S, SECURE_EVERY_S = 60.0, 1.0
"""A storage that is down is waited for so long before a trial takes over another's weights, and asked so often."""
WORST = 1e30
"""What a scheduler hears in place of a value that is not finite."""


class Trials:
    """Every trial that there is, and the one that comes next.

    Args:
        folder: of the sweep.
        job: its job, with every default.
        search: which point comes next.
        count: how many trials there will be at most; None where only time ends the sweep.
        afar: the trials' way home, where they do not see the driver's files.

    """

    def __init__(
        self, folder: RunFolder, job: Job, search: Search, count: int | None, afar: Afar | None = None
    ) -> None:
        assert job.sweep is not None
        self._folder = folder
        self._header = folder.header()
        self._job = job
        self._search = search
        self._count = count
        self.aims = goals_of(job)
        self._keep = job.sweep.keep
        self._afar = afar
        self._ledger = Ledger(folder.ledger)
        self._pages: dict[int, tuple[str, str]] = {}
        """MLflow's ids of the trials, and where their pages are."""
        self._saying = threading.Lock()
        self._gone: set[int] = set()
        """Of which model and checkpoints are deleted."""
        self._reopen()
        self._replay()
        if afar:
            afar.recall([trial.number for trial in self.ended])
        self._waiting = [trial.number for trial in self.all if not trial.state.final]
        """Trials that an earlier driver has left in mid-run."""
        self._next = len(self._ledger.trials)
        self.exhausted = False

    @property
    def all(self) -> list[Trial]:
        """All trials, by their numbers, which is the order in which they began."""
        return [*self._ledger.trials.values()]

    def trial(self, number: int) -> Trial:
        """Return what is known of a trial."""
        return self._ledger.trials[number]

    @property
    def ended(self) -> list[Trial]:
        """Those that are over."""
        return [trial for trial in self.all if trial.state.final]

    @property
    def failures(self) -> list[Trial]:
        """Those that have failed."""
        return [trial for trial in self.all if trial.state is State.FAILED]

    @property
    def best(self) -> Trial | None:
        """The best trial that has a model; of a sweep with several aims, the best by the first."""
        first = self.aims[0]
        return best_of([trial for trial in self.all if trial.state is State.SUCCEEDED], first.name, first.direction)

    def known_scores(self, number: int) -> list[tuple[int, float]]:
        """Return the epochs and scores that a trial has told."""
        return [(report.epoch, self.score(report)) for report in self._ledger.trials[number].reports]

    def score(self, report: Report) -> float:
        """Return what a scheduler goes by, always finite."""
        first = self.aims[0]
        value = report.metrics.get(first.name, math.nan)
        return value if math.isfinite(value) else (-WORST if first.direction == "max" else WORST)

    def begin(self) -> int | None:
        """Choose a trial and make its folder; None where none is left."""
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
        make_trial(self._folder, self._job, number, point.values)
        return number

    def secure(self) -> bool:
        """Let what was chosen and has ended by now outlive this machine; False where that must be tried again."""
        return self._afar is None or self._afar.secure()

    def put_back(self, number: int) -> None:
        """Let a trial that was chosen be the next one again."""
        self._waiting.insert(0, number)

    def tell(self, number: int, told: Told) -> list[tuple[int, float]]:
        """Take in what a trial tells; return the epochs that are new, with their scores."""
        if self._afar:
            self._afar.take(number, told.news)
        new = []
        for report in told.reports:
            if self._ledger.report(number, report.epoch, report.step, report.metrics):
                self._tell_epoch(number, report)
                new.append((report.epoch, self.score(report)))
        return new

    def change(self, number: int, picks: Mapping[str, Any], values: dict[str, Any], source: int, copy: str) -> None:
        """Let a trial go on from a copy of another's checkpoint, with other values."""
        self._ledger.change(number, picks, values, source, copy)
        self._write_values(number, values)
        deadline = time.monotonic() + SECURE_S
        while not self.secure() and time.monotonic() < deadline:  # the next driver must know whose weights it has
            time.sleep(SECURE_EVERY_S)

    def end(self, number: int, result: WorkerResult | None) -> None:
        """Take in how a trial ended.

        Args:
            number: of the trial.
            result: what it said itself; None where the scheduler has ended it.

        """
        if result is None:
            self._close(number, State.PRUNED, {})
        elif result.outcome == "succeeded":
            costs = {key: value for key, value in self._ledger.trials[number].last.items() if "/" not in key}
            self._close(number, State.SUCCEEDED, result.metrics | costs)
        elif result.outcome == "failed":
            self._close(number, State.FAILED, {}, result.cause, result.message)
        elif self._folder.trial(number).cancel_request.exists():
            self._close(number, State.CANCELLED, {}, message=ASKED)
        # else it rests at a checkpoint

    def announce(self, number: int, mlflow_run: str, page: str) -> None:
        """Say where a trial's page is; whoever brings it there does so from a thread of his own."""
        folder = self._folder.trial(number)
        with self._saying:
            self._pages[number] = (mlflow_run, page)
            if folder.readable():
                folder.write_status(replace(folder.status(), mlflow_run=mlflow_run, url=page))

    def remove_copies(self) -> None:
        """Delete what trials went on from: no trial goes on any more."""
        if any(trial.changes for trial in self.all):
            with suppress(StokerError, OSError):  # what stays costs space only
                copies_of(self._folder.trial(0)).clear(COPIES)

    def end_rest(self, state: State) -> None:
        """End what has not ended: the sweep is over."""
        for trial in self.all:
            if not trial.state.final:
                self._close(trial.number, state, {})

    def common_failure(self) -> tuple[Cause, str]:
        """Name the most frequent cause of the failed trials, and what the last of them said."""
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
        self._tell_search(trial)
        self._say(number, status_of(trial))
        if self._afar:
            self._afar.end(number)
        if self.secure():  # else it is tidied at the next end
            self._tidy()

    def _say(self, number: int, status: RunStatus) -> None:
        folder = self._folder.trial(number)
        with self._saying:
            before = folder.status()
            page = self._pages.get(number, (before.mlflow_run, before.url))
            folder.write_status(replace(status, mlflow_run=page[0], url=page[1]))

    def _tell_search(self, trial: Trial) -> None:
        match trial.state:
            case State.SUCCEEDED:
                values = [trial.score(aim.name, aim.direction) for aim in self.aims]
                self._search.tell(trial.number, "complete", values)
            case State.PRUNED:
                self._search.tell(trial.number, "pruned", None)
            case _:
                self._search.tell(trial.number, "failed", None)

    def _tell_epoch(self, number: int, report: Report) -> None:
        self._search.report(number, report.epoch, report.metrics.get(self.aims[0].name, math.nan))

    def _replay(self) -> None:
        """Let the search hear all that an earlier driver's has heard, in the same order."""
        open_again = {trial.number for trial in self.all if not trial.state.final}
        for entry in entries(self._folder.ledger):
            number = entry["trial"]
            match entry["event"]:
                case "begin":
                    self._search.restore(number, entry["picks"])
                    make_trial(self._folder, self._job, number, entry["values"])
                case "report":
                    report = Report(entry["epoch"], entry["step"], entry["metrics"])
                    self._tell_epoch(number, report)
                case "end" if number not in open_again:
                    self._tell_search(self._ledger.trials[number])
                    if not self._folder.trial(number).status().state.final:  # its folder is a new one
                        self._say(number, status_of(self._ledger.trials[number]))
        for number in sorted(open_again):
            if self._ledger.trials[number].changes:
                self._write_values(number, self._ledger.trials[number].values)

    def _reopen(self) -> None:
        """Let those go on that a sweep has taken with it which has failed or was cancelled, and is resumed now."""
        assert self._job.sweep is not None
        failed = len(self.failures) >= self._job.sweep.failures
        for trial in self.all:
            own = self._folder.trial(trial.number).cancel_request.exists()
            own = own or trial.message == ASKED
            if (failed and trial.state is State.FAILED) or (trial.state is State.CANCELLED and not own):
                self._ledger.reopen(trial.number)
                self._say(trial.number, RunStatus(State.RUNNING, phase=""))

    def _write_values(self, number: int, values: Mapping[str, Any]) -> None:
        """Write the values of a trial into its files, from which its next attempt begins."""
        folder = self._folder.trial(number)
        draft = folder.path / ".job.new"
        draft.write_text(dump_job(point_job(self._job, values)), encoding="utf-8")
        draft.replace(folder.job)
        if folder.resolved.exists():
            change_resolved(folder.resolved, values)

    def _tidy(self) -> None:
        """Delete the models and checkpoints of all but the best trials; their records stay."""
        first = self.aims[0]
        goals = {aim.name: aim.direction for aim in self.aims}
        over = ranked([trial for trial in self.all if trial.state is State.SUCCEEDED], first.name, first.direction)
        kept = {trial.number for trial in (*over[: self._keep], *pareto_front(over, goals))}
        for trial in self.all:
            number = trial.number
            if not trial.state.final or number in kept or number in self._gone or trial.state is State.CANCELLED:
                continue
            folder = self._folder.trial(number)
            shutil.rmtree(folder.model, ignore_errors=True)
            with suppress(StokerError, OSError):  # what stays costs space only
                storage = storage_of(folder, self._header, folder.path.name)
                for key in {key.split("/")[0] for key in storage.keys("")} - set(RECORD if self._afar else ()):
                    remove(storage, key)
                shutil.rmtree(folder.checkpoints, ignore_errors=True)
            self._gone.add(number)
