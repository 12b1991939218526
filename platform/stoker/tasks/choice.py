"""Each task's module, by the name in the job."""

from stoker.job.task import TaskName
from stoker.tasks.image_classification import ImageClassification
from stoker.tasks.tabular_classification import TabularClassification
from stoker.tasks.tabular_regression import TabularRegression
from stoker.tasks.task import Task

TASK_CLASSES: dict[TaskName, type[Task]] = {
    "tabular-classification": TabularClassification,
    "tabular-regression": TabularRegression,
    "image-classification": ImageClassification,
}
