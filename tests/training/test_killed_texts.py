"""Every family that reads or writes texts, killed in the middle of an epoch, ends in the same bytes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from stoker.job.task import TASKS
from stoker.jobfile.loading import dump_job
from stoker.training.__main__ import main

VARIANTS = {"pretrained": ("pretrained", "lora")}
CASES = [
    (task, variant)
    for task, row in TASKS.items()
    if not {"text", "words"}.isdisjoint(row.inputs)
    for family in row.families
    if family in ("rnn", "transformer", "pretrained") or (family == "mlp" and "number" not in row.inputs)
    for variant in VARIANTS.get(family, (family,))
] + [("fill-mask", "counted")]
SHORT = {"epochs": 2, "checkpoint": {"every": "2 steps"}}
STEPS, KILLED_AFTER = 6, 5
"""Of three in an epoch: the newest checkpoint is that of step 2 or 4."""
LONG = {"epochs": 60, "checkpoint": {"every": "2 steps"}}
every_case = pytest.mark.parametrize(("task", "variant"), CASES, ids=lambda name: name)


def _some() -> list[Any]:
    """Return the cases with all but one family of each task, another one each time, marked as slow."""
    tasks = list(dict.fromkeys(task for task, _ in CASES))
    cases = []
    for number, task in enumerate(tasks):
        own = [case for case in CASES if case[0] == task]
        chosen = own[number % len(own)]
        cases += [pytest.param(*case, marks=() if case == chosen else pytest.mark.slow) for case in own]
    return cases


some_cases = pytest.mark.parametrize(("task", "variant"), _some(), ids=lambda name: name)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Load here, once, what each process would load for itself in seconds."""
    for name in ("peft", "rouge_score.rouge_scorer", "sacrebleu.metrics.bleu", "stoker.tasks.defined_metrics"):
        import_module(name)
    import_module("seqeval.metrics.sequence_labeling")
    transformers = import_module("transformers")  # its classes are loaded when they are asked for
    assert all(
        (transformers.BertModel, transformers.BertForMaskedLM, transformers.GPT2LMHeadModel, transformers.DynamicCache)
    )
    assert all((transformers.T5ForConditionalGeneration, transformers.BartForConditionalGeneration))


@pytest.fixture
def write_job(tiny, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the job file of a case."""

    def write(task: str, variant: str, **training: Any) -> Path:
        job = tiny(task, variant, **training)
        job = job.model_copy(update={"resources": job.resources.model_copy(update={"cpus": 1})})
        (tmp_path / "job.yaml").write_text(dump_job(job))
        return tmp_path / "job.yaml"

    return write


def checkpoints(output: Path) -> list[Path]:
    return [*(output / "checkpoints").rglob("manifest.json")]


def result(output: Path) -> tuple[bytes, bytes]:
    """Return the model, and the losses of each step with all metrics."""
    return (output / "weights.safetensors").read_bytes(), (output / "metrics.jsonl").read_bytes()


def _train(job: Path, output: Path, killed_after: int, made: Any) -> None:
    """Train as `python -m stoker.training` does; after a number of steps, the process kills itself."""

    def count(*_: Any) -> None:
        made.value += 1
        if made.value == killed_after:
            deadline = time.monotonic() + 60
            while not checkpoints(output) and time.monotonic() < deadline:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGKILL)

    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # torch's threads do not survive a fork: it needs none
    register_optimizer_step_post_hook(count)
    sys.argv = ["stoker.training", str(job), "--output", str(output)]
    log = os.open(output.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os._exit(main())


def train(job: Path, output: Path, killed_after: int = 0) -> tuple[int, int]:
    """Train in a process of its own, with the modules that are loaded here; return its exit code and its steps."""
    context = multiprocessing.get_context("fork")
    made = context.Value("i", 0)
    process = context.Process(target=_train, args=(job, output, killed_after, made))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode, made.value


@pytest.mark.usefixtures("one_thread")
@some_cases
def test_a_killed_training_resumes_to_the_same_bytes(task, variant, write_job, tmp_path):
    job = write_job(task, variant, **SHORT)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    assert train(job, calm) == (0, STEPS), calm.with_suffix(".log").read_text()
    assert train(job, killed, KILLED_AFTER) == (-signal.SIGKILL, KILLED_AFTER)
    assert not (killed / "weights.safetensors").exists()
    code, steps = train(job, killed)
    assert code == 0, killed.with_suffix(".log").read_text()
    assert steps in (STEPS - 4, STEPS - 2), "it began again, or at the end of an epoch"
    assert result(killed) == result(calm)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@every_case
def test_the_command_killed_from_outside_resumes_to_the_same_bytes(task, variant, write_job, tmp_path):
    job = write_job(task, variant, **LONG)
    calm, killed = tmp_path / "calm", tmp_path / "killed"

    def begin(output: Path) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "stoker.training", str(job), "--output", str(output)]
        with output.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert begin(calm).wait(200) == 0, calm.with_suffix(".log").read_text()
    process = begin(killed)
    while not checkpoints(killed):
        assert process.poll() is None, killed.with_suffix(".log").read_text()
        time.sleep(0.01)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL, "it ended before it was killed"
    assert begin(killed).wait(200) == 0, killed.with_suffix(".log").read_text()
    assert result(killed) == result(calm)
