from dataclasses import dataclass

import pytest
import torch
from torch import nn

from stoker.job.signature import ClassOutput, ValueOutput
from stoker.tasks.choice import TASK_CLASSES
from stoker.tasks.classification import CrossEntropy
from stoker.tasks.tabular_classification import TabularClassification
from stoker.tasks.tabular_regression import SquaredError, TabularRegression
from stoker.tasks.task import Outcome

CLASSES = ClassOutput(("a", "b"))
VALUE = ValueOutput("price", 100.0, 10.0)


@dataclass
class Rows:
    inputs: dict[str, torch.Tensor]
    target: torch.Tensor
    weight: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.target)


class Given(nn.Module):
    """Returns what it is given."""

    def forward(self, inputs):
        return inputs["numbers"]


class NoNoise:
    def normal(self, *shape):
        raise AssertionError("supervised tasks draw nothing")

    uniform = normal


@pytest.mark.parametrize("weight", [None, [1.0, 0.0, 2.0]])
def test_cross_entropy_is_a_sum_and_what_it_counts(weight):
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    weights = None if weight is None else torch.tensor(weight)
    rows = Rows({"numbers": logits}, torch.tensor([0, 0, 1]), weights)
    each = torch.log(torch.exp(logits).sum(1)) - logits[torch.arange(3), rows.target]
    counted = torch.ones(3) if weights is None else weights
    objective = CrossEntropy(Given())
    for losses in (objective(rows, "network", NoNoise()), objective.evaluate(rows, NoNoise())[0]):
        torch.testing.assert_close(losses["loss"].total, (each * counted).sum())
        assert float(losses["loss"].weight) == float(counted.sum())


def test_squared_error_is_in_units_of_the_variance():
    rows = Rows({"numbers": torch.tensor([[0.0], [1.0]])}, torch.tensor([100.0, 130.0]), None)
    losses, output = SquaredError(Given(), VALUE).evaluate(rows, NoNoise())
    assert float(losses["loss"].total) == pytest.approx(0 + 4)
    assert output.shape == (2, 1)


def test_class_predictions_are_for_people():
    table = TabularClassification().predictions(torch.tensor([[0.0, 2.0], [1.0, 0.0]]), CLASSES)
    assert list(table.columns) == ["prediction", "probability/a", "probability/b"]
    assert table["prediction"].tolist() == ["b", "a"]
    assert table[["probability/a", "probability/b"]].sum(axis=1).tolist() == pytest.approx([1, 1])


def test_value_predictions_are_in_the_labels_unit():
    table = TabularRegression().predictions(torch.tensor([[0.0], [-1.5]]), VALUE)
    assert table["prediction"].tolist() == [100.0, 85.0]


def test_the_worst_class_predictions_come_first():
    outcome = Outcome(
        torch.tensor([[5.0, 0.0], [0.0, 5.0], [1.0, 0.0]]), torch.tensor([0, 0, 1]), torch.tensor([7, 8, 9])
    )
    worst = TabularClassification().worst(outcome, CLASSES, 2)
    assert [row["id"] for row in worst] == [8, 9]
    assert worst[0] == {"id": 8, "target": "a", "prediction": "b", "probability": 0.9933, "loss": 5.0067}


def test_the_worst_values_come_first():
    outcome = Outcome(torch.tensor([[0.0], [1.0]]), torch.tensor([101.0, 130.0]), torch.tensor([3, 4]))
    worst = TabularRegression().worst(outcome, VALUE, 1)
    assert list(worst) == [{"id": 4, "target": 130.0, "prediction": 110.0, "loss": 4.0}]


def test_every_task_draws_its_figure():
    classes = Outcome(torch.eye(2), torch.tensor([0, 1]), torch.arange(2))
    assert set(TabularClassification().figures(classes, CLASSES)) == {"confusion-matrix"}
    values = Outcome(torch.zeros(2, 1), torch.tensor([90.0, 110.0]), torch.arange(2))
    assert set(TabularRegression().figures(values, VALUE)) == {"predicted-against-true"}


def test_every_task_of_the_table_has_its_class():
    from stoker.job.task import TASKS

    assert TASK_CLASSES.keys() == TASKS.keys()
    for name, task in TASK_CLASSES.items():
        output = CLASSES if TASKS[name].target == "class" else VALUE
        assert {"loss", *task().metrics(output)} == set(TASKS[name].metrics)
