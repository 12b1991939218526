"""Each task's module, by the name in the job."""

from torch import nn

from stoker.job.task import TaskName
from stoker.job.training import Training
from stoker.tasks.classification.image_classification import ImageClassification
from stoker.tasks.classification.multi_label_classification import MultiLabelClassification
from stoker.tasks.classification.tabular_classification import TabularClassification
from stoker.tasks.classification.text_classification import TextClassification
from stoker.tasks.generation.image_generation import ImageGeneration
from stoker.tasks.generation.table_generation import TableGeneration
from stoker.tasks.objective import Objective
from stoker.tasks.pictures.anomaly_detection import AnomalyDetection
from stoker.tasks.pictures.detection import ObjectDetection
from stoker.tasks.pictures.image_captioning import ImageCaptioning
from stoker.tasks.pictures.reconstruction import Reconstruction
from stoker.tasks.pictures.segmentation import Segmentation
from stoker.tasks.reading.fill_mask import FillMask
from stoker.tasks.reading.question_answering import QuestionAnswering
from stoker.tasks.reading.token_classification import TokenClassification
from stoker.tasks.tabular_regression import TabularRegression
from stoker.tasks.task import Task
from stoker.tasks.writing.instruction_tuning import InstructionTuning
from stoker.tasks.writing.summarization import Summarization
from stoker.tasks.writing.text_generation import TextGeneration
from stoker.tasks.writing.translation import Translation

TASK_CLASSES: dict[TaskName, type[Task]] = {
    "tabular-classification": TabularClassification,
    "tabular-regression": TabularRegression,
    "table-generation": TableGeneration,
    "image-classification": ImageClassification,
    "segmentation": Segmentation,
    "object-detection": ObjectDetection,
    "image-generation": ImageGeneration,
    "anomaly-detection": AnomalyDetection,
    "reconstruction": Reconstruction,
    "image-captioning": ImageCaptioning,
    "text-classification": TextClassification,
    "multi-label-classification": MultiLabelClassification,
    "text-generation": TextGeneration,
    "token-classification": TokenClassification,
    "translation": Translation,
    "summarization": Summarization,
    "fill-mask": FillMask,
    "question-answering": QuestionAnswering,
    "instruction-tuning": InstructionTuning,
}


def objective_of(network: nn.Module, task: Task, training: Training) -> Objective:
    """Return what is minimised: by the task, or the user's own class where it is all of it."""
    return network if isinstance(network, Objective) else task.objective(network, training)
