"""What a task decides: loss, metrics, predictions, figures and pictures."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from torch import Tensor, nn

from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.schema import Fields
from stoker.datasets.records import Records
from stoker.errors import JobError, Problem
from stoker.job.training import Training
from stoker.tasks.abilities import can_decode
from stoker.tasks.generation.feature_network import FeatureNetwork
from stoker.tasks.metrics import Gathered, Metrics, Shown
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.pictures.annotation import captioned
from stoker.tasks.sheet import Page, Sheet
from stoker.tasks.writing.settings import Writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Answers:
    """What a model says to some samples: a table, or arrays that are written as image files."""

    table: pd.DataFrame
    """One row a sample."""
    images: np.ndarray | Sequence[np.ndarray] | None = None
    """(height, width[, channels]) uint8, one a row, together where they have one size; None where the table says it
    all."""
    palette: tuple[int, ...] = ()
    """Red, green and blue of each value of the images; empty for grey or coloured ones."""
    drawn: tuple[np.ndarray, ...] = ()
    """Pictures of the samples with the answers drawn into them, (height, width, 3) uint8; empty unless asked for."""


class Review(ABC):
    """What is shown of an evaluation, gathered batch after batch: figures and single samples.

    Args:
        gathered: what merges with other workers'; a review that has something else overrides `state` and `merge`.

    """

    def __init__(self, *gathered: Gathered) -> None:
        self._gathered = gathered

    @abstractmethod
    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch: float32 outputs of the network, samples, and their (B,) numbers in the source."""

    def state(self) -> Any:
        """Return all that was taken in, as plain values and CPU tensors that can be pickled."""
        return [each.state() for each in self._gathered]

    def merge(self, state: Any) -> None:
        """Take in the state of another worker."""
        for mine, theirs in zip(self._gathered, state, strict=True):
            mine.merge(theirs)

    @abstractmethod
    def figures(self) -> dict[str, "Figure"]:
        """Draw how good the predictions are, by file name without ending."""

    def tables(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """Return the rows of tables, by file name without ending."""
        return {}

    @abstractmethod
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Describe the samples shown, worst first: `id`, `target`, `prediction`, `loss`."""

    def shown(self) -> Sequence[Shown]:
        """Return the samples behind `rows`."""
        return ()

    def drawn(self, shown: Shown) -> Sequence[np.ndarray]:
        """Return images to draw beside the sample's own, such as its mask and the predicted one."""
        return ()


class Task(ABC):
    """One way to learn from samples."""

    writes: ClassVar[bool] = False
    """Whether its models write texts, each of which follows a prompt."""
    continues: ClassVar[bool] = False
    """Whether such a text belongs to its prompt, before which it makes no sense."""
    writing: ClassVar[Writing] = Writing()
    """How they write unless told otherwise."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        """How samples became numbers."""
        self.features: FeatureNetwork | None = None
        """What made images are compared by, if `training.evaluate.features` asks for it."""

    @abstractmethod
    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Wrap the network in what is minimised, with the settings of the loss that the task's row names."""

    @abstractmethod
    def metrics(self, samples: int) -> Metrics:
        """Return the metrics of so many samples, without the loss and without those that take long."""

    def expensive_metrics(self, samples: int) -> Metrics | None:
        """Return the metrics of so many samples that take long: those that the table of tasks calls expensive."""
        return None

    @abstractmethod
    def review(self) -> Review | None:
        """Return what gathers the figures of an evaluation; None where there is nothing to show."""

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Sheet | Page | None:
        """Return what the network makes of a few samples, to follow its training; None where there is nothing to see.

        The table of tasks says which tasks show something.

        Args:
            network: in evaluation mode.
            few: always the same samples, no more than a review keeps.
            seed: of noise, which is always the same.

        """
        return None

    def write(self, network: nn.Module, prompt: str, writing: Writing, noise: NoiseLike) -> Iterator[str]:
        """Yield what follows a prompt, piece by piece.

        Args:
            network: in evaluation mode.
            prompt: may be empty.
            writing: how to write.
            noise: of one row.

        Raises:
            JobError: the task writes no texts.

        """
        raise JobError([Problem("", "this model writes no texts; use stoker predict")])

    def resumed(self, prompt: str, written: str, line: str) -> str:
        """Return the prompt for the next turn of a conversation.

        Args:
            prompt: of the last turn; empty before the first one.
            written: what followed it.
            line: what the user says.

        """
        return line

    def prompts(self, records: Records) -> Sequence[str]:
        """Return what the model of a task that writes texts is given for each record.

        Raises:
            JobError: a record is not as it has to be.

        """
        return [text or "" for text in as_text(records.columns[self.fields.columns[0]])]

    def outputs(self, network: nn.Module, inputs: Mapping[str, Tensor], noise: NoiseLike) -> Tensor:
        """Return what `answers` takes: what the network decodes, or its outputs."""
        if can_decode(network):
            return network.decode(inputs, noise)
        outputs: Tensor = network(inputs)
        return outputs

    def outcome(self, network: nn.Module, batch: BatchLike, noise: NoiseLike, output: Tensor, quick: bool) -> Tensor:
        """Return what expensive metrics and the review see of a batch: by default what other metrics see.

        Args:
            network: in evaluation mode.
            batch: samples.
            noise: of the batch.
            output: what the objective's `evaluate` has returned.
            quick: whether training waits for it, so that it has to be fast.

        """
        return output

    @abstractmethod
    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Turn outputs (B, ...) of the network into what people read: `prediction` first.

        Args:
            outputs: of the network.
            records: the B samples as they were read.

        Raises:
            JobError: the task answers no questions, as one that makes new samples.

        """

    def listed(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table of answers as people read it in a file: by default as it is, one row a sample."""
        return table

    def interchange(self, table: pd.DataFrame) -> dict[str, Any] | None:
        """Return the table of answers as the JSON that other programs of the field read; None where there is none."""
        return None

    def annotated(self, picture: np.ndarray, answer: Mapping[str, Any], image: np.ndarray | None) -> np.ndarray:
        """Draw an answer into the picture that it is of: by default, the prediction stands below it.

        Args:
            picture: (height, width, channels) uint8, in the size of its file.
            answer: the row of the table.
            image: that of the answer.

        Returns:
            (height, width, 3) uint8.

        """
        chosen = answer.get("prediction")
        probability = answer.get(f"probability/{chosen}")
        return captioned(picture, f"{chosen}" if probability is None else f"{chosen} {probability:.0%}")
