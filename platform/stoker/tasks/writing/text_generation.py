"""New text like that of the data."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from stoker.datasets.records import Records
from stoker.datasets.tokens.tokenizer import END, PADDING
from stoker.errors import JobError, Problem
from stoker.job.signature import ContinuationOutput
from stoker.job.training import Training
from stoker.randomness import Noise
from stoker.tasks.abilities import can_attend, can_carry
from stoker.tasks.metrics import Metrics, Sums, Worst
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.sheet import Alignment, Page, token_names
from stoker.tasks.task import Answers, Review, Task
from stoker.tasks.writing.next_token import CarriedNextToken, NextToken
from stoker.tasks.writing.perplexity import Perplexity
from stoker.tasks.writing.sampling import continued, until_end
from stoker.tasks.writing.settings import Writing
from stoker.tasks.writing.streaming import streamed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_TEXTS, SHOWN_TOKENS = 3, 160
"""Texts that show the progress of training, and the tokens of each."""
SHOWN_ATTENTION = 48
"""Tokens of a text whose attention is drawn."""


class TextGeneration(Task):
    """What follows each token of a text."""

    writes: ClassVar[bool] = True
    continues: ClassVar[bool] = True

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the cross-entropy; a recurrent network reads on from batch to batch."""
        kind = CarriedNextToken if can_carry(network) else NextToken
        return kind(network, torch.from_numpy(self.fields.text.tokenizer.token_bytes()), training.label_smoothing)

    def metrics(self, samples: int) -> Metrics:
        """Perplexity of the tokens; the bits of a byte are a term of the loss."""
        return Perplexity()

    def review(self) -> Review:
        """Gather the pieces of text that were least expected."""
        return Unexpected(self)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Page | None:
        """Return texts that are written with the same random numbers each time."""
        text, device = self.fields.text, next(network.parameters()).device
        noise = Noise((seed, "written"), SHOWN_TEXTS, 0, SHOWN_TEXTS, device)
        prompt = self.first_tokens("")
        steps = continued(network, text.name, text.length, prompt, SHOWN_TEXTS, Writing(), noise)
        rows = torch.stack(list(islice(steps, SHOWN_TOKENS)), dim=1).tolist()
        texts = tuple(text.tokenizer.decode(until_end(row)) for row in rows)
        return Page("generated", texts, self._attention(network, [*prompt, *until_end(rows[0])], device))

    def _attention(self, network: nn.Module, tokens: list[int], device: torch.device) -> tuple[Alignment, ...]:
        """Return how much each token takes of those before it, as a mean over heads, where the network knows it."""
        if not can_attend(network):
            return ()
        text = self.fields.text
        few = tokens[: min(SHOWN_ATTENTION, text.length)]
        weights = network.attend({text.name: torch.tensor([few], device=device)})
        names = token_names(text.tokenizer, few)
        return (Alignment(names, names, weights[0].mean(dim=0).float().cpu().numpy()),)

    def write(self, network: nn.Module, prompt: str, writing: Writing, noise: NoiseLike) -> Iterator[str]:
        """Yield what follows a prompt, piece by piece."""
        text = self.fields.text
        steps = continued(network, text.name, text.length, self.first_tokens(prompt), 1, writing, noise)
        return streamed(islice(steps, writing.length), text.tokenizer, writing.stop, frozenset({END}))

    def resumed(self, prompt: str, written: str, line: str) -> str:
        """Return the text so far with another line."""
        return f"{prompt}{written}\n{line}" if prompt else line

    def first_tokens(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt; an empty one is the border of two texts, or a line where there are none."""
        tokenizer = self.fields.text.tokenizer
        tokens: list[int] = tokenizer.encode([prompt])[0].tolist()
        assert isinstance(self.fields.own, ContinuationOutput)
        if self.fields.own.borders:
            return [END, *tokens]
        return tokens or tokenizer.encode(["\n"])[0].tolist() or [END]

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Refuse: a text is continued token by token."""
        raise JobError([Problem("", "text-generation has no answers; use stoker generate")])


class Unexpected(Review):
    """The loss by the number of tokens read before, and the pieces of text with the largest mean loss."""

    def __init__(self, task: TextGeneration) -> None:
        self._tokenizer = task.fields.text.tokenizer
        self._sums = Sums(2, task.fields.text.length)  # of losses, and tokens
        self._worst = Worst()
        super().__init__(self._sums, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch of (B, length) losses."""
        learnt = batch.target != PADDING
        self._sums.add(torch.stack([output.double().sum(dim=0), learnt.double().sum(dim=0)]))
        self._worst.update(output.sum(dim=1) / learnt.sum(dim=1).clamp(min=1), output, batch.target, ids)

    def figures(self) -> dict[str, "Figure"]:
        """Draw how the loss falls with the text that was read before."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        total, count = self._sums.values
        losses = (total / count.clamp(min=1))[count > 0]
        axes.plot(range(1, len(losses) + 1), losses.numpy())
        axes.set(xlabel=f"{self._tokenizer.unit} read", ylabel="loss of the next one", ylim=(0, None))
        axes.set_title(f"Loss by the text read before, {self._worst.seen} samples")
        return {"loss-by-context": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return each piece with its least expected token."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            tokens = shown.target.tolist()
            place = int(shown.output.argmax())
            rows.append(
                {
                    "id": shown.id,
                    "text": self._tokenizer.decode(tokens),
                    "unexpected": self._tokenizer.decode([tokens[place]]) or "end of text",
                    "loss": round(shown.loss, 4),
                }
            )
        return rows
