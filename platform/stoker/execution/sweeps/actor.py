"""A trial's process, as an actor that Ray Tune hands from trial to trial: what a process loads is paid for once."""

import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import random
from typing import TYPE_CHECKING, Any

import ray
from ray._private.ray_constants import LOG_PREFIX_ACTOR_NAME
from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint, Trainable
from ray.util import get_current_placement_group

from stoker.errors import Cause, StokerError, StorageError
from stoker.execution.durable import Durable, storage_of
from stoker.execution.mirror import News, keep_results, news_of, unpack
from stoker.execution.outcome import WorkerResult
from stoker.execution.pulse import Pulse
from stoker.execution.resolved import shrink_resolved
from stoker.execution.retry import Action, Failure, decide
from stoker.execution.sweeps.word import is_asked
from stoker.secret_files import load_secret_files
from stoker.spec.loading import parse_job
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunHeader
from stoker.tracking.trials import Report

if TYPE_CHECKING:
    from stoker.execution.sweeps.engines import Epochs  # the driver knows this class too, and has no torch
    from stoker.execution.worker_group import WorkerGroup

TELL_EVERY_S = 0.5
"""Epochs that nobody decides about are told together, about this often."""
LISTEN_EVERY_S = 0.25
ASK_EVERY_S = 1.0
"""The same for trials that ask Ray's own store, which serves all of them."""
RESTING = "resting"
"""Among the metrics of a checkpoint in Tune's sense: its files, by name."""
STOP_FILE = "stop"
"""In the folder of a sweep's trials: all of them are to save a checkpoint and stop."""


@dataclass(frozen=True)
class TrialPlan:
    """What is the same for all trials of a sweep."""

    job: str
    """The sweep's job with every default and choice."""
    one_disk: bool
    """Whether the trials see the driver's files."""
    decisions: tuple[int, ...] | None
    """The epochs after which a scheduler decides; None for all of them."""
    retries: int
    workers: int
    gpus: int
    """Of each worker."""


@dataclass(frozen=True)
class Told:
    """What a trial tells at once."""

    reports: tuple[Report, ...]
    result: WorkerResult | None
    """How it ended; None while it goes on."""
    news: News
    """What has changed in its folder, where that is not the driver's."""


class TrialActor(Trainable):  # type: ignore[misc] # Ray's classes have no types
    """Trains one trial after the other.

    `step` returns `{"told": Told, "done": bool}`. A failure is mended here as far as it can be; only the death of the
    process is left to others.
    """

    def setup(self, config: dict[str, Any], plan: TrialPlan, data: Sequence[ray.ObjectRef]) -> None:
        """Begin with the first trial.

        Args:
            config: `number`, `folder` and, for a trial that does not see the driver's files, `files`.
            plan: of all trials.
            data: reference to the dataset of the sweep's job.

        """
        from stoker.execution.kept_data import KeptData
        from stoker.execution.sweeps.sharing import from_shared

        load_secret_files()
        self._plan = plan
        self._kept = KeptData(most=4)
        self._kept.keep(parse_job(plan.job, "job.yaml").job, from_shared(ray.get(data[0])))
        self._pulse = Pulse()
        self._folder = RunFolder(Path())
        self._header: RunHeader | None = None
        self._untold: list[Report] = []
        """What earlier attempts did, of which the driver may not have heard."""
        self._epochs: Epochs
        self._group: WorkerGroup | None = None
        every_s = LISTEN_EVERY_S if plan.one_disk else ASK_EVERY_S
        threading.Thread(target=_listen, args=(weakref.ref(self), every_s), name="listen", daemon=True).start()
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Leave a trial, wherever it is, and begin with the next."""
        self._epochs.close()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train until there is something to decide, or to tell."""
        reports, self._untold = self._untold, []
        result: WorkerResult | None = None
        due = time.monotonic() + TELL_EVERY_S
        while result is None:
            try:
                report = next(self._epochs)
            except StopIteration as end:
                result = self._again(end.value)
                continue
            reports.append(report)
            decisions = self._plan.decisions
            if decisions is None or report.epoch in decisions or time.monotonic() >= due:
                break
        return {"told": Told(tuple(reports), result, self._news()), "done": result is not None}

    def save(self, checkpoint_dir: str | None = None) -> _TrainingResult:
        """Bring what `save_checkpoint` leaves to the driver itself where Tune would look for a disk that all see."""
        if self._plan.one_disk:
            return super().save(checkpoint_dir)
        with tempfile.TemporaryDirectory() as place:
            self.save_checkpoint(place)
            files = {path.name: path.read_bytes() for path in Path(place).iterdir()}
        nowhere = Checkpoint.from_directory(tempfile.gettempdir())
        return _TrainingResult(nowhere, {**(self._last_result or {}), RESTING: files})

    def restore(self, checkpoint_path: Any) -> None:
        """Go on from what `save` has returned."""
        if self._plan.one_disk:
            super().restore(checkpoint_path)
            return
        with tempfile.TemporaryDirectory() as place:
            for name, content in checkpoint_path.metrics[RESTING].items():
                (Path(place) / name).write_bytes(content)
            self.load_checkpoint(place)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Let the trial rest at a checkpoint of its own; a scheduler wants it to wait for others."""
        self._pulse.request = "stop"
        for _ in self._epochs:
            pass  # it hears at its next step
        self._epochs = self._next_attempt()
        (Path(checkpoint_dir) / "trial").write_text(self._folder.path.name, encoding="utf-8")

    def load_checkpoint(self, checkpoint: str) -> None:
        """Do nothing: a trial begins at its own newest checkpoint anyway."""

    def cleanup(self) -> None:
        """Leave the last trial."""
        self._epochs.close()
        if self._group is not None:
            self._group.close()
        self._tidy()

    def listen(self) -> None:
        """Hear whether the trial is to stop."""
        pulse = self._pulse  # before the folder: the next trial is not to hear what its predecessor was asked
        if self._plan.one_disk:
            asked = any(path.exists() for path in (self._folder.cancel_request, self._folder.path.parent / STOP_FILE))
        else:
            asked = self._header is not None and is_asked(self._header.id)
        if asked:
            pulse.request = "stop"

    def _begin(self, config: dict[str, Any]) -> None:
        for stream in (sys.stdout, sys.stderr):
            print(f"{LOG_PREFIX_ACTOR_NAME}Trial {config['number']}", file=stream, flush=True)
        from stoker.execution.sweeps.engines import known_reports

        folder = RunFolder(Path(config["folder"]))
        if not self._plan.one_disk:
            self._tidy()
            folder = unpack(config["files"], folder.path.name, "trial")
        header = folder.header()
        self._folder, self._header = folder, header
        self._kept_at = storage_of(folder, header, header.id)
        self._position = 0
        if not self._plan.one_disk:  # what the files have may be older than the checkpoint
            Durable(folder, self._kept_at).recall_journal()
        self._untold = known_reports(folder)
        self._history: list[Failure] = []
        begun = self._kept_at.keys("attempts")
        self._attempt = int(begun[-1].rsplit("/", 1)[1]) if begun else 0
        self._epochs = self._next_attempt()

    def _next_attempt(self) -> "Epochs":
        from stoker.execution.sweeps.engines import alone, together

        self._attempt += 1
        self._pulse = Pulse()
        if self._plan.workers == 1:
            return alone(self._folder, self._attempt, self._pulse, self._kept)
        if self._group is None:
            from stoker.execution.worker_group import WorkerGroup

            place = get_current_placement_group()
            self._group = WorkerGroup(self._plan.workers, self._plan.gpus, False, self._plan.one_disk, place)
        return together(self._folder, self._attempt, self._pulse, self._group)

    def _again(self, result: WorkerResult) -> WorkerResult | None:
        """Try again where that may help, as a run of its own would; else return how the trial ended."""
        if result.outcome == "succeeded" and not self._plan.one_disk:
            result = self._kept_results(result)
        if result.outcome != "failed":
            return result
        said = f"attempt {self._attempt} failed after step {result.step}: {result.cause}: {result.message}"
        print(f"{result.details}\n{said}".lstrip(), file=sys.stderr, flush=True)  # noqa: T201 - the run's log
        self._history.append(Failure(Cause(result.cause), result.message, result.step, result.checkpoint[1]))
        decision = decide(self._history, self._plan.retries, random())  # noqa: S311 - no secret
        if decision.action is Action.END:
            return WorkerResult(
                "failed", decision.cause, decision.message, step=result.step, checkpoint=result.checkpoint
            )
        if decision.action is Action.SMALLER:
            shrink_resolved(self._folder.resolved)
        time.sleep(decision.wait_s)
        self._epochs = self._next_attempt()
        return None

    def _kept_results(self, result: WorkerResult) -> WorkerResult:
        """Keep model and pictures where they outlive this machine, before anybody hears of them."""
        try:
            keep_results(self._folder, self._kept_at)
        except StokerError as error:
            cause = error.cause if isinstance(error, StorageError) else Cause.INFRASTRUCTURE
            return replace(result, outcome="failed", cause=cause, message=f"the model cannot be kept: {error}")
        return result

    def _tidy(self) -> None:
        """Remove the folder of a trial that is left, where it is the node's own."""
        if not self._plan.one_disk and self._header is not None:
            shutil.rmtree(self._folder.path, ignore_errors=True)

    def _news(self) -> News:
        if self._plan.one_disk:
            return News()
        news = news_of(self._folder, self._position)
        self._position += len(news.journal)
        return news


def _listen(reference: "weakref.ref[TrialActor]", every_s: float) -> None:
    while (actor := reference()) is not None:
        actor.listen()
        del actor
        time.sleep(every_s)
