"""Learning the words that are hidden in a text (Devlin et al. 2018), whole words at a time."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.tokens.tokenizer import PADDING, SPECIAL, UNKNOWN
from stoker.job.signature import CHOSEN
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Supervised

HIDDEN = 0.15
"""Share of the words of a text that are hidden; at least one."""
MASKED, REPLACED = 0.8, 0.1
"""Shares of the hidden words in whose place stand the token of a hidden word, and random ones; others stay."""
NOT_HIDDEN = -1.0


class Blanks(Supervised):
    """Cross-entropy of hidden words in nats, summed over the tokens of a word.

    Args:
        network: returns logits of the chosen places.
        text: the field of the texts.

    """

    begins: Tensor
    written: Tensor

    def __init__(self, network: nn.Module, text: TextField) -> None:
        super().__init__(network)
        tokenizer = text.tokenizer
        self.register_buffer("begins", torch.from_numpy(tokenizer.begins_words()), persistent=False)  # the fields'
        self.register_buffer("written", written_tokens(text), persistent=False)
        self._name, self._length, self._mask = text.name, text.length, tokenizer.mask

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the words that are hidden: from the data alone, whichever they are."""
        return {"loss": self._wanted(self._words(batch.inputs[self._name])).sum().float()}

    def losses(self, output: Tensor, batch: BatchLike) -> Tensor:
        """Refuse: the loss needs to know what is hidden."""
        raise AssertionError("hidden words are drawn from noise")

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the sum over all hidden words."""
        tokens = batch.inputs[self._name]
        hidden, chosen = self.hide(tokens, noise)
        logits = self.network({self._name: hidden, CHOSEN: chosen})
        return {"loss": functional.cross_entropy(logits.float(), tokens[chosen], reduction="sum")}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss; for metrics (B, length, 2) the guess of each hidden token, or NOT_HIDDEN, and its loss."""
        tokens = batch.inputs[self._name]
        hidden, chosen = self.hide(tokens, noise)
        logits = self.network({self._name: hidden, CHOSEN: chosen}).float()
        losses = functional.cross_entropy(logits, tokens[chosen], reduction="none")
        output = torch.stack([torch.full(tokens.shape, NOT_HIDDEN, device=tokens.device), hidden.float() * 0.0], dim=2)
        output[chosen] = torch.stack([logits.argmax(dim=1).float(), losses], dim=1)
        return {"loss": Loss(losses.sum(), self.counts(batch, "network")["loss"])}, output

    def hide(self, tokens: Tensor, noise: NoiseLike) -> tuple[Tensor, Tensor]:
        """Return texts with hidden words, and the places of these: both (B, length).

        All random numbers are drawn for the longest text there may be, so that they do not depend on the padding.
        """
        words = self._words(tokens)
        count = words.amax(dim=1, keepdim=True) + 1 if tokens.shape[1] else words.new_zeros(len(tokens), 1)
        draws = noise.uniform(3, self._length)
        places = torch.arange(self._length, device=tokens.device)
        ranks = draws[:, 0].masked_fill(places >= count, 2.0).argsort(dim=1).argsort(dim=1)
        of_word = words.clamp(min=0)
        chosen = (ranks < self._wanted(words).unsqueeze(1)).gather(1, of_word) & (words >= 0)
        kind = draws[:, 1].gather(1, of_word)
        width = tokens.shape[1]
        random = SPECIAL + (draws[:, 2, :width] * (len(self.begins) - SPECIAL)).long()
        hidden = torch.where(chosen & (kind < MASKED), self._mask, tokens)
        hidden = torch.where(chosen & (kind >= MASKED) & (kind < MASKED + REPLACED), random, hidden)
        return hidden, chosen

    def _words(self, tokens: Tensor) -> Tensor:
        """Return (B, length) the number of the word that each token belongs to, from 0; -1 where nothing is written."""
        there = self.written[tokens]
        first = there & (there.cumsum(dim=1) == 1)
        words = ((self.begins[tokens] & there) | first).long().cumsum(dim=1) - 1
        return words.masked_fill(~there, -1)

    def _wanted(self, words: Tensor) -> Tensor:
        """Return (B,) how many words of each text are hidden."""
        count = words.amax(dim=1) + 1 if words.shape[1] else words.new_zeros(len(words))
        return (count * HIDDEN).round().long().clamp(min=1).minimum(count)


def written_tokens(text: TextField) -> Tensor:
    """Return (vocabulary,) whether a token stands for a part of a text: not padding, nor a mark that a model adds."""
    written = torch.from_numpy(text.tokenizer.token_bytes() > 0)
    written[UNKNOWN] = True
    written[PADDING] = False
    return written
