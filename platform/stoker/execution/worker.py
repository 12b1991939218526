"""One worker: assemble, drive the loop, write journal and progress, leave the model and the pictures of the record."""

import csv
import importlib
import json
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.errors import Cause, JobError, TrainingFailed
from stoker.execution.causes import cause_of
from stoker.execution.reporter import Cancelled, Reporter
from stoker.inference.model import save_model
from stoker.spec.loading import dump_job, load_job
from stoker.tracking.record import RunFolder
from stoker.training.assembly import Assembly, Prepared, assemble, prepare
from stoker.training.choices import choose
from stoker.training.evaluation import evaluate, evaluate_in_detail
from stoker.training.loop import EpochEnd, StepEnd, TrainingEnd, train
from stoker.training.parallel import choose_device, machine_cpus, prepare_process, set_threads

RECORDED_STEPS = 2_000
"""A run records the losses of about this many steps at most."""
NORM_EVERY = 10
"""Every so many recorded steps also have the gradient's norm, which costs a tenth of a small network's step."""
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
    reporter = Reporter(folder)
    reporter.say("loading data")
    prepared = prepare(job)
    reporter.say("choosing threads and precision")
    prepared = choose(prepared, device)
    set_threads(prepared.job.resources.cpus)
    folder.resolved.write_text(resolved_text(prepared), encoding="utf-8")
    assembly = assemble(prepared, device)
    end = _train(folder, assembly, reporter)
    reporter.say("evaluating")
    metrics = _evaluate(folder, assembly)
    reporter.final(end.step, end.best_epoch, metrics)
    reporter.say("saving the model")
    network = assembly.objective.groups()["network"]
    draft = folder.path / ".model.new"
    save_model(draft, prepared.job, prepared.data.encoders, network, prepared.data.fingerprint)
    (draft / "example.json").write_text(_example(prepared), encoding="utf-8")
    draft.rename(folder.model)
    facts = {"data": prepared.data.fingerprint, "end": end.reason, "best_epoch": str(end.best_epoch)}
    return WorkerResult("succeeded", metrics=metrics, best_step=end.best_step, facts=facts)


def _train(folder: RunFolder, assembly: Assembly, reporter: Reporter) -> TrainingEnd:
    every = -(-assembly.prepared.steps // RECORDED_STEPS)
    reporter.begin(assembly.prepared)
    try:
        for event in train(folder.path.name, assembly, norm_every=every * NORM_EVERY):
            match event:
                case StepEnd():
                    reporter.step(event, recorded=event.step % every == 0)
                case EpochEnd():
                    reporter.epoch(event)
                case TrainingEnd():
                    return event
    finally:
        reporter.flush()  # the last steps explain a failure
    raise AssertionError("the loop ends with TrainingEnd")


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
