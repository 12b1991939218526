"""Words that are hidden in a text."""

from collections.abc import Mapping
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor, nn

from stoker.datasets.records import Records
from stoker.datasets.tokens.tokenizer import SPECIAL
from stoker.job.signature import CHOSEN
from stoker.job.training import Training
from stoker.randomness import Noise
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike, NoiseLike, Objective
from stoker.tasks.reading.blank_metrics import FilledReview, HiddenTokens
from stoker.tasks.reading.blanks import Blanks, written_tokens
from stoker.tasks.sheet import Highlight, Marked, Page
from stoker.tasks.task import Answers, Review, Task

NOTE = "Hidden words on colour: a guess that is wrong stands behind the word, in a red frame."
CANDIDATES = 5
"""Words that a prediction names for each blank."""


class FillMask(Task):
    """The words behind blanks."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the cross-entropy of hidden words."""
        return Blanks(network, self.fields.text)

    def metrics(self, samples: int) -> Metrics:
        """Perplexity and share of right ones of the hidden tokens."""
        return HiddenTokens(self.fields.text.name)

    def review(self) -> Review:
        """Gather the texts whose hidden words were least expected."""
        return FilledReview(self.fields.text, self.marked)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Page:
        """Return texts with their hidden words and the guesses, which are always the same words."""
        objective = self.objective(network, Training())
        assert isinstance(objective, Blanks)
        objective.to(few.inputs[self.fields.text.name].device)
        noise = Noise((seed, "hidden"), len(few), 0, len(few), few.inputs[self.fields.text.name].device)
        _, output = objective.evaluate(few, noise)
        assert output is not None
        rows = zip(few.inputs[self.fields.text.name].cpu(), output[..., 0].long().cpu(), strict=True)
        return Page.of("filled", [self.marked(tokens, guesses) for tokens, guesses in rows], (), NOTE)

    def marked(self, tokens: Tensor, guesses: Tensor) -> Marked:
        """Return a text with `[word]` for each right guess and `[word: guess]` for each wrong one."""
        decode = self.fields.text.tokenizer.decode
        parts: list[tuple[str, Highlight | None]] = []
        pending: list[int] = []
        for token, guess in zip(tokens.tolist(), guesses.tolist(), strict=True):
            if guess < 0:
                pending.append(token)
                continue
            word, other = decode([token]).strip(), decode([guess]).strip()
            right = token == guess
            parts += [
                (decode(pending).strip(), None),
                (word if right else f"{word}: {other}", Highlight(0, 0, "", not right)),
            ]
            pending = []
        return Marked.of(part for part in [*parts, (decode(pending).strip(), None)] if part[0])

    def outputs(self, network: nn.Module, inputs: Mapping[str, Tensor], noise: NoiseLike) -> Tensor:
        """Return (B, blanks, CANDIDATES, 2) the likeliest tokens of each blank with their shares, filled up with 0."""
        (tokens,) = inputs.values()
        chosen = tokens == self.fields.text.tokenizer.mask
        logits = network({self.fields.text.name: tokens, CHOSEN: chosen}).float()
        logits = logits.masked_fill(self._no_words.to(logits.device), float("-inf"))
        shares, candidates = logits.softmax(dim=1).topk(min(CANDIDATES, logits.shape[1]), dim=1)
        most = max(1, int(chosen.sum(dim=1).max()))
        found = torch.zeros(len(tokens), most, candidates.shape[1], 2)
        rows, _ = chosen.nonzero(as_tuple=True)
        place = (chosen.long().cumsum(dim=1) - 1)[chosen]
        found[rows.cpu(), place.cpu()] = torch.stack([candidates.float(), shares], dim=2).cpu()
        return found

    @cached_property
    def _no_words(self) -> Tensor:
        """Return (vocabulary,) whether a token stands for nothing that could be written in a blank."""
        none = ~written_tokens(self.fields.text)
        none[:SPECIAL] = True
        return none

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the likeliest word of each blank, and with the others how likely they are."""
        decode = self.fields.text.tokenizer.decode
        best, others = [], []
        for row in outputs:
            blanks = [blank for blank in row if blank[0, 0] >= SPECIAL]
            best.append(" ".join(decode([int(blank[0, 0])]).strip() for blank in blanks))
            named = (
                ", ".join(f"{decode([int(token)]).strip()} {share:.2f}" for token, share in blank.tolist())
                for blank in blanks
            )
            others.append("; ".join(named))
        return Answers(pd.DataFrame({"prediction": best, "candidates": others}))
