"""One worker: assemble, drive the loop, write journal and progress, leave the model and the pictures of the record."""

import csv
import importlib
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stoker.errors import Cause, JobError, TrainingFailed
from stoker.execution.causes import cause_of
from stoker.inference.model import save_model
from stoker.spec.loading import dump_job, load_job
from stoker.tracking.journal import Journal
from stoker.tracking.record import Progress, RunFolder
from stoker.training.assembly import Assembly, Prepared, assemble, prepare
from stoker.training.choices import choose
from stoker.training.evaluation import evaluate, evaluate_in_detail
from stoker.training.loop import EpochEnd, StepEnd, TrainingEnd, train
from stoker.training.parallel import choose_device, machine_cpus, prepare_process, set_threads

PROGRESS_EVERY_S = 0.2
RECORDED_STEPS = 2_000
"""A run records the losses of about this many steps at most."""
WORST_SAMPLES = 16


@dataclass(frozen=True)
class WorkerResult:
    """How a worker ended; plain values, since it crosses processes."""

    outcome: str
    """succeeded, cancelled or failed."""
    cause: str = ""
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the best weights, by quantity and part."""
    best_step: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    """What else the record should say: fingerprint of the data, reason of the end."""


class Cancelled(Exception):
    """Somebody asked the run to end."""


class Worker:
    """A process that trains. It loads its libraries before it knows its job."""

    def warm_up(self) -> None:
        """Load what the first step would otherwise wait for: every torch optimizer wants torch's compiler."""
        importlib.import_module("torch._dynamo")

    def run(self, path: str) -> WorkerResult:
        """Train the run of a folder; every failure comes back as a cause."""
        folder = RunFolder(Path(path))
        try:
            return _run(folder)
        except Cancelled:
            return WorkerResult("cancelled")
        except JobError as error:
            return WorkerResult("failed", Cause.BAD_DATA, str(error))
        except TrainingFailed as error:
            return WorkerResult("failed", error.cause, error.message)
        except Exception as error:  # everything else has a cause too, and its traceback in the log
            traceback.print_exc()
            return WorkerResult("failed", cause_of(error), f"{type(error).__name__}: {error}")


def _run(folder: RunFolder) -> WorkerResult:
    job = load_job(folder.job).job
    prepare_process(job.resources.cpus or machine_cpus())
    device = choose_device(job.resources.gpus or 0)
    recorder = Recorder(folder)
    recorder.say("loading data")
    prepared = prepare(job)
    recorder.say("choosing threads and precision")
    prepared = choose(prepared, device)
    set_threads(prepared.job.resources.cpus)
    folder.resolved.write_text(resolved_text(prepared), encoding="utf-8")
    assembly = assemble(prepared, device)
    end = _train(folder, assembly, recorder)
    recorder.say("evaluating")
    metrics = _evaluate(folder, assembly)
    curves = {"loss/train", *(key for key in metrics if key.endswith(f"/{prepared.evaluated_part}"))}
    recorder.final(end.step, end.best_epoch, {key: value for key, value in metrics.items() if key not in curves})
    recorder.say("saving the model")
    network = assembly.objective.groups()["network"]
    save_model(folder.model, prepared.job, prepared.data.encoders, network, prepared.data.fingerprint)
    (folder.model / "example.json").write_text(_example(prepared), encoding="utf-8")
    facts = {"data": prepared.data.fingerprint, "end": end.reason, "best_epoch": str(end.best_epoch)}
    return WorkerResult("succeeded", metrics=metrics, best_step=end.step, facts=facts)


def _train(folder: RunFolder, assembly: Assembly, recorder: "Recorder") -> TrainingEnd:
    every = max(1, assembly.prepared.steps // RECORDED_STEPS)
    recorder.begin(assembly.prepared)
    for event in train(folder.path.name, assembly, record_every=every):
        match event:
            case StepEnd():
                recorder.step(event, recorded=event.step % every == 0)
            case EpochEnd():
                recorder.epoch(event)
            case TrainingEnd():
                recorder.flush()
                return event
    raise AssertionError("the loop ends with TrainingEnd")


class Recorder:
    """Turns the loop's events into journal entries and progress, without asking the device at each step."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._journal = Journal(folder.journal)
        self._progress = Progress()
        self._steps: list[StepEnd] = []
        self._written = 0.0
        self._began = 0.0

    def say(self, phase: str) -> None:
        """Tell what the worker is busy with."""
        self._write(replace(self._progress, phase=phase, seconds_left=0.0))

    def begin(self, prepared: Prepared) -> None:
        """Tell how long training will be."""
        self._began = time.monotonic()
        self._write(replace(self._progress, phase="training", epochs=prepared.epochs, steps=prepared.steps))

    def step(self, event: StepEnd, recorded: bool) -> None:
        """Keep a step's values for the next flush, and show progress a few times a second."""
        if recorded:
            self._steps.append(event)
        now = time.monotonic()
        if now - self._written >= PROGRESS_EVERY_S or event.step == 1:
            left = (now - self._began) / event.step * (self._progress.steps - event.step)
            self._write(replace(self._progress, epoch=event.epoch, step=event.step, seconds_left=left))
            self.flush()

    def epoch(self, event: EpochEnd) -> None:
        """Write the epoch's metrics."""
        self.flush(keep_open=True)
        self._journal.append(event.step, event.epoch, event.metrics)
        self._journal.flush()
        elapsed = time.monotonic() - self._began
        left = elapsed / event.step * (self._progress.steps - event.step)
        self._write(
            replace(self._progress, epoch=event.epoch, step=event.step, seconds_left=left, metrics=event.metrics)
        )

    def final(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write the results of the best weights."""
        if metrics:
            self._journal.append(step, epoch, metrics)
            self._journal.flush()

    def flush(self, keep_open: bool = False) -> None:
        """Fetch the kept values from the device, all at once, and write them."""
        for event in self._steps:
            values = {f"{term}/step": float(value) for term, value in event.losses.items()}
            if event.gradient_norm is not None:
                values["gradient_norm/step"] = float(event.gradient_norm)
            values["learning_rate/step"] = event.learning_rate
            self._journal.append(event.step, event.epoch, values)
        self._steps.clear()
        if not keep_open:
            self._journal.flush()

    def _write(self, progress: Progress) -> None:
        self._progress = progress
        self._written = time.monotonic()
        self._folder.write_progress(progress)
        if self._folder.cancel_request.exists():
            raise Cancelled


def resolved_text(prepared: Prepared) -> str:
    """Write the job with every default and choice, and what it stands on."""
    return f"# data: sha256 {prepared.data.fingerprint}\n{dump_job(prepared.job)}"


def _evaluate(folder: RunFolder, assembly: Assembly) -> dict[str, float]:
    """Evaluate the best weights on every part, and draw the held-out one."""
    precision = assembly.job.training.precision
    shown = "test" if "test" in assembly.parts else assembly.prepared.evaluated_part
    metrics: dict[str, float] = {}
    for part in assembly.parts:
        if part == shown:
            values, outcome = evaluate_in_detail(assembly, part, precision)
            _draw(folder.artifacts, assembly, outcome, part)
        else:
            values = evaluate(assembly, part, precision)
        metrics |= {f"{quantity}/{part}": value for quantity, value in values.items()}
    return metrics


def _draw(artifacts: Path, assembly: Assembly, outcome: Any, part: str) -> None:
    """Leave figures and the worst samples for the record; a picture that cannot be drawn must not cost the model."""
    output = assembly.data.encoders.output
    artifacts.mkdir(exist_ok=True)
    try:
        for name, figure in assembly.task.figures(outcome, output).items():
            figure.savefig(artifacts / f"{name}-{part}.png", dpi=110)
        worst = assembly.task.worst(outcome, output, WORST_SAMPLES)
        names = assembly.data.names
        rows = [{**row, "sample": names[row["id"]] if names else str(row["id"])} for row in worst]
        with (artifacts / f"worst-{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        if "image" in assembly.parts[part].inputs:
            from stoker.execution.pictures import draw_pictures

            samples = assembly.parts[part]
            places = {int(number): place for place, number in enumerate(samples.ids.tolist())}
            pixels = [samples.inputs["image"][places[row["id"]]].cpu().numpy() for row in rows]
            draw_pictures(artifacts / f"worst-{part}.png", pixels, rows)
    except Exception:  # the result stands without its pictures
        traceback.print_exc()


def _example(prepared: Prepared) -> str:
    example = prepared.data.example
    if hasattr(example, "to_json"):
        return str(example.to_json(orient="split", index=False))
    return json.dumps(example.tolist())
