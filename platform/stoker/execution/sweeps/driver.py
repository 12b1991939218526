"""A sweep from its job to its best trial: prepared once, tuned, and summed up."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from stoker.errors import Cause
from stoker.execution.driver import Driver
from stoker.execution.outcome import WorkerResult
from stoker.execution.recording import SHORT_PATIENCE_S
from stoker.execution.requests import Stop
from stoker.execution.resolved import write_resolved
from stoker.execution.sweeps.afar import Afar
from stoker.execution.sweeps.pages import TrialPages
from stoker.execution.sweeps.preparation import PreparedSweep, prepare_sweep
from stoker.job.concurrency import trials_that_fit_gpus
from stoker.job.job import Job
from stoker.job.section import time_seconds
from stoker.job.sweep import Pb2, Pbt
from stoker.jobfile.loading import load_job, parse_job
from stoker.jobfile.space.reading import read_space
from stoker.search.search import Search
from stoker.settings import load_settings
from stoker.tracking.journal import Journal
from stoker.tracking.run import WAITING, Progress, State
from stoker.tracking.trials import SweepFacts, Trial, read_facts, write_facts

SHOW_EVERY_S = 0.2
LOOK_EVERY_S = 0.5
COUNT_EVERY_S = 5.0
"""The time that a sweep has had is known as exactly, after its driver was killed."""


@dataclass(frozen=True)
class Room:
    """Where a sweep runs."""

    parallel: int
    """How many trials train at once, if there are GPUs enough."""
    one_disk: bool
    """Whether the trials see the driver's files."""
    session: Path
    """A folder for what Ray Tune writes."""
    cpus: int = 1
    """Of Ray's, for each worker of a trial: a Ray of our own has one for each."""


class SweepDriver:
    """The work of a sweep's driver, on the Ray at hand.

    Args:
        driver: of the run that the sweep is.
        room: where it runs.
        afar: the trials' way home, where they do not see the driver's files.

    """

    def __init__(self, driver: Driver, room: Room, afar: Afar | None = None) -> None:
        self._folder = driver.folder
        self._requests = driver.requests
        self._driver = driver
        self._room = room
        self._afar = afar
        self._shown = 0.0
        self._began, self._counted = 0.0, 0.0
        """When it began to work on the trials, and when that was last written down."""
        self._deadline = float("inf")

    def run(self) -> WorkerResult:
        """Do it, until there are no more trials or somebody stops the sweep."""
        phase = "loading data" if self._room.one_disk else WAITING
        self._driver.say(state=State.RUNNING, attempt=self._driver.attempt + 1, phase=phase)
        begun = self._start_preparing()
        if begun is None:
            return WorkerResult("stopped")
        prepared_ref, data = begun
        from stoker.execution.sweeps.actor import TrialPlan  # Ray Tune loads while the data does
        from stoker.execution.sweeps.schedule import decisions
        from stoker.execution.sweeps.tuning import Tuning

        if not self._await(prepared_ref):
            return WorkerResult("stopped")
        prepared: PreparedSweep = ray.get(prepared_ref)
        if prepared.failure[0]:
            return WorkerResult("failed", Cause(prepared.failure[0]), prepared.failure[1])
        self._begin(prepared)
        job = self._job
        assert job.sweep is not None
        plan = TrialPlan(
            prepared.job,
            self._room.one_disk,
            decisions(job),
            job.resources.retries,
            job.resources.workers,
            self._room.cpus,
            self._gpus,
            exchanged=isinstance(job.sweep.scheduler, (Pbt, Pb2)),
        )
        try:
            tuning = Tuning(
                self._folder,
                job,
                self._trials,
                self._requests,
                self._parallel,
                self._is_over,
                self._show,
                lambda waits: self._driver.say(phase=f"{WAITING} for a trial" if waits else ""),
            )
            tuning.run(plan, data, self._room.session)
            return self._result(prepared, data)
        finally:
            self._show(last=True)
            self._pages.close(SHORT_PATIENCE_S)
            self._journal.close()
            self._trials.close()

    def _start_preparing(self) -> "tuple[ray.ObjectRef[PreparedSweep], ray.ObjectRef[Any]] | None":
        """Let a task load the data and settle what the job leaves open, and say how many trials train at once.

        Returns:
            What was settled, and the data; None where somebody stops the sweep before Ray has room for the task.

        """
        known = self._folder.resolved if self._folder.resolved.exists() else self._folder.job
        text = known.read_text(encoding="utf-8")
        job = parse_job(text, str(known)).job
        assert job.sweep is not None
        there = int(ray.cluster_resources().get("GPU", 0))
        self._gpus = min(1, there) if job.resources.gpus is None else job.resources.gpus
        self._parallel = self._room.parallel
        if not job.sweep.parallel:
            self._parallel = max(1, min(self._parallel, trials_that_fit_gpus(job, there)))
        cpus = 0 if self._room.one_disk else 1  # the driver's own node may have none to compute with
        if not self._room.one_disk:
            if not self._await(ray.remote(_be_there).options(num_cpus=cpus, num_gpus=self._gpus).remote()):
                return None
            self._driver.say(phase="loading data")
        task = ray.remote(prepare_sweep).options(num_returns=2, num_cpus=cpus, num_gpus=self._gpus)
        together = _together(self._parallel * job.resources.workers, self._room.one_disk)
        prepared, data = task.remote(text, self._folder.code_content(), together)
        return prepared, data

    def _await(self, task: "ray.ObjectRef[Any]") -> bool:
        """Wait for a task; end it, and return False, where somebody stops the sweep before."""
        while not ray.wait([task], timeout=LOOK_EVERY_S)[0]:
            if self._requests.stop() is not None:
                ray.cancel(task, force=True)
                return False
        return True

    def _begin(self, prepared: PreparedSweep) -> None:
        """Find out where an earlier driver has left the sweep, say what it looks for, and open its pages."""
        from stoker.execution.sweeps.trials import Trials

        if not self._folder.resolved.exists():
            write_resolved(self._folder.resolved, parse_job(prepared.job, "job.yaml").job, prepared.fingerprint)
        self._job = job = load_job(self._folder.resolved).job
        assert job.sweep is not None
        if job.resources.timeout:
            self._requests.limit(time_seconds(job.resources.timeout))
        self._began = self._counted = time.monotonic()
        worked_s = known.worked_s if (known := read_facts(self._folder)) else 0.0
        if job.sweep.time:
            time_s = time_seconds(job.sweep.time)
            if worked_s >= time_s:  # who resumes a sweep whose time is over gives it that time again
                worked_s = 0.0
            self._deadline = self._began + time_s - worked_s
        self._search = Search(job, space := read_space(job))
        self._trials = Trials(self._folder, job, self._search, self._count(job), self._afar)
        self._journal = Journal(self._folder.journal)
        first = self._trials.aims[0]
        self._facts = SweepFacts(
            first.name,
            first.direction,
            tuple((aim.name, aim.direction) for aim in self._trials.aims),
            self._count(job),
            self._parallel,
            tuple(dict.fromkeys(each.path for each in space.dimensions)),
            worked_s,
        )
        write_facts(self._folder, self._facts)
        recording = self._driver.recording
        self._pages = TrialPages(
            self._folder, load_settings(), lambda: recording.page, self._trials.announce, self._facts.goals
        )
        self._pages.start()
        self._driver.say(phase="")

    def _count(self, job: Job) -> int | None:
        """Tell how many trials there will be, those included that `extend` has added."""
        assert job.sweep is not None
        return None if job.sweep.trials is None else job.sweep.trials + self._folder.more_trials()

    def _is_over(self) -> bool:
        """Tell whether the sweep's own limits are reached; it is asked all the time, so here time is counted."""
        assert self._job.sweep is not None
        now = time.monotonic()
        if now - self._counted > COUNT_EVERY_S:
            self._counted = now
            write_facts(self._folder, replace(self._facts, worked_s=self._facts.worked_s + now - self._began))
        return now >= self._deadline or len(self._trials.failures) >= self._job.sweep.failures

    def _result(self, prepared: PreparedSweep, data: "ray.ObjectRef[Any]") -> WorkerResult:
        assert self._job.sweep is not None
        stop = self._requests.stop()
        if stop in (Stop.PAUSE, Stop.TERMINATE):
            return WorkerResult("stopped")
        self._trials.remove_copies()
        if stop is not None or len(self._trials.failures) >= self._job.sweep.failures:
            self._trials.end_rest(State.CANCELLED)
        else:  # the sweep's time is over
            self._trials.end_rest(State.PRUNED)
        if stop is not None:
            return WorkerResult("stopped")
        best = self._trials.best
        if len(self._trials.failures) >= self._job.sweep.failures or (best is None and self._trials.failures):
            cause, message = self._trials.common_failure()
            return WorkerResult("failed", cause, message)
        if best is None:
            return WorkerResult("failed", Cause.TIMED_OUT, "no trial came to its end before sweep.time was over")
        reason = "time" if time.monotonic() >= self._deadline else "length"
        facts = {"data": prepared.fingerprint, "end": reason, "best_trial": str(best.number)}
        from stoker.execution.sweeps.ending import Found, leave, note_of, with_trace

        self._show(last=True)
        self._driver.say(phase="recording in MLflow")
        found = Found(self._trials.all, best, self._trials.aims, self._facts)
        if self._afar:
            self._afar.fetch(best.number)
        with_trace(lambda: self._draw(best, data))
        trouble = leave(self._folder, self._job, found, self._search, self._pages)
        if trouble:
            print(trouble, file=sys.stderr)  # noqa: T201 - the run's log
        note = note_of(found, self._folder.path.name, self._driver.recording.page)
        results = {key: value for key, value in best.metrics.items() if "/" in key}
        return WorkerResult("succeeded", message=trouble, metrics=results, facts=facts, note=note)

    def _draw(self, best: Trial, data: "ray.ObjectRef[Any]") -> None:
        """Let the best trial's results be drawn from its model, as a run of its own leaves them."""
        if self._afar:
            self._afar.draw(best.number, self._job, data, self._gpus)
            return
        from stoker.execution.sweeps.ending import draw_best

        draw_best(self._folder.trial(best.number), self._job, ray.get(data))

    def _show(self, last: bool = False) -> None:
        """Tell people how far the sweep is."""
        now = time.monotonic()
        if not last and now - self._shown < SHOW_EVERY_S:
            return
        self._shown = now
        trials, ended = self._trials, self._trials.ended
        best = self._best_so_far()
        if ended and best:
            self._journal.append(len(ended), 0, best)
            self._journal.flush()
        count = self._count(self._job) or 0
        self._folder.write_progress(
            Progress("training", step=len(ended), steps=max(count, len(trials.all)), metrics=best)
        )

    def _best_so_far(self) -> dict[str, float]:
        best: Trial | None = self._trials.best
        if best is None:
            return {}
        return {aim.name: best.score(aim.name, aim.direction) for aim in self._trials.aims}


def _be_there() -> None:
    """Do nothing, where there is room for what is to be done."""


def _together(workers: int, one_disk: bool) -> int:
    """Tell how many of so many workers share a machine."""
    if one_disk:
        return workers
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    return -(-workers // max(len(nodes), 1))
