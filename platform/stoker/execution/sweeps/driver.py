"""The driver of a sweep: prepares the data once, tunes, and summarizes the result."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from stoker.errors import Cause
from stoker.execution.driver import Driver
from stoker.execution.recording import SHORT_PATIENCE_S
from stoker.execution.resolved_job import write_resolved
from stoker.execution.stop_requests import StopReason
from stoker.execution.sweeps.preparation import PreparedSweep, prepare_sweep
from stoker.execution.sweeps.trial_recording import TrialRecording
from stoker.execution.sweeps.trial_stores import TrialStores
from stoker.execution.system_metrics.sampler import system_sampler
from stoker.execution.worker_result import WorkerResult
from stoker.job.concurrency import trials_that_fit_gpus
from stoker.job.goals import COSTS
from stoker.job.job import Job
from stoker.job.own_code import AnyJob, CodeJob, kind_of_code
from stoker.job.section import time_seconds
from stoker.job.sweep import Pb2, Pbt
from stoker.jobfile.loading import dump_job, load_job, parse_job
from stoker.jobfile.space.reading import read_space
from stoker.search.search import Search
from stoker.settings import load_settings
from stoker.tracking.journal import Journal
from stoker.tracking.run import WAITING, Progress, State
from stoker.tracking.trials import SweepFacts, Trial, read_facts, write_facts

PROGRESS_EVERY_S = 0.2
POLL_EVERY_S = 0.5
TIME_EVERY_S = 5.0
"""Precision of the recorded sweep time if the driver is killed."""


@dataclass(frozen=True)
class SweepPlacement:
    """Resources and folders of a sweep."""

    parallel: int
    """Maximum number of concurrent trials, if there are enough GPUs."""
    shared_disk: bool
    """Whether trials see the driver's files."""
    session: Path
    """Folder for Ray Tune's files."""
    cpus: int = 1
    """Ray CPUs of each worker of a trial; an embedded Ray has one for each."""


class SweepDriver:
    """Runs a sweep on the current Ray session.

    Args:
        driver: of the sweep's run.
        placement: where the sweep runs.
        stores: of the trials, if they share no disk with the driver.

    """

    def __init__(self, driver: Driver, placement: SweepPlacement, stores: TrialStores | None = None) -> None:
        self._folder = driver.folder
        self._requests = driver.requests
        self._driver = driver
        self._placement = placement
        self._stores = stores
        self._progress_written = 0.0
        self._sampler = system_sampler(own_container=not placement.shared_disk)
        self._began, self._counted = 0.0, 0.0
        """When work on the trials began, and when its duration was last written."""
        self._deadline = float("inf")

    def run(self) -> WorkerResult:
        """Run trials until there are no more or a request stops the sweep; return the outcome."""
        phase = "loading data" if self._placement.shared_disk else WAITING
        self._driver.update_status(state=State.RUNNING, attempt=self._driver.attempt + 1, phase=phase)
        begun = self._start_preparing()
        if begun is None:
            return WorkerResult("stopped")
        prepared_ref, data = begun
        from stoker.execution.sweeps.schedulers import decision_epochs
        from stoker.execution.sweeps.trial_actor import TrialPlan  # imports Ray Tune while the data is loaded
        from stoker.execution.sweeps.tuning import Tuning

        if not self._wait_for(prepared_ref):
            return WorkerResult("stopped")
        prepared: PreparedSweep = ray.get(prepared_ref)
        if prepared.failure[0]:
            return WorkerResult("failed", Cause(prepared.failure[0]), prepared.failure[1])
        self._begin(prepared)
        job = self._job
        assert job.sweep is not None
        plan = TrialPlan(
            prepared.job,
            self._placement.shared_disk,
            decision_epochs(job),
            job.resources.retries,
            job.resources.most_workers,
            self._placement.cpus,
            self._gpus,
            copies_checkpoints=isinstance(job.sweep.scheduler, (Pbt, Pb2)),
            own_code=kind_of_code(job),
        )
        try:
            tuning = Tuning(
                self._folder,
                job,
                self._trials,
                self._requests,
                self._parallel,
                self._is_over,
                self._write_progress,
                lambda waits: self._driver.update_status(phase=f"{WAITING} for a trial" if waits else ""),
                self._pages.logged if plan.own_code == "script" else None,
            )
            tuning.run(plan, data, self._placement.session)
            return self._result(prepared, data)
        finally:
            self._write_progress(last=True)
            self._pages.close(SHORT_PATIENCE_S)
            self._journal.close()
            self._trials.close()

    def _start_preparing(self) -> "tuple[ray.ObjectRef[PreparedSweep], ray.ObjectRef[Any]] | None":
        """Start the task that loads the data and resolves the job, and set the number of concurrent trials.

        Returns:
            References to the resolved job and to the data, which own code loads itself; None if a request arrives
            before Ray can place the task.

        """
        known = self._folder.resolved if self._folder.resolved.exists() else self._folder.job
        text = known.read_text(encoding="utf-8")
        job = parse_job(text, str(known)).job
        assert job.sweep is not None
        gpus = int(ray.cluster_resources().get("GPU", 0))
        self._gpus = min(1, gpus) if job.resources.gpus is None else job.resources.gpus
        self._parallel = self._placement.parallel
        if not job.sweep.parallel:
            self._parallel = max(1, min(self._parallel, trials_that_fit_gpus(job, gpus)))
        if isinstance(job, CodeJob):
            return ray.put(PreparedSweep(dump_job(job), "")), ray.put(None)
        cpus = 0 if self._placement.shared_disk else 1  # the driver's node may have no CPUs
        if not self._placement.shared_disk:
            if not self._wait_for(ray.remote(_do_nothing).options(num_cpus=cpus, num_gpus=self._gpus).remote()):
                return None
            self._driver.update_status(phase="loading data")
        task = ray.remote(prepare_sweep).options(num_returns=2, num_cpus=cpus, num_gpus=self._gpus)
        concurrent_workers = _workers_per_machine(
            self._parallel * job.resources.most_workers, self._placement.shared_disk
        )
        prepared, data = task.remote(text, self._folder.code_content(), concurrent_workers)
        return prepared, data

    def _wait_for(self, task: "ray.ObjectRef[Any]") -> bool:
        """Wait for a task; cancel it and return False if a request arrives."""
        while not ray.wait([task], timeout=POLL_EVERY_S)[0]:
            if self._requests.reason() is not None:
                ray.cancel(task, force=True)
                return False
        return True

    def _begin(self, prepared: PreparedSweep) -> None:
        """Restore the state of an earlier driver, write the sweep's facts, and start to record."""
        from stoker.execution.sweeps.trials import Trials

        if not self._folder.resolved.exists():
            write_resolved(self._folder.resolved, parse_job(prepared.job, "job.yaml").job, prepared.fingerprint)
        self._job = job = load_job(self._folder.resolved).job
        assert job.sweep is not None
        if job.resources.timeout:
            self._requests.start_timeout(time_seconds(job.resources.timeout))
        self._began = self._counted = time.monotonic()
        worked_s = known.worked_s if (known := read_facts(self._folder)) else 0.0
        if job.sweep.time:
            time_s = time_seconds(job.sweep.time)
            if worked_s >= time_s:  # a sweep resumed after its time has passed gets the full time again
                worked_s = 0.0
            self._deadline = self._began + time_s - worked_s
        self._search = Search(job, space := read_space(job))
        self._trials = Trials(self._folder, job, self._search, self._count(job), self._stores)
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
        recording, reads = self._driver.recording, kind_of_code(job) == "script"
        self._pages = TrialRecording(
            self._folder, load_settings(), lambda: recording.page, self._trials.announce, self._facts.goals, reads
        )
        self._pages.start()
        self._driver.update_status(phase="")

    def _count(self, job: AnyJob) -> int | None:
        """Return the number of trials, including those added by `extend`; None without a limit."""
        assert job.sweep is not None
        return None if job.sweep.trials is None else job.sweep.trials + self._folder.more_trials()

    def _is_over(self) -> bool:
        """Return whether the sweep's time or number of failures is exhausted; also writes the time used so far."""
        assert self._job.sweep is not None
        now = time.monotonic()
        if now - self._counted > TIME_EVERY_S:
            self._counted = now
            write_facts(self._folder, replace(self._facts, worked_s=self._facts.worked_s + now - self._began))
        return now >= self._deadline or len(self._trials.failures) >= self._job.sweep.failures

    def _result(self, prepared: PreparedSweep, data: "ray.ObjectRef[Any]") -> WorkerResult:
        assert self._job.sweep is not None
        stop = self._requests.reason()
        if stop in (StopReason.PAUSE, StopReason.TERMINATE):
            return WorkerResult("stopped")
        self._trials.delete_checkpoint_copies()
        if stop is not None or len(self._trials.failures) >= self._job.sweep.failures:
            self._trials.end_remaining(State.CANCELLED)
        else:  # sweep.time has passed
            self._trials.end_remaining(State.PRUNED)
        if stop is not None:
            return WorkerResult("stopped")
        best = self._trials.best
        if len(self._trials.failures) >= self._job.sweep.failures or (best is None and self._trials.failures):
            cause, message = self._trials.common_failure()
            return WorkerResult("failed", cause, message)
        if best is None:
            return WorkerResult("failed", Cause.TIMED_OUT, "no trial finished before sweep.time had passed")
        reason = "time" if time.monotonic() >= self._deadline else "length"
        data_facts = {"data": prepared.fingerprint} if prepared.fingerprint else {}
        facts = {**data_facts, "end": reason, "best_trial": str(best.number)}
        from stoker.execution.sweeps.results import SweepResult, record_result, run_or_log, sweep_page_description

        self._write_progress(last=True)
        self._driver.update_status(phase="recording in MLflow")
        found = SweepResult(self._trials.all, best, self._trials.aims, self._facts)
        if self._stores:
            self._stores.fetch_results(best.number)
        run_or_log(lambda: self._draw(best, data))
        trouble = record_result(self._folder, self._job, found, self._search, self._pages)
        if trouble:
            print(trouble, file=sys.stderr)  # noqa: T201 - the run's log
        note = sweep_page_description(found, self._folder.path.name, self._driver.recording.page)
        results = {key: value for key, value in best.metrics.items() if key not in COSTS}
        return WorkerResult("succeeded", message=trouble, metrics=results, facts=facts, note=note)

    def _draw(self, best: Trial, data: "ray.ObjectRef[Any]") -> None:
        """Draw the best trial's results from its model, if its engine has left one."""
        from stoker.execution.sweeps.results import draw_in_task, draw_trial_results

        folder = self._folder.trial(best.number)
        if not (folder.model.exists() and isinstance(self._job, Job)):
            return
        if self._stores:
            draw_in_task(folder, self._job, data, self._gpus)
        else:
            draw_trial_results(folder, self._job, ray.get(data))

    def _write_progress(self, last: bool = False) -> None:
        """Write the sweep's progress."""
        now = time.monotonic()
        if not last and now - self._progress_written < PROGRESS_EVERY_S:
            return
        self._progress_written = now
        sample = self._sampler and (self._sampler.last() if last else self._sampler.due())
        if sample:  # of the whole sweep where its trials are processes of this one
            self._driver.recording.add_system_metrics("", sample)
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


def _do_nothing() -> None:
    """Do nothing: once this task runs, Ray has resources for the real one."""


def _workers_per_machine(workers: int, shared_disk: bool) -> int:
    """Return how many of the workers share a machine."""
    if shared_disk:
        return workers
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    return -(-workers // max(len(nodes), 1))
