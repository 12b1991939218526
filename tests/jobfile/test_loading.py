import os
import subprocess
import sys
from operator import methodcaller
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import JobError, Problem
from stoker.job.builtin import BUILTIN
from stoker.job.dataset import Dataset
from stoker.job.environment import NAME
from stoker.job.job import Job
from stoker.job.task import TaskName
from stoker.jobfile.loading import dump_job, load_job, locate, parse_job

SMALLEST = "task: image-classification\ndataset: digits\n"


def mistakes(text: str, *sets: str) -> list[str]:
    with pytest.raises(JobError) as raised:
        parse_job(text, "job.yaml", sets)
    return [f"{p.line}:{p.column} {p.path} {p.message}".replace("  ", " ") for p in raised.value.problems]


def file_mistakes(path: Path) -> list[str]:
    with pytest.raises(JobError) as raised:
        load_job(path)
    return [f"{Path(p.file).name}:{p.line}:{p.column} {p.path} {p.message}" for p in raised.value.problems]


def test_a_job_of_two_lines_is_named_after_its_file(tmp_path: Path):
    path = tmp_path / "My Digits.v2.yaml"
    path.write_text(SMALLEST)
    loaded = load_job(path)
    assert loaded.job.name == "my-digits-v2"
    assert loaded.job.dataset.source == "digits"
    assert loaded.job.training.optimizer.type == "adamw"
    assert loaded.origin == str(path)


def test_all_mistakes_are_reported_at_once_sorted_by_line():
    text = "trainig: {}\ntask: tabular-clasification\ndataset: digits\n"
    text += "architecture: {family: cnn, kernel: 4}\nname: 3\nname: b\n"
    assert [mistake.partition(" ")[2] for mistake in mistakes(text)] == [
        "trainig unknown key; did you mean 'training'?",
        "task 'tabular-clasification' is not one of tabular-classification, tabular-regression, table-generation, "
        "image-classification, "
        "segmentation, object-detection, image-generation, anomaly-detection, "
        "reconstruction, image-captioning, text-classification, "
        "multi-label-classification, text-generation, token-classification, translation, summarization, fill-mask, "
        "question-answering, instruction-tuning; did you mean 'tabular-classification'?",
        "architecture.kernel 4 is even; a kernel size must be odd: use 3 or 5",
        "name duplicate key 'name': lines 5 and 6",
    ]


def test_an_unreadable_file_is_reported_with_the_reason(tmp_path: Path):
    missing, fifo = tmp_path / "none.yaml", tmp_path / "fifo"
    os.mkfifo(fifo)
    assert file_mistakes(missing) == [f"none.yaml:0:0  '{missing}' does not exist"]
    assert file_mistakes(tmp_path) == [f"{tmp_path.name}:0:0  '{tmp_path}' is a folder; give the job file in it"]
    assert file_mistakes(fifo) == [f"fifo:0:0  '{fifo}' is not a regular file"]


def test_a_file_name_without_letters_requires_a_name(tmp_path: Path):
    path = tmp_path / "___.yaml"
    path.write_text(SMALLEST)
    assert file_mistakes(path) == [
        "___.yaml:1:1 name required: the file name contains no letter or digit to derive it from "
        "(example: name: my-job)"
    ]


def test_environment_variables_are_expanded_where_they_are_allowed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STOKER_TEST_PLACE", "digits")
    text = (
        "task: image-classification\ndataset: ${STOKER_TEST_PLACE}\ntracking: {experiment: 'on-${STOKER_TEST_PLACE}'}\n"
    )
    job = parse_job(text, "job.yaml").job
    assert job.dataset.source == "digits"
    assert job.tracking != "none"
    assert job.tracking.experiment == "on-digits"


def test_the_data_is_checked_even_if_the_job_is_invalid():
    calls: list[tuple[Job | None, Dataset | None, TaskName | None]] = []

    def inspect(job: Job | None, dataset: Dataset | None, task: TaskName | None) -> list[Problem]:
        calls.append((job, dataset, task))
        return [Problem("dataset.source", "is not there")]

    with pytest.raises(JobError) as raised:
        parse_job(f"{SMALLEST}epochs: 3\n", "job.yaml", (), inspect)
    assert [(p.line, p.column, p.message) for p in raised.value.problems] == [
        (2, 10, "is not there"),
        (3, 1, "unknown key; did you mean 'training.epochs'?"),
    ]
    [(job, dataset, task)] = calls
    assert job is None
    assert dataset is not None
    assert (dataset.source, task) == ("digits", "image-classification")


def test_a_key_that_is_not_in_the_file_gets_the_nearest_position():
    marks = parse_job(f"{SMALLEST}training:\n  checkpoint: {{}}\n", "job.yaml").marks
    located = locate(
        [Problem("training.checkpoint.best", ""), Problem("training.seed", ""), Problem("tracking", "")], marks
    )
    assert [(p.line, p.column) for p in located] == [(4, 15), (3, 1), (1, 1)]


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda t: "${" not in t
)
without_nul = methodcaller("replace", "\0", "")
positive = st.floats(min_value=1e-12, max_value=1000, allow_nan=False)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
distances = st.one_of(st.integers(1, 10**6).map(f"{{}}{unit}".format) for unit in ("%", " steps", " epochs", " min"))


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    optimizer = draw(
        st.sampled_from(["sgd", "muon"]).flatmap(
            lambda kind: st.fixed_dictionaries(
                {"type": st.just(kind), "lr": positive, "weight_decay": st.floats(0, 10)}
            )
        )
    )
    source = draw(st.sampled_from(["iris", "wine"]) | names.filter(lambda name: name not in BUILTIN))
    return Job.model_validate(
        {
            "name": draw(st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True)),
            "task": "tabular-classification",
            "architecture": draw(
                st.none()
                | st.fixed_dictionaries(
                    {"family": st.just("mlp"), "hidden": st.lists(st.integers(1, 65536), min_size=1)}
                )
                | st.dictionaries(names, plain_values, max_size=3).map(
                    lambda free: {**free, "family": "custom", "class": "nets.small:Net"}
                )
            ),
            "dataset": {
                "source": source,
                "columns": {
                    "label": draw(st.none() | names),
                    "types": draw(st.dictionaries(names, st.sampled_from(["number", "category"]), max_size=3)),
                },
                "split": draw(
                    st.just("none") | st.fixed_dictionaries({"train": st.floats(0.01, 0.3), "val": st.floats(0, 0.3)})
                ),
            },
            "training": {
                "optimizer": optimizer,
                "schedule": {
                    "type": "step",
                    "every": draw(st.floats(0, 1e9).map(lambda n: f"{n!r} steps") | st.integers(0, 10**12)),
                },
                "checkpoint": {"every": draw(distances | st.integers(1, 9)), "keep": draw(st.integers(1, 9))},
                "start_from": draw(st.none() | names.map("run:{}".format)),
                "gradient_clip": draw(st.none() | positive),
                "seed": draw(st.integers(0, 2**63 - 1)),
            },
            "resources": {"workers": draw(st.integers(1, 9)), "timeout": draw(st.none() | st.just("12 h"))},
            "environment": {
                "code": draw(st.none() | names.filter(lambda name: "\0" not in name)),
                "env": draw(st.dictionaries(st.from_regex(NAME, fullmatch=True), names.map(without_nul), max_size=3)),
            },
            "tracking": draw(st.just("none") | st.fixed_dictionaries({"experiment": names})),
        }
    )


@given(jobs())
@settings(max_examples=30)
def test_a_dumped_job_loads_as_the_same_job(job: Job):
    assert parse_job(dump_job(job), "x.yaml").job == job


fragments = st.lists(
    st.sampled_from(
        [
            "task",
            "dataset",
            "training",
            "a",
            ": ",
            ":",
            "\n",
            "  ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            ",",
            "'",
            '"',
            "&a",
            "*a",
            "!!int ",
            "#",
            "|",
            "1e3",
            "~",
            "---\n",
            "<<",
            "%",
            "\t",
        ]
    ),
    max_size=25,
).map("".join)


@given(st.text(max_size=60) | fragments | fragments.map(lambda text: SMALLEST + text))
@settings(max_examples=150)
def test_no_text_raises_anything_but_a_job_error(text: str):
    problems: tuple[Problem, ...] = ()
    try:
        parse_job(text, "job.yaml")
    except JobError as error:
        problems = error.problems or (Problem("", ""),)
    assert all(problem.message and problem.line >= 1 for problem in problems)


@pytest.mark.parametrize(
    ("written", "read"), [("1234567 steps", "1234567 steps"), ("0.5", "0.5 epochs"), ("2", "2 epochs")]
)
def test_a_training_duration_keeps_its_digits(written: str, read: str):
    schedule = parse_job(
        f"{SMALLEST}training: {{schedule: {{type: step, every: {written}}}}}\n", "job.yaml"
    ).job.training.schedule
    assert schedule.model_dump()["every"] == read


HEAVY = ("torch", "ray", "mlflow", "pandas", "numpy", "pyarrow", "transformers", "peft", "huggingface_hub")


def test_checking_a_job_imports_nothing_heavy(tmp_path: Path):
    path = tmp_path / "job.yaml"
    path.write_text(f"{SMALLEST}epochs: 3\n")
    program = (
        "import sys\nfrom stoker.errors import JobError\nfrom stoker.jobfile.loading import load_job\n"
        "from stoker.datasets.inspection import inspect\n"
        f"try: load_job({str(path)!r}, (), inspect)\nexcept JobError as error: print(error)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == "epochs: unknown key; did you mean 'training.epochs'?\n[]\n"
