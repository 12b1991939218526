"""Training without Ray and MLflow: `torchrun --nproc-per-node 2 -m stoker.training JOB.yaml --output FOLDER`.

Restarted with the same folder, by torchrun's --max-restarts or by hand, it resumes from its last checkpoint.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from stoker.errors import JobError, Problem, StokerError
from stoker.job.concurrency import machine_cpus
from stoker.job.job import Job
from stoker.job.saved_model import WEIGHTS
from stoker.jobfile.loading import dump_job, load_job
from stoker.storage import open_storage
from stoker.training.assembly import Assembly, assemble, made_whole
from stoker.training.attempt import Saved, Saving, Stopped, attempt
from stoker.training.autotune import choose
from stoker.training.checkpoint import Checkpoints
from stoker.training.evaluation import evaluate
from stoker.training.events import EpochEnd, StepEnd, TrainingEnd
from stoker.training.feature_training import set_features
from stoker.training.features import KEY
from stoker.training.initial_weights import set_initial_weights
from stoker.training.loop import start
from stoker.training.parallel import Workers, join, prepare_process, set_threads
from stoker.training.preparation import Prepared, prepare

TIMEOUT_S = 300.0
NORM_NEVER = sys.maxsize


def main() -> int:
    """Train a job in the processes of torchrun; the first one writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path, help="the job file")
    parser.add_argument("--output", type=Path, required=True, help="folder of checkpoints, metrics and weights")
    arguments = parser.parse_args()
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    sys.path.insert(0, str(arguments.job.parent.absolute()))  # for custom architectures
    prepare_process(max(1, machine_cpus() // count))
    try:
        with join(rank, count, device, "env://", TIMEOUT_S) as workers:
            _train(_prepared(arguments.job, arguments.output, workers), arguments.output, workers)
    except StokerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _prepared(file: Path, output: Path, workers: Workers) -> Prepared:
    """Load the data, with the settings that the first worker has chosen, now or at an earlier start."""
    resolved = output / "resolved.yaml"
    prepared = None
    if workers.rank == 0:
        output.mkdir(parents=True, exist_ok=True)
        job = load_job(resolved if resolved.exists() else file).task_job
        resources = job.resources.model_copy(update={"workers": workers.count})  # torchrun decides
        prepared = prepare(job.model_copy(update={"resources": resources}), start=_start(job))
        if not resolved.exists():
            prepared = choose(prepared, workers)
            resolved.write_text(dump_job(prepared.job), encoding="utf-8")
    chosen: Job = workers.broadcast_object(prepared.job if prepared else None)
    set_threads(chosen.resources.cpus)
    return prepared or prepare(chosen, start=_start(chosen))


def _start(job: Job) -> Path | None:
    """Return the folder of the model to start from, if there is one.

    Raises:
        JobError: it is named by its run.

    """
    return _folder("training.start_from", job.training.start_from)


def _folder(key: str, model: str | None) -> Path | None:
    if model and model.startswith("run:"):
        message = f"'{model}': only `stoker submit` knows runs; name the folder of a saved model"
        raise JobError([Problem(key, message)])
    return Path(model) if model else None


def _train(prepared: Prepared, output: Path, workers: Workers) -> None:
    assembly = assemble(prepared, workers)
    state = start(assembly)
    storage = open_storage(str(output / "checkpoints"))
    numbers = [int(key.rsplit("/", 1)[1]) for key in storage.keys("attempts")] if workers.rank == 0 else []
    number = workers.broadcast_object(max(numbers, default=0) + 1)
    checkpoints = Checkpoints(storage, "", prepared.job.training.checkpoint.keep, number)
    if workers.rank == 0:
        checkpoints.claim()
    restored = checkpoints.restore(state)
    for damage in restored.damaged if restored and workers.rank == 0 else ():
        print(f"skipped a damaged checkpoint: {damage}", file=sys.stderr)
    if state.step == 0:
        set_initial_weights(assembly, _start(prepared.job))
    set_features(assembly, _folder(KEY, prepared.job.training.evaluate.classifier))
    record = _Record(output / "metrics.jsonl", restored.step if restored else 0, writes=workers.rank == 0)
    for event in attempt(prepared.job.name or "run", state, checkpoints, NORM_NEVER, lambda: ""):
        match event:
            case StepEnd():
                record.step(event)
            case EpochEnd():
                record.epoch(event)
            case Saving():
                record.flush()
            case TrainingEnd(best_step=step):
                _finish(assembly, record, step, output)
            case Saved() | Stopped():
                pass
    checkpoints.finish()


def _finish(assembly: Assembly, record: "_Record", step: int, output: Path) -> None:
    """Evaluate the best weights on every part, and save them."""
    precision = assembly.job.training.precision
    results = {
        f"{quantity}/{part}": value
        for part in assembly.parts
        for quantity, value in evaluate(assembly, part, precision).items()
    }
    record.results(step, results)
    whole = made_whole(assembly)
    if assembly.workers.rank == 0:
        weights, unchanged = whole.objective.state_dict(), whole.objective.unchanged_weights()
        kept = {name: value for name, value in weights.items() if name not in unchanged}
        save_file({name: value.cpu().contiguous().clone() for name, value in kept.items()}, output / WEIGHTS)
        whole.data.fields.save(output)  # another job may start from the weights, with the same vocabulary


class _Record:
    """Writes steps and epochs as JSON lines, each once; only on the first worker."""

    def __init__(self, path: Path, step: int, writes: bool) -> None:
        self._path = path
        self._writes = writes
        self._waiting: list[StepEnd] = []
        if writes:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            kept = [line for line in lines if json.loads(line)["step"] <= step and "results" not in json.loads(line)]
            path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def step(self, event: StepEnd) -> None:
        self._waiting.append(event)

    def epoch(self, event: EpochEnd) -> None:
        self.flush()
        self._write({"step": event.step, "epoch": event.epoch, "metrics": event.metrics}, shown=True)

    def results(self, step: int, metrics: dict[str, float]) -> None:
        """Write the results of the best weights, with their step."""
        self._write({"step": step, "results": metrics}, shown=True)

    def flush(self) -> None:
        """Read the losses of the last steps from the device, and write them."""
        for event in self._waiting:
            self._write({"step": event.step, "losses": {term: float(loss) for term, loss in event.losses.items()}})
        self._waiting.clear()

    def _write(self, content: dict[str, object], shown: bool = False) -> None:
        if not self._writes:
            return
        line = json.dumps(content)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        if shown:
            print(line, flush=True)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # torch's threads may outlive their process group and abort a normal interpreter shutdown
