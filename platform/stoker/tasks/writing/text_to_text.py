"""What translation and summarization share: a text is written from another one."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.records import Records
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.job.training import Training
from stoker.tasks.abilities import can_align, can_decode
from stoker.tasks.metrics import Metrics, Together
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.sheet import Alignment, Page, Sheet, token_names
from stoker.tasks.task import Answers, Task
from stoker.tasks.writing.beam_search import Search, searched
from stoker.tasks.writing.teacher_forcing import TeacherForcing, forced
from stoker.tasks.writing.text_metrics import TextMetrics
from stoker.tasks.writing.text_review import TextReview

if TYPE_CHECKING:
    from stoker.tasks.task import Review

SHOWN_TEXTS = 4


class TextToText(Task):
    """Another text for each text."""

    @abstractmethod
    def scores(self) -> TextMetrics:
        """Return what compares written texts with those of the data."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the cross-entropy of each token."""
        return TeacherForcing(network, self.target.output.length, training.label_smoothing)

    def metrics(self, samples: int) -> Metrics:
        """Return none: all that is cheap to measure is the loss."""
        return Together()

    def expensive_metrics(self, samples: int) -> Metrics:
        """Return what takes written texts."""
        return self.scores()

    def review(self) -> "Review":
        """Gather losses and scores by the length of the source, and the texts that were least expected."""
        return TextReview(self.fields.text, self.target, self.scores)

    def outputs(self, network: nn.Module, inputs: Mapping[str, Tensor], noise: NoiseLike) -> Tensor:
        """Return (B, n) tokens, searched for as the network's settings say."""
        return self._written(network, inputs, noise, Search.of(network))

    def outcome(self, network: nn.Module, batch: BatchLike, noise: NoiseLike, output: Tensor, quick: bool) -> Tensor:
        """Return (B, 1 + n) the mean loss of a token, and the written tokens; the likeliest token each time if quick.

        Args:
            network: in evaluation mode.
            batch: samples.
            noise: of the batch.
            output: (B, n) losses of tokens.
            quick: whether it has to be fast.

        """
        search = Search.of(network)
        written = self._written(network, batch.inputs, noise, search.greedy if quick else search)
        learnt = (batch.target[:, : output.shape[1]] != PADDING).sum(dim=1)
        mean = output.sum(dim=1) / learnt.clamp(min=1)
        return torch.cat([mean.unsqueeze(1).float(), written.float()], dim=1)

    def _written(self, network: nn.Module, inputs: Mapping[str, Tensor], noise: NoiseLike, search: Search) -> Tensor:
        if can_decode(network):
            return network.decode(inputs, noise)
        divided = any(hasattr(parameter, "to_local") for parameter in network.parameters())  # among workers, by FSDP
        return searched(network, inputs, self.target.output.longest, search, in_step=divided)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Sheet | Page | None:
        """Return sources with the texts of the data and the written ones; how one is aligned with its source, too."""
        source, target = self.fields.text, self.target
        inputs = {name: value[:SHOWN_TEXTS] for name, value in few.inputs.items()}
        written = searched(network, inputs, target.output.longest, Search.of(network).greedy).tolist()
        rows = zip(inputs[source.name].tolist(), few.target[:SHOWN_TEXTS].tolist(), written, strict=True)
        texts = [
            f"source:    {source.tokenizer.decode(read)}\n"
            f"reference: {target.text(known)}\n"
            f"written:   {target.text(own)}"
            for read, known, own in rows
        ]
        return Page("written", tuple(texts), self._alignments(network, inputs, written[0]))

    def _alignments(
        self, network: nn.Module, inputs: Mapping[str, Tensor], written: list[int]
    ) -> tuple[Alignment, ...]:
        """Return what the first text is aligned with, where the network knows it."""
        if not can_align(network):
            return ()
        tokenizer, name = self.target.tokenizer, self.fields.text.name
        tokens = torch.tensor([[number for number in written if number != PADDING]], device=inputs[name].device)
        first = {key: value[:1] for key, value in inputs.items()}
        weights = network.align(forced(first, tokens))[0].float().cpu().numpy()
        read = [number for number in first[name][0].tolist() if number != PADDING]
        names = [token_names(tokenizer, row) for row in (tokens[0].tolist(), read)]
        return (Alignment(names[0], names[1], np.ascontiguousarray(weights[:, : len(read)])),)

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the written texts."""
        texts = [self.target.text(row) for row in outputs.long().tolist()]
        return Answers(pd.DataFrame({"prediction": pd.Series(texts, dtype=object)}))

    @property
    def target(self) -> TargetTextField:
        """The texts to write."""
        assert isinstance(self.fields.target, TargetTextField)
        return self.fields.target
