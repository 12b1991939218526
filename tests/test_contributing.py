"""CONTRIBUTING.md: the files it names exist, and a format, a family and a task added as it says train and predict."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

NEW_FILES = {
    "datasets/formats/toy.py": """
import pandas as pd
from stoker.datasets.records import table

def read(path, dataset):
    rows = [line.split("=>") for line in path.read_text().splitlines()]
    frame = pd.DataFrame({"x": [float(left) for left, _ in rows], "y": [right.strip() for _, right in rows]})
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
ROW = '("number",), "category", ("toy",), CLASSIFICATION, "accuracy", "a class for each toy"'
NEW_LINES = (
    # the file, a text in it, and what is added before that text
    ("job/dataset.py", '"csv", "jsonl"', '"toy", '),
    ("job/dataset.py", '    "csv": (', '    "toy": ("number", "category"),\n'),
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
(answers,) = predict(Model.load(folder), str(folder.parent / "data.txt"), "toy")
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
    """Copy the package, and add a format, a family and a task as CONTRIBUTING.md says."""
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


def test_a_format_a_family_and_a_task_train_and_predict_once_their_lines_are_added(package, tmp_path):
    lines = [f"{number} => {'big' if number > 50 else 'small'}" for number in range(100)]
    (tmp_path / "data.txt").write_text("\n".join(lines))
    dataset = f"dataset: {{source: {tmp_path / 'data.txt'}, format: toy}}"
    (tmp_path / "toy.yaml").write_text(f"task: toy-classification\n{dataset}\ntraining: {{epochs: 200}}\n")
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "toy.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    accuracy, answers = done.stdout.split()[-2:]
    assert float(accuracy) >= 0.8
    assert int(answers) == 100
