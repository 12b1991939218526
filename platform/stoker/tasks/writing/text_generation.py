"""New text like that of the data."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stoker.datasets.records import Records
from stoker.datasets.tokens.characters import REPLACEMENT
from stoker.datasets.tokens.tokenizer import END, PADDING
from stoker.errors import JobError, Problem
from stoker.job.training import Training
from stoker.randomness import Noise
from stoker.tasks.abilities import can_attend, can_carry
from stoker.tasks.metrics import Metrics, Sums, Worst
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.sheet import Alignment, Page, token_names
from stoker.tasks.task import Answers, Review, Task
from stoker.tasks.writing.next_token import CarriedNextToken, NextToken
from stoker.tasks.writing.sampling import continued, until_end
from stoker.tasks.writing.settings import Writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_TEXTS, SHOWN_TOKENS = 3, 160
"""Texts that show the progress of training, and the tokens of each."""
SHOWN_ATTENTION = 48
"""Tokens of a text whose attention is drawn."""


class TextGeneration(Task):
    """What follows each token of a text."""

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
        tokens: list[int] = []
        held = max((len(each) - 1 for each in writing.stop), default=0)  # may be the beginning of a stop
        sent, found = 0, ""
        for step in islice(steps, writing.length):
            if int(step) == END:
                break
            tokens.append(int(step))
            found = text.tokenizer.decode(tokens)
            if (end := _first_of(writing.stop, found)) is not None:
                yield found[sent:end]
                return
            whole = len(found.rstrip(REPLACEMENT))  # a character may come in several bytes
            if whole - held > sent:
                yield found[sent : whole - held]
                sent = whole - held
        yield found[sent:]

    def first_tokens(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt; an empty one is the border of two texts, or a line where there are none."""
        assert self.fields.continued is not None
        tokenizer = self.fields.text.tokenizer
        tokens: list[int] = tokenizer.encode([prompt])[0].tolist()
        if self.fields.continued.borders:
            return [END, *tokens]
        return tokens or tokenizer.encode(["\n"])[0].tolist() or [END]

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Refuse: a text is continued token by token."""
        raise JobError([Problem("", "text-generation has no answers; use stoker generate")])


def _first_of(stops: Sequence[str], text: str) -> int | None:
    """Return where the first stop begins; None if there is none."""
    places = [place for place in map(text.find, stops) if place >= 0]
    return min(places, default=None)


class Perplexity(Metrics):
    """How many equally likely tokens a network chooses from, on average: e to the loss."""

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, length) losses."""
        self._total += float(output.double().sum())
        self._count += int((batch.target != PADDING).sum())

    def state(self) -> tuple[float, int]:
        """Return total and count."""
        return self._total, self._count

    def merge(self, state: tuple[float, int]) -> None:
        """Add another worker's."""
        self._total, self._count = self._total + state[0], self._count + state[1]

    def compute(self) -> dict[str, float]:
        """Return the perplexity; NaN for no tokens."""
        mean = torch.tensor(self._total / self._count if self._count else float("nan"), dtype=torch.float64)
        return {"perplexity": float(mean.exp())}


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
