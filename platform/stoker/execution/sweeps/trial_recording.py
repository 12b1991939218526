"""Every trial of a sweep in MLflow, as a run below the sweep's page; the search never waits for it."""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from stoker.errors import ClusterError
from stoker.execution.recording import PATIENCE_S, RETRY_S, run_tags
from stoker.execution.sweeps.child_run_sync import ChildRunSync, best_step
from stoker.execution.sweeps.descriptions import values_json
from stoker.settings import Settings, without_password
from stoker.tracking.journal import LONGEST_WAIT_S, Backlog
from stoker.tracking.ledger import LedgerReader, read_trials
from stoker.tracking.run import RunHeader, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.tags import VALUES_TAG
from stoker.tracking.trials import Trial, trial_id

if TYPE_CHECKING:
    from stoker.tracking.child_runs import ChildRun, ChildRuns
    from stoker.tracking.mlflow_run import MlflowRun

EVERY_S = 2.0
RECORD_EVERY_S = 5.0
RECORD_GROWS = 1.1
"""The ledger goes to the sweep's page when it has grown so many times: in all that is some ten times its size."""
CLOSING_EVERY_S = 0.5


class TrialRecording:
    """Brings trials, their metrics and their ends to MLflow, as the ledger and the trials' folders tell them.

    Args:
        sweep: its folder.
        settings: where it is recorded.
        parent: the sweep's own page; None until there is one.
        announce: hears of each page: the trial's number, MLflow's id of it, and the page below the server's address.
        goals: the metrics that the sweep goes by, each with max or min; the best value so far of each is recorded.

    """

    def __init__(
        self,
        sweep: RunFolder,
        settings: Settings,
        parent: Callable[[], "MlflowRun | None"],
        announce: Callable[[int, str, str], None],
        goals: Mapping[str, str],
    ) -> None:
        self._sweep = sweep
        self._settings = settings
        self._parent = parent
        self._announce = announce
        self._goals = goals
        self._ledger = LedgerReader(sweep.ledger)
        self._children: ChildRuns | None = None
        self._found: dict[str, ChildRun] | None = None
        """Pages that there were, by trial; None where that must be asked (again)."""
        self._pages: dict[int, ChildRunSync] = {}
        self._refused: dict[int, str] = {}
        """Trials that MLflow does not take for good, and why."""
        self._reason = ""
        """Why the last round came to nothing."""
        self._recorded = (0, 0.0)
        """Size of the ledger that is on the sweep's page, and when it came there."""
        self._closing = threading.Event()
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._run, name="trial-pages", daemon=True)

    def start(self) -> None:
        """Begin; without effect for a sweep with `tracking: none`."""
        if self._sweep.header().tracking_uri:
            self._thread.start()

    def close(self, patience_s: float) -> str:
        """Bring the rest, for so long at most; return what did not get through, or nothing.

        Trials that are not over rest from now on: nobody works on them until the sweep is resumed.
        """
        if self._thread.ident is None:
            return ""
        self._deadline = time.monotonic() + patience_s
        self._closing.set()
        self._thread.join(patience_s)
        trials = read_trials(self._sweep.ledger)
        behind = [trial.number for trial in trials if self._missing(trial)]
        if not behind:
            return ""
        reason = next((self._refused[number] for number in behind if number in self._refused), self._reason)
        values = sum(self._missing_values(number) for number in behind)
        count = f"{len(behind)} of {len(trials)} trials did not wholly reach MLflow ({values} values of metrics)"
        return f"{count}: {reason or 'no answer'}; they are in {self._sweep.path}"

    def log_model(self, number: int, register: str | None) -> str:
        """Store a trial's model, files and job with its page, and return the model's URI; best after `close`.

        Args:
            number: the trial.
            register: name of the registered model to add a version to.

        Raises:
            ClusterError: MLflow does not take it, or the trial has no page.

        """
        page = self._pages.get(number)
        if page is None:
            raise ClusterError(f"trial {number} has no page in MLflow: {self._reason or 'no answer'}")
        from stoker.tracking.mlflow_run import is_outage

        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._store_model(page.child.tracked, self._ledger.trials[number], register)
            except Exception as error:  # the model is in the trial's folder: nothing is lost
                traceback.print_exc()
                if not is_outage(error) or time.monotonic() > deadline:
                    raise ClusterError(f"MLflow did not take the model ({self._redacted(error)})") from error
            time.sleep(RETRY_S)

    def store_ledger(self, last: bool = True) -> None:
        """Store the ledger and what the sweep looks for with the sweep's page, where it has grown enough.

        They tell those who do not see this folder of the trials. A server that takes no files costs no trial its page:
        it is asked again later.
        """
        parent = self._parent()
        if parent is None or not (self._sweep.ledger.exists() and self._sweep.facts.exists()):
            return
        size, now = self._sweep.ledger.stat().st_size, time.monotonic()
        kept, then = self._recorded
        if not last and (size <= RECORD_GROWS * kept or now <= then + RECORD_EVERY_S):
            return
        try:
            parent.log_file(self._sweep.ledger)
            parent.log_file(self._sweep.facts)
            kept = size
        except Exception as error:
            print(f"the trials' record is not in MLflow yet: {self._redacted(error)}", file=sys.stderr)  # noqa: T201
        self._recorded = (kept, now)

    def _run(self) -> None:
        wait = EVERY_S
        while not self._closing.wait(wait):
            wait = EVERY_S if self._round() else min(2 * wait, LONGEST_WAIT_S)
        while not (self._round() and (self._children or not self._ledger.trials)) and time.monotonic() < self._deadline:
            time.sleep(CLOSING_EVERY_S)

    def _round(self) -> bool:
        """Bring every page up to date; False where the server is down, which loses nothing."""
        closing = self._closing.is_set()  # what the ledger has from now on is for the next round
        try:
            self._ledger.read()
            if not self._find():
                return True
            for number in sorted(self._ledger.trials):
                self._update(self._ledger.trials[number], closing)
            self.store_ledger(last=closing)
            if closing and self._children:
                self._children.find({page.child.tracked.run_id for page in self._pages.values()})
        except Exception as error:  # whatever it is, the next round may fare better
            self._reason = self._redacted(error)
            print(self._reason, file=sys.stderr)  # noqa: T201 - the driver's log
            return False
        self._reason = ""
        return True

    def _find(self) -> bool:
        """Find the pages that there are; False where the sweep has none yet."""
        if self._children is None:
            from stoker.tracking.child_runs import ChildRuns

            parent = self._parent()
            if parent is None:
                self._reason = "the sweep itself has no page there"
                return False
            self._children = ChildRuns(parent)
        if self._found is None:
            self._found = self._children.find({page.child.tracked.run_id for page in self._pages.values()})
        return True

    def _update(self, trial: Trial, closing: bool) -> None:
        """Bring one page up to date; what MLflow refuses for good costs no other trial its page."""
        if trial.number in self._refused:
            return
        try:
            page = self._page(trial)
            if page is not None:
                page.update(trial, State.PAUSED if closing and not trial.state.final else trial.state)
        except OSError:
            raise
        except Exception as error:  # a page must not cost the sweep
            traceback.print_exc()
            self._refused[trial.number] = self._redacted(error)

    def _page(self, trial: Trial) -> ChildRunSync | None:
        """Find or make a trial's page; None where its folder is not there yet."""
        if trial.number in self._pages:
            return self._pages[trial.number]
        header = self._header(trial)
        if header is None:
            return None
        assert self._children is not None
        assert self._found is not None
        child = self._found.pop(header.id, None)
        if child is None:
            tags = run_tags(header) | {VALUES_TAG: values_json(trial.values)}
            try:
                child = self._children.create(header, tags, trial.began)
            except OSError:
                self._found = None  # it may be there although nobody heard so
                raise
        page = ChildRunSync(child, self._sweep.trial(trial.number), self._goals)
        self._pages[trial.number] = page
        self._announce(trial.number, child.tracked.run_id, child.tracked.page)
        return page

    def _header(self, trial: Trial) -> RunHeader | None:
        """Read who a trial is; one that ended before it had a folder is what its sweep is."""
        folder = self._sweep.trial(trial.number)
        if folder.readable():
            return folder.header()
        ident = trial_id(self._sweep.path.name, trial.number)
        return replace(self._sweep.header(), id=ident) if trial.state.final else None

    def _missing(self, trial: Trial) -> bool:
        """Tell whether a page does not say all that is known of a trial."""
        if self._header(trial) is None:
            return False  # chosen, and nothing of it exists yet
        page = self._pages.get(trial.number)
        said = trial.state if trial.state.final else State.PAUSED
        return page is None or page.child.state != said

    def _missing_values(self, number: int) -> int:
        page = self._pages.get(number)
        journal = self._sweep.trial(number).journal
        return page.missing() if page else Backlog(journal, lambda _: -1).count()

    def _store_model(self, tracked: "MlflowRun", trial: Trial, register: str | None) -> str:
        from stoker.execution.packaging import packaged

        folder = self._sweep.trial(trial.number)
        tracked.log_file(folder.resolved)
        tracked.log_files(folder.artifacts)
        with packaged(folder.model) as model:
            return tracked.log_model(model, register, best_step(trial))

    def _redacted(self, error: Exception) -> str:
        """Say what went wrong in one line, without the server's password."""
        uri = self._settings.tracking_uri
        return f"{type(error).__name__}: {error}".replace(uri, without_password(uri)).splitlines()[0]
