"""What can be learnt: the one table of tasks, the families they allow, and their metrics with directions."""

from dataclasses import dataclass
from typing import Literal

TaskName = Literal["tabular-classification", "tabular-regression", "image-classification"]
Direction = Literal["max", "min"]
Kind = Literal["table", "image"]
Target = Literal["class", "value"]

CLASSIFICATION: dict[str, Direction] = {"loss": "min", "accuracy": "max", "f1": "max", "auroc": "max"}
REGRESSION: dict[str, Direction] = {"loss": "min", "rmse": "min", "mae": "min", "r2": "max"}


@dataclass(frozen=True)
class TaskRow:
    """What a task fixes: the kind of a sample, what is predicted, which networks fit (the first is the default)."""

    kind: Kind
    target: Target
    families: tuple[str, ...]
    metrics: dict[str, Direction]
    best: str
    """The metric that picks the best weights unless the job names another."""
    summary: str


TASKS: dict[TaskName, TaskRow] = {
    "tabular-classification": TaskRow(
        "table", "class", ("mlp", "perceptron", "custom"), CLASSIFICATION, "accuracy", "a class for each row of a table"
    ),
    "tabular-regression": TaskRow(
        "table", "value", ("mlp", "perceptron", "custom"), REGRESSION, "rmse", "a number for each row of a table"
    ),
    "image-classification": TaskRow(
        "image", "class", ("cnn", "mlp", "perceptron", "custom"), CLASSIFICATION, "accuracy", "a class for each picture"
    ),
}
