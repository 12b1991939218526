"""CONTRIBUTING.md: the files it names exist, and one toy of each kind, added as it says, trains and predicts."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from stoker.settings import embedded_uri

ROOT = Path(__file__).parents[1]

NEW_FILES = {
    "datasets/sources/toy.py": """
from stoker.datasets.sources.source import RemoteFile, Source

class ToySource(Source):
    @staticmethod
    def problem(source):
        return "" if source.removeprefix("toy://").isdigit() else f"'{source}' has no number; write toy://100"

    def files(self):
        return [RemoteFile("data.toy", None, "1")]

    def fetch(self, file, target):
        count = int(self.url.removeprefix("toy://"))
        hours = [(index % 24, index * 7 % 60) for index in range(count)]
        lines = [f"{hour}:{minute:02} => {'day' if 6 <= hour < 18 else 'night'}" for hour, minute in hours]
        target.write_text("\\n".join(lines))
""",
    "datasets/fields/hour.py": """
import math
from dataclasses import dataclass
from typing import ClassVar
import torch
from stoker.datasets.columns import Dense
from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.field import InputField
from stoker.job.signature import NumbersInput

@dataclass(frozen=True)
class HourField(InputField):
    kind: ClassVar[str] = "hour"
    shared: ClassVar[str] = "numbers"

    @classmethod
    def fit(cls, name, raw, settings):
        return cls(name)

    def encode(self, raw):
        angles = []
        for text in as_text(raw):
            hour, _, minute = text.partition(":")
            angles.append((int(hour) + int(minute) / 60) / 12 * math.pi)
        turned = torch.tensor(angles)
        return Dense(torch.stack([turned.sin(), turned.cos()], 1))

    @classmethod
    def shape(cls, fields):
        return NumbersInput(2 * len(fields))
""",
    "datasets/formats/toy.py": """
import pandas as pd
from stoker.datasets.records import table

def read(path, dataset):
    rows = [line.split("=>") for line in (path / "data.toy").read_text().splitlines()]
    frame = pd.DataFrame({"x": [left.strip() for left, _ in rows], "y": [right.strip() for _, right in rows]})
    return table(frame, dataset.columns.label or "y")
""",
    "job/architecture/toy.py": '''
"""Settings of `toy`."""
from typing import Literal
from stoker.job.section import Section

class Toy(Section):
    """One number, doubled."""
    family: Literal["toy"]
    """The network family."""
    factor: float = 2.0
    """What the number is multiplied with."""
''',
    "architectures/toy.py": """
from torch import nn
from stoker.architectures.heads import outputs

class Toy(nn.Module):
    def __init__(self, settings, signature):
        super().__init__()
        self.factor = settings.factor
        self.output = nn.Linear(signature.numbers, outputs(signature))

    def forward(self, inputs):
        return self.output(self.factor * inputs["numbers"])

def build(settings, signature):
    return Toy(settings, signature)
""",
    "tasks/toy_classification.py": '''
from stoker.tasks.classification.classification import Classification

class ToyClassification(Classification):
    """A class for each toy."""
''',
    "execution/engines/toy_engine.py": '''
"""Learns the most frequent class; the first attempt loses its machine after the first epoch."""
from stoker.datasets.loading import load_dataset
from stoker.errors import ClusterError
from stoker.execution.causes import classify_failure
from stoker.execution.heartbeat import Stage
from stoker.execution.reporter import Reporter
from stoker.execution.resolved_job import write_resolved
from stoker.execution.run_store import run_storage
from stoker.execution.worker_result import WorkerResult
from stoker.job.task import TASKS
from stoker.training.events import EpochEnd

class ToyEngine:
    costs = {"seconds": 0.0, "parameters": 1.0}

    def __init__(self, assignment, job, heartbeat, cache):
        self.assignment, self.job, self.heartbeat = assignment, job, heartbeat
        self.folder, self.header = assignment.folder, assignment.folder.header()
        self.storage = run_storage(self.folder, self.header, self.header.id)

    def epochs(self, address):
        reporter = Reporter(self.folder)
        try:
            return (yield from self.train(reporter))
        except Exception as error:
            return classify_failure(error, self.folder.code, self.heartbeat)
        finally:
            reporter.close()

    def train(self, reporter):
        data = load_dataset(self.job.dataset, TASKS[self.job.task])
        if not self.folder.resolved.exists():
            job = self.job.model_copy(update={"dataset": data.spec})
            write_resolved(self.folder.resolved, job, data.fingerprint)
        likeliest = max(data.counts["train"], key=data.counts["train"].get)
        metrics = {f"accuracy/{part}": counts[likeliest] / sum(counts.values()) for part, counts in data.counts.items()}
        shown = {key: value for key, value in metrics.items() if not key.endswith("/test")}
        done, length = len(self.storage.keys("epochs")), self.job.training.epochs
        reporter.start(length, length, done)
        self.heartbeat.enter(Stage.TRAINING)
        for epoch in range(done + 1, length + 1):
            self.heartbeat.advance(epoch, epoch)
            end = EpochEnd(self.header.id, epoch, epoch, shown, improved=epoch == 1, last=epoch == length)
            reporter.epoch(end)
            reporter.sync()
            self.storage.put(f"epochs/{epoch}", [likeliest.encode()])
            self.heartbeat.checkpoint = epoch, epoch
            yield end
            if self.heartbeat.request:
                return self.result("stopped")
            if self.assignment.attempt == 1:
                raise ClusterError("the machine is gone")
        reporter.final(length, 1, metrics)
        return self.result("succeeded", metrics=metrics, best_step=1, facts={"data": data.fingerprint, "end": "length"})

    def result(self, outcome, **more):
        beat = self.heartbeat
        return WorkerResult(outcome, step=beat.step, began=beat.began, checkpoint=beat.checkpoint, **more)
''',
    "clusters/toy/__init__.py": "",
    "clusters/toy/cluster.py": '''
"""Runs in the process of the command, which have ended when it returns."""
from dataclasses import replace
from stoker.clusters.home_folder import make_home, run_folder
from stoker.clusters.new_run import Origin, new_header
from stoker.errors import NotFound
from stoker.execution.data_cache import DataCache
from stoker.execution.engines.engine import Assignment, run_to_end
from stoker.execution.engines.table import engine_of
from stoker.execution.heartbeat import Heartbeat
from stoker.jobfile.loading import dump_job
from stoker.tracking.run import RunStatus, State, now

class ToyCluster:
    poll_s = 0.1

    def __init__(self, settings, cluster):
        self.settings, self.cluster = settings, cluster

    def submit(self, job, origin=None):
        make_home(self.settings.home)
        header = replace(new_header(job, self.settings, origin or Origin()), cluster=self.cluster.name)
        folder = run_folder(self.settings.home, header.id)
        folder.create(header, dump_job(job))
        self.restart(folder)
        return folder

    def restart(self, folder, more_trials=0):
        status = RunStatus(started=now())
        while status.attempt < int(self.cluster.toy_attempts) and status.state is not State.SUCCEEDED:
            attempt = status.attempt + 1
            result = run_to_end(engine_of(Assignment(folder, 0, 1, attempt), Heartbeat(), DataCache()), "")
            outcome = {"cause": result.cause, "message": result.message, "metrics": result.metrics, "ended": now()}
            state = State.SUCCEEDED if result.outcome == "succeeded" else State.FAILED
            status = replace(status, state=state, attempt=attempt, **outcome)
            folder.write_status(status)

    def refresh(self, folder):
        return folder.record()

    def request_pause(self, folder):
        raise NotFound("it has ended")

    def request_cancel(self, folder):
        return False

    cancel_trial = stop_driver = request_pause

    def close(self, folder):
        return ""

    def events(self, folder):
        return []

    def fetch_log(self, folder):
        pass

    fetch_model = remove = fetch_log
''',
}
ROW = '("number", "hour"), "category", ("toy",), CLASSIFICATION, "accuracy", "a class for each toy"'
TOY_SETTINGS = '''@dataclass(frozen=True)
class ToyClusterSettings(ClusterSection):
    """The toy cluster."""

    title: ClassVar[str] = "a toy"
    toy_attempts: str
    """Number of attempts at most."""

    @property
    def where(self) -> str:
        """Return where it is."""
        return "in the command"


'''
OPEN_TOY = """def _toy(settings: Settings, cluster: ToyClusterSettings) -> "Cluster":
    from stoker.clusters.toy.cluster import ToyCluster

    return ToyCluster(settings, cluster)


"""
NEW_LINES = (
    # the file, a text in it, and what is added before that text
    ("job/formats.py", '"csv",\n    "jsonl"', '"toy", '),
    ("job/formats.py", '    "csv": TABLE_KINDS', '    "toy": ("hour", "category"),\n'),
    ("job/dataset.py", 'Literal["number", "time", "category"', 'Literal["hour"] | '),
    ("job/task.py", 'Literal[\n    "number"', 'Literal["hour"] | '),
    (
        "datasets/fields/kinds.py",
        "from stoker.datasets.fields.image",
        "from stoker.datasets.fields.hour import HourField\n",
    ),
    ("datasets/fields/kinds.py", '    "category": CategoryField', '    "hour": HourField,\n'),
    ("datasets/sources/schemes.py", "from stoker.jobfile", "from stoker.datasets.sources.toy import ToySource\n"),
    ("datasets/sources/schemes.py", '    "https": HttpsSource,', '    "toy": ToySource,\n'),
    ("datasets/formats/reading.py", "    idx,\n", "    toy,\n"),
    ("datasets/formats/reading.py", '    "csv": table_reader', '    "toy": toy.read,\n'),
    ("datasets/inspection.py", '    "text": _no_problems,', '    "toy": _no_problems,\n'),
    ("job/architecture/choice.py", "from stoker.job.section", "from stoker.job.architecture.toy import Toy\n"),
    ("job/architecture/choice.py", "Perceptron\n    | Mlp", "Toy | "),
    ("job/architecture/choice.py", '    "perceptron": Perceptron', '    "toy": Toy,\n'),
    ("architectures/network.py", "custom, mlp", "toy, "),
    ("architectures/network.py", '    "perceptron": Family', '    "toy": Family(toy.build),\n'),
    ("job/task.py", '"tabular-classification",', '"toy-classification", '),
    ("job/task.py", '    "tabular-regression": TaskRow', f'    "toy-classification": TaskRow({ROW}),\n'),
    ("tasks/choice.py", "\n\nTASK_CLASSES", "\nfrom stoker.tasks.toy_classification import ToyClassification"),
    ("tasks/choice.py", '    "tabular-regression":', '    "toy-classification": ToyClassification,\n'),
    ("job/task.py", '"torch"]\n', '"toy", '),
    ("execution/engines/table.py", '"torch": "stoker', '"toy": "stoker.execution.engines.toy_engine:ToyEngine", '),
    ("job/task.py", '"toy-classification",', '"toy-guess", '),
    ("job/task.py", '    "tabular-regression": TaskRow', f'    "toy-guess": TaskRow({ROW}, engine="toy"),\n'),
    ("tasks/choice.py", '    "tabular-regression":', '    "toy-guess": ToyClassification,\n'),
    ("settings.py", "CLUSTER_SECTIONS: ", TOY_SETTINGS),
    ("settings.py", 'RayClusterSettings)\n"""', "ToyClusterSettings, "),
    ("clusters/table.py", "RayClusterSettings, Settings\n", "ToyClusterSettings, "),
    ("clusters/table.py", "# a row's function", OPEN_TOY),
    ("clusters/table.py", "    ClusterSettings: _kubernetes,", "    ToyClusterSettings: _toy,\n"),
)
SCRIPT = """
import sys
from pathlib import Path
from stoker.inference.model import Model, save_model
from stoker.inference.prediction import predict
from stoker.jobfile.loading import load_job
from stoker.datasets.inspection import inspect
from stoker.training.assembly import assemble
from stoker.training.preparation import prepare
from stoker.training.loop import start, train
from stoker.training.events import EpochEnd
assembly = assemble(prepare(load_job(sys.argv[1], inspect=inspect).job))
last = [event for event in train("toy", start(assembly)) if isinstance(event, EpochEnd)][-1]
folder = Path(sys.argv[1]).parent / "model"
save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
(answers,) = predict(Model.load(folder), "toy://50", "toy")
print(last.metrics["accuracy/val"], len(answers.table))
"""


def test_every_file_that_contributing_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:platform|jobs|bench|tests)/[\w/.-]*)`", text))
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("task", ["multi-label-classification", "text-classification", "tabular-regression"])
def test_task_names_appear_only_in_the_modules_listed_in_contributing(task):
    """Two modules are exempt: shipped datasets name their task, and `stoker data` proposes one."""
    source = ROOT / "platform" / "stoker"
    naming = {str(file.relative_to(source)) for file in source.rglob("*.py") if f'"{task}"' in file.read_text()}
    assert naming - {"job/builtin.py", "datasets/report/examination.py"} == {"job/task.py", "tasks/choice.py"}


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """Copy the package, and add one of each as CONTRIBUTING.md says."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "platform" / "stoker", root / "stoker", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in NEW_FILES.items():
        file = root / "stoker" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.lstrip(), encoding="utf-8")
    touched = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name, place, added in NEW_LINES:
        assert f"platform/stoker/{name}" in touched, name
        file = root / "stoker" / name
        text = file.read_text(encoding="utf-8")
        assert place in text, (name, place)
        file.write_text(text.replace(place, added + place, 1), encoding="utf-8")
    return root


class Toys:
    """The copied package, with a home of its own and a job of the toy task.

    Args:
        package: the folder with the copy.
        folder: for everything else.

    """

    def __init__(self, package: Path, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        foreign = ("MLFLOW_", "RAY_", "STOKER_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        places = {"STOKER_HOME": self.home, "STOKER_CACHE": folder / "cache", "XDG_CONFIG_HOME": folder / "config"}
        self.environment = {**kept, "PYTHONPATH": str(package), **{name: str(path) for name, path in places.items()}}
        config = folder / "config" / "stoker" / "config.yaml"
        config.parent.mkdir(parents=True)
        config.write_text('clusters: {far: {toy_attempts: "2"}}\n')

    def job(self, task: str, epochs: int) -> str:
        path = self.folder / f"{task}.yaml"
        dataset = "dataset: {source: 'toy://240', format: toy, columns: {types: {x: hour}}}"
        path.write_text(f"task: {task}\n{dataset}\ntraining: {{epochs: {epochs}}}\n")
        return str(path)

    def python(self, *arguments: str) -> str:
        command = [sys.executable, "-P", *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=240
        )
        logs = "".join(path.read_text() for path in self.home.glob("runs/*/log.txt"))
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}\n{logs[-3000:]}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.python("-m", "stoker.cli.main", *arguments, "-o", "json"))


@pytest.fixture
def toys(package, tmp_path, mlflow_tables) -> Toys:
    toys = Toys(package, tmp_path)
    toys.home.mkdir()
    mlflow_tables(toys.home / "mlflow.db")
    return toys


def test_a_source_a_format_a_field_a_family_and_a_task_train_and_predict_once_their_lines_are_added(toys):
    accuracy, answers = toys.python("-c", SCRIPT, toys.job("toy-classification", 60)).split()[-2:]
    assert float(accuracy) >= 0.8
    assert int(answers) == 50


def test_an_engine_trains_a_run_and_is_retried_and_recorded_once_its_lines_are_added(toys):
    run = toys.json("submit", toys.job("toy-guess", 3))
    assert (run["state"], run["attempt"], run["progress"]["epoch"]) == ("SUCCEEDED", 2, 3)
    store = MlflowClient(embedded_uri(toys.home))
    assert run["metrics"].items() <= store.get_run(run["mlflow_run"]).data.metrics.items()
    assert 0.4 < run["metrics"]["accuracy/test"] < 0.6
    assert [point.step for point in store.get_metric_history(run["mlflow_run"], "accuracy/val")] == [1, 2, 3]


def test_a_cluster_runs_a_job_once_its_lines_are_added(toys):
    run = toys.json("submit", toys.job("toy-guess", 3), "--cluster", "far", "--set", "tracking=none")
    assert (run["state"], run["attempt"], run["cluster"]) == ("SUCCEEDED", 2, "far")
    assert toys.json("cluster", "ls") == [{"name": "far", "toy_attempts": "2"}]
