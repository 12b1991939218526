"""A model that answers in a conversation."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor, nn

from stoker.datasets.dialogues.messages import Message, as_cell, asked, read_dialogue
from stoker.datasets.fields.texts.dialogue import DialogueField
from stoker.datasets.records import Records
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.errors import JobError, Problem
from stoker.job.training import Training
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.sheet import Page
from stoker.tasks.task import Answers, Review, Task
from stoker.tasks.writing.answer_metrics import AnswerReview, ExactAnswers
from stoker.tasks.writing.greedy_answers import last_answers, likeliest
from stoker.tasks.writing.next_token import NextToken
from stoker.tasks.writing.perplexity import Perplexity
from stoker.tasks.writing.sampling import continued
from stoker.tasks.writing.settings import Writing
from stoker.tasks.writing.streaming import streamed

SHOWN_DIALOGUES = 4


class InstructionTuning(Task):
    """What an assistant says in a dialogue: each token of its answers."""

    writes: ClassVar[bool] = True
    writing: ClassVar[Writing] = Writing(temperature=0)

    @property
    def field(self) -> DialogueField:
        """The dialogues."""
        return self.fields.dialogues.field

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the cross-entropy of the answers; nothing else is a target."""
        return NextToken(network, None, training.label_smoothing)

    def metrics(self, samples: int) -> Metrics:
        """Perplexity of the answers."""
        return Perplexity()

    def expensive_metrics(self, samples: int) -> Metrics:
        """Return what takes written answers."""
        return ExactAnswers(self.field)

    def review(self) -> Review:
        """Gather the dialogues whose answers were least expected."""
        return AnswerReview(self.field)

    def outcome(self, network: nn.Module, batch: BatchLike, noise: NoiseLike, output: Tensor, quick: bool) -> Tensor:
        """Return (B, 1 + n) the mean loss of a token, and the likeliest last answer, padded.

        Args:
            network: in evaluation mode.
            batch: dialogues.
            noise: not needed.
            output: (B, length) losses.
            quick: not needed: there is one way.

        """
        mean = output.sum(dim=1) / (batch.target != PADDING).sum(dim=1).clamp(min=1)
        return torch.cat([mean.unsqueeze(1).float(), self._answers(network, batch).float()], dim=1)

    def _answers(self, network: nn.Module, batch: BatchLike) -> Tensor:
        """Return (B, n) the likeliest last answer of each dialogue."""
        field = self.field
        begins, _ = last_answers(batch.target)
        longest = self.fields.dialogues.replies.longest
        return likeliest(network, field.name, batch.inputs[field.name], begins, longest, field.ends, field.length)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Page:
        """Return dialogues up to their last answer, with that of the data and the model's."""
        field = self.field
        begins, ends = last_answers(few.target)
        answers = self._answers(network, few)
        texts = []
        for row in range(min(SHOWN_DIALOGUES, len(few))):
            prompt = few.inputs[field.name][row, : int(begins[row]) + 1].tolist()
            known = few.target[row, int(begins[row]) : int(ends[row])].tolist()
            own = field.answer(answers[row].tolist())
            texts.append(f"{field.text(prompt)}\nreference: {field.answer(known)}\nwritten:   {own}")
        return Page("dialogues", tuple(texts))

    def write(self, network: nn.Module, prompt: str, writing: Writing, noise: NoiseLike) -> Iterator[str]:
        """Yield the answer to a prompt: a text of the user, or messages as JSON; it ends where the context ends.

        Args:
            network: in evaluation mode.
            prompt: what is to be answered.
            writing: how.
            noise: of one row.

        Raises:
            JobError: the prompt is empty, or the chat template refuses it.

        """
        field = self.field
        try:
            tokens = self.fields.dialogues.prompt(asked(read_dialogue(prompt, "prompt", plain=True))).tolist()
        except ValueError as error:
            raise JobError([Problem("", str(error))]) from error
        most = min(writing.length, field.length - len(tokens) + 1)
        steps = continued(network, field.name, field.length, tokens, 1, writing, noise)
        begun = False
        for piece in streamed(islice(steps, most), field.tokenizer, writing.stop, field.ends):
            shown = piece if begun else piece.lstrip()  # a template may have a blank before an answer
            begun = begun or bool(shown)
            if shown:
                yield shown

    def resumed(self, prompt: str, written: str, line: str) -> str:
        """Return all messages so far with what the user says."""
        before = read_dialogue(prompt, "prompt", plain=True) if prompt else ()
        said = (Message("assistant", written),) if written.strip() else ()
        return as_cell((*before, *said, Message("user", line.strip())))

    def prompts(self, records: Records) -> Sequence[str]:
        """Return the messages of each record up to its last answer, which may be there.

        Raises:
            JobError: a message is not as it has to be.

        """
        return [as_cell(each) for each in self.fields.dialogues.prompts(records)]

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Refuse: an answer is written token by token."""
        raise JobError([Problem("", "instruction-tuning writes its answers; use stoker generate or predict")])
