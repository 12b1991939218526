"""A pretrained model that continues texts, with its own output layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stoker.architectures.pretrained.network import NEVER, Loaded, PretrainedNetwork, cache_argument
from stoker.architectures.texts.memory import next_tokens
from stoker.datasets.tokens.tokenizer import END, SPECIAL
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.signature import ContinuationOutput, Signature


@dataclass
class Memory:
    """What a model has read."""

    cache: Any
    """Its keys and values, as the library keeps them."""
    tokens: Tensor
    """(B, length) since the cache is empty."""


class PretrainedDecoder(PretrainedNetwork):
    """The model's logits of what follows each token, in the numbers of our tokens.

    A token sees itself and those before it in its own text; places are counted from the beginning of a text. Arguments
    as for `PretrainedNetwork`.
    """

    def __init__(self, model: Loaded, settings: PretrainedSettings, signature: Signature) -> None:
        super().__init__(model, settings, signature)
        assert isinstance(signature.output, ContinuationOutput)
        self.borders, self.length = signature.output.borders, signature.texts[self.name].length
        self.vocabulary = signature.output.vocabulary
        self.cache_name = cache_argument(model.body)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, length, vocabulary) logits of what follows each token, from (B, length) token numbers."""
        tokens = inputs[self.name]
        if not len(tokens):  # the model's own code cannot divide nothing into heads
            return self.forward({self.name: tokens.new_zeros(1, tokens.shape[1])})[:0]
        if not self.borders:
            return self._logits(self.body(input_ids=self.numbers(tokens)).logits)
        begins, seen = _own_text(tokens)
        places = torch.arange(tokens.shape[1], device=tokens.device) - begins
        found = self.body(input_ids=self.numbers(tokens), attention_mask=seen, position_ids=places)
        return self._logits(found.logits)

    def begin(self, rows: int) -> Memory:
        """Return the memory of so many rows that have read nothing."""
        from transformers import DynamicCache

        device = self.special.device
        return Memory(DynamicCache(), torch.zeros(rows, 0, dtype=torch.int64, device=device))

    def read(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read further tokens of one text, (B, n).

        Where the memory is full, a new one begins, as for `next_tokens`.

        Returns:
            (B, n or fewer, vocabulary) logits of what follows each token, the last one always; and the memory.

        """
        tokens, again = next_tokens(memory.tokens, tokens, self.length)
        memory = self.begin(len(tokens)) if again else memory
        together = torch.cat([memory.tokens, tokens], dim=1)
        found = self.body(input_ids=self.numbers(tokens), use_cache=True, **{self.cache_name: memory.cache})
        return self._logits(found.logits), Memory(memory.cache, together)

    def _logits(self, logits: Tensor) -> Tensor:
        """Return logits in the order of our tokens: the model's end of a text is that of all tokenizers."""
        assert self.end is not None
        moved = self.own_logits(logits, self.vocabulary)
        moved[..., END] = logits[..., self.end]
        moved[..., SPECIAL + self.end] = NEVER
        return moved


def _own_text(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, length) where the text of each token begins, and (B, 1, length, length) whether it sees another.

    The end of a text is at the same time the beginning of the next one.
    """
    ends = tokens == END
    text = ends.cumsum(dim=1)
    seen = (text.unsqueeze(2) == text.unsqueeze(1)).tril().unsqueeze(1)
    places = torch.arange(tokens.shape[1], device=tokens.device)
    begins = (places * ends).cummax(dim=1).values
    return begins, seen
