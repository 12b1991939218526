"""The recording of a sweep's trials as child runs in MLflow, in a thread that never blocks the search."""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from stoker.errors import ClusterError, Unreachable
from stoker.execution.own_code.mlflow_run import announce
from stoker.execution.recording import PATIENCE_S, RETRY_S, run_tags
from stoker.execution.sweeps.child_run_sync import ChildRunSync, best_step
from stoker.execution.sweeps.descriptions import values_json
from stoker.job.goals import CODE_COSTS
from stoker.job.own_code import CodeJob
from stoker.jobfile.loading import load_job
from stoker.settings import Settings, without_password
from stoker.tracking.journal import LONGEST_WAIT_S, Backlog
from stoker.tracking.ledger import LedgerReader, read_trials
from stoker.tracking.run import RunHeader, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.tags import VALUES_TAG
from stoker.tracking.trials import EpochReport, Trial, trial_id

if TYPE_CHECKING:
    from stoker.tracking.child_runs import ChildRun, ChildRuns
    from stoker.tracking.mlflow_run import MlflowRun

EVERY_S = 2.0
OWN_CODE_EVERY_S = 1.0
"""The same for own code, which waits for its MLflow run when it starts."""
RECORD_EVERY_S = 5.0
RECORD_GROWS = 1.1
"""The ledger is uploaded when it has grown by this factor: ten times its final size in total."""
CLOSING_EVERY_S = 0.5


class TrialRecording:
    """Records trials, their metrics and their outcomes, from the ledger and the trials' folders.

    Args:
        sweep: folder of the sweep.
        settings: with the tracking server.
        parent: returns the sweep's MLflow run; None until it exists.
        announce: called with a trial's number, its MLflow run id, and its page relative to the server's address.
        goals: the sweep's metrics, each with `max` or `min`; the best value so far of each is recorded.
        reads: whether the trials log their metrics to MLflow themselves, from where they are read.

    """

    def __init__(
        self,
        sweep: RunFolder,
        settings: Settings,
        parent: Callable[[], "MlflowRun | None"],
        announce: Callable[[int, str, str], None],
        goals: Mapping[str, str],
        reads: bool = False,
    ) -> None:
        self._reads = reads
        self._logged: dict[int, tuple[EpochReport, ...]] = {}
        """By trial, what it has logged itself."""
        self._sweep = sweep
        self._settings = settings
        self._parent = parent
        self._announce = announce
        self._goals = goals
        self._ledger = LedgerReader(sweep.ledger)
        self._children: ChildRuns | None = None
        self._found: dict[str, ChildRun] | None = None
        """Existing child runs, by trial; None if they must be listed (again)."""
        self._pages: dict[int, ChildRunSync] = {}
        self._refused: dict[int, str] = {}
        """Trials that MLflow refuses permanently, with the reason."""
        self._reason = ""
        """Why the last round failed."""
        self._recorded = (0, 0.0)
        """Size of the uploaded ledger, and when it was uploaded."""
        self._closing = threading.Event()
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._run, name="trial-pages", daemon=True)

    def start(self) -> None:
        """Start the thread; does nothing for a sweep with `tracking: none`."""
        if self._sweep.header().tracking_uri:
            self._thread.start()

    def close(self, patience_s: float) -> str:
        """Record the rest until the timeout; return any MLflow error, or an empty text.

        Unfinished trials are shown as paused: nothing runs until the sweep is resumed.
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
        count = f"{len(behind)} of {len(trials)} trials did not reach MLflow completely ({values} metric values)"
        return f"{count}: {reason or 'no answer'}; they are in {self._sweep.path}"

    def log_model(self, number: int, register: str | None) -> str:
        """Log a trial's model, files and job, and return the model's URI, empty without a model; best after `close`.

        Args:
            number: of the trial.
            register: name of the registered model to add a version to.

        Raises:
            ClusterError: MLflow refuses, or the trial has no child run.

        """
        page = self._pages.get(number)
        if page is None:
            raise ClusterError(f"trial {number} has no MLflow run: {self._reason or 'no answer'}")
        from stoker.tracking.mlflow_run import is_outage

        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._store_model(page.child.tracked, self._ledger.trials[number], register)
            except Exception as error:  # nothing is lost: the model is in the trial's folder
                traceback.print_exc()
                if not is_outage(error) or time.monotonic() > deadline:
                    raise ClusterError(f"MLflow did not accept the model ({self._redacted(error)})") from error
            time.sleep(RETRY_S)

    def logged(self, number: int, ended: bool) -> tuple[EpochReport, ...]:
        """Return what a trial has logged to MLflow itself, as far as it is known here.

        Args:
            number: of the trial.
            ended: whether it has; then MLflow is asked once more.

        Raises:
            Unreachable: MLflow does not answer.

        """
        if ended:
            page = self._pages.get(number)
            if page is None:
                raise Unreachable(f"its metrics are in MLflow, which does not answer: {self._reason or 'no run'}")
            try:
                self._read_logged(page, number, ended=True)
            except Exception as error:
                message = f"its metrics are in MLflow, which does not answer: {self._redacted(error)}"
                raise Unreachable(message) from error
        return self._logged.get(number, ())

    def store_ledger(self, last: bool = True) -> None:
        """Upload the ledger and the facts to the sweep's MLflow run, if the ledger has grown enough.

        Clients without access to this folder read the trials from there. If the server does not accept files, the
        upload is retried later; metrics are still recorded.
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
        wait = every = OWN_CODE_EVERY_S if self._sweep.header().own_code else EVERY_S
        while not self._closing.wait(wait):
            wait = every if self._round() else min(2 * wait, LONGEST_WAIT_S)
        while not (self._round() and (self._children or not self._ledger.trials)) and time.monotonic() < self._deadline:
            time.sleep(CLOSING_EVERY_S)

    def _round(self) -> bool:
        """Update every child run; return False if the server is down, without losing data."""
        closing = self._closing.is_set()  # later ledger entries are left to the next round
        try:
            self._ledger.read()
            if not self._find():
                return True
            for number in sorted(self._ledger.trials):
                self._update(self._ledger.trials[number], closing)
            self.store_ledger(last=closing)
            if closing and self._children:
                self._children.find({page.child.tracked.run_id for page in self._pages.values()})
        except Exception as error:  # the next round may succeed
            self._reason = self._redacted(error)
            print(self._reason, file=sys.stderr)  # noqa: T201 - the driver's log
            return False
        self._reason = ""
        return True

    def _find(self) -> bool:
        """List the existing child runs; return False while the sweep has no MLflow run."""
        if self._children is None:
            from stoker.tracking.child_runs import ChildRuns

            parent = self._parent()
            if parent is None:
                self._reason = "the sweep itself has no MLflow run"
                return False
            self._children = ChildRuns(parent)
        if self._found is None:
            self._found = self._children.find({page.child.tracked.run_id for page in self._pages.values()})
        return True

    def _update(self, trial: Trial, closing: bool) -> None:
        """Update one child run; a refusal does not affect the other trials."""
        if trial.number in self._refused:
            return
        try:
            page = self._page(trial)
            if page is not None:
                page.update(trial, State.PAUSED if closing and not trial.state.final else trial.state)
                if self._reads and not trial.state.final:
                    self._read_logged(page, trial.number, ended=False)
        except OSError:
            raise
        except Exception as error:  # must not end the sweep
            traceback.print_exc()
            self._refused[trial.number] = self._redacted(error)

    def _read_logged(self, page: ChildRunSync, number: int, ended: bool) -> None:
        from stoker.execution.own_code.logged_metrics import logged_reports

        metrics = [metric for metric in self._goals if metric not in CODE_COSTS]
        began = self._ledger.trials[number].began
        self._logged[number] = logged_reports(page.child.tracked, metrics, began, ended)

    def _page(self, trial: Trial) -> ChildRunSync | None:
        """Find or create a trial's child run; None while it has no folder."""
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
                self._found = None  # it may have been created although the answer was lost
                raise
        page = ChildRunSync(child, self._sweep.trial(trial.number), self._goals)
        self._pages[trial.number] = page
        self._announce(trial.number, child.tracked.run_id, child.tracked.page)
        if header.own_code:
            announce(header.id, child.tracked.run_id)
        return page

    def _header(self, trial: Trial) -> RunHeader | None:
        """Read a trial's header; derived from the sweep's for a trial that ended without a folder."""
        folder = self._sweep.trial(trial.number)
        if folder.readable():
            return folder.header()
        ident = trial_id(self._sweep.path.name, trial.number)
        return replace(self._sweep.header(), id=ident) if trial.state.final else None

    def _missing(self, trial: Trial) -> bool:
        """Return whether a child run lacks anything known of its trial."""
        if self._header(trial) is None:
            return False  # chosen but not started
        page = self._pages.get(trial.number)
        said = trial.state if trial.state.final else State.PAUSED
        return page is None or page.child.state != said

    def _missing_values(self, number: int) -> int:
        page = self._pages.get(number)
        journal = self._sweep.trial(number).journal
        return page.missing() if page else Backlog(journal, lambda _: -1).count()

    def _store_model(self, tracked: "MlflowRun", trial: Trial, register: str | None) -> str:
        from stoker.execution.own_code.model import record_model
        from stoker.execution.packaging import packaged

        folder = self._sweep.trial(trial.number)
        tracked.log_file(folder.resolved)
        tracked.log_files(folder.artifacts)
        if isinstance(job := load_job(folder.resolved).job, CodeJob):
            return record_model(folder, job, tracked)[0]
        if not folder.model.exists():
            return ""  # its engine leaves none
        with packaged(folder.model) as model:
            return tracked.log_model(model, register, best_step(trial))

    def _redacted(self, error: Exception) -> str:
        """Return an error's first line without the server's password."""
        uri = self._settings.tracking_uri
        return f"{type(error).__name__}: {error}".replace(uri, without_password(uri)).splitlines()[0]
