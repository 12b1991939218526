"""CONTRIBUTING.md: the files it names exist, and one toy of each kind, added as it says, trains and predicts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
from stoker.tasks.classification import Classification

class ToyClassification(Classification):
    """A class for each toy."""
''',
}
ROW = '("number", "hour"), "category", ("toy",), CLASSIFICATION, "accuracy", "a class for each toy"'
NEW_LINES = (
    # the file, a text in it, and what is added before that text
    ("job/dataset.py", '"csv", "jsonl"', '"toy", '),
    ("job/dataset.py", '    "csv": (', '    "toy": ("hour", "category"),\n'),
    ("job/dataset.py", 'Literal["number", "category"', 'Literal["hour"] | '),
    ("job/task.py", 'Literal["number", "category"', 'Literal["hour"] | '),
    (
        "datasets/fields/schema.py",
        "from stoker.datasets.fields.image",
        "from stoker.datasets.fields.hour import HourField\n",
    ),
    ("datasets/fields/schema.py", '    "category": CategoryField', '    "hour": HourField,\n'),
    ("datasets/sources/schemes.py", "from stoker.jobfile", "from stoker.datasets.sources.toy import ToySource\n"),
    ("datasets/sources/schemes.py", '    "https": HttpsSource,', '    "toy": ToySource,\n'),
    ("datasets/formats/reading.py", "idx, image_folder", "toy, "),
    ("datasets/formats/reading.py", '    "csv": table_reader', '    "toy": toy.read,\n'),
    ("datasets/inspection.py", '    "text": _no_problems,', '    "toy": _no_problems,\n'),
    ("job/architecture/choice.py", "from stoker.job.section", "from stoker.job.architecture.toy import Toy\n"),
    ("job/architecture/choice.py", "Perceptron | Mlp", "Toy | "),
    ("job/architecture/choice.py", '    "perceptron": Perceptron', '    "toy": Toy,\n'),
    ("architectures/network.py", "cnn, custom", "toy, "),
    ("architectures/network.py", '    "perceptron": Family', '    "toy": Family(toy.build),\n'),
    ("job/task.py", '"tabular-classification",', '"toy-classification", '),
    ("job/task.py", '    "tabular-regression": TaskRow', f'    "toy-classification": TaskRow({ROW}),\n'),
    ("tasks/choice.py", "\n\nTASK_CLASSES", "\nfrom stoker.tasks.toy_classification import ToyClassification"),
    ("tasks/choice.py", '    "tabular-regression":', '    "toy-classification": ToyClassification,\n'),
)
SCRIPT = """
import sys
from pathlib import Path
from stoker.inference.model import Model, save_model
from stoker.inference.prediction import predict
from stoker.jobfile.loading import load_job
from stoker.datasets.inspection import inspect
from stoker.training.assembly import assemble, prepare
from stoker.training.loop import EpochEnd, start, train
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
def test_a_task_is_known_by_name_where_contributing_says_and_nowhere_else(task):
    """Data that comes along names its tasks, and `stoker data` proposes the likeliest one."""
    source = ROOT / "platform" / "stoker"
    naming = {str(file.relative_to(source)) for file in source.rglob("*.py") if f'"{task}"' in file.read_text()}
    assert naming - {"job/dataset.py", "datasets/examination.py"} == {"job/task.py", "tasks/choice.py"}


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """Copy the package, and add one of each as CONTRIBUTING.md says."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "platform" / "stoker", root / "stoker", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in NEW_FILES.items():
        (root / "stoker" / name).write_text(text.lstrip(), encoding="utf-8")
    touched = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name, place, added in NEW_LINES:
        assert f"platform/stoker/{name}" in touched, name
        file = root / "stoker" / name
        text = file.read_text(encoding="utf-8")
        assert place in text, (name, place)
        file.write_text(text.replace(place, added + place, 1), encoding="utf-8")
    return root


def test_a_source_a_format_a_field_a_family_and_a_task_train_and_predict_once_their_lines_are_added(package, tmp_path):
    dataset = "dataset: {source: 'toy://240', format: toy, columns: {types: {x: hour}}}"
    (tmp_path / "toy.yaml").write_text(f"task: toy-classification\n{dataset}\ntraining: {{epochs: 60}}\n")
    environment = {**os.environ, "PYTHONPATH": str(package), "STOKER_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "toy.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    accuracy, answers = done.stdout.split()[-2:]
    assert float(accuracy) >= 0.8
    assert int(answers) == 50
