"""A pretrained model with a head for a text, the words of a sentence, or the tokens of a question with its text."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.heads import outputs
from stoker.architectures.pretrained.network import Loaded, PretrainedNetwork
from stoker.architectures.texts.words import says_of_each, word_numbers
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.signature import QUESTION, Signature


class PretrainedEncoder(PretrainedNetwork):
    """The model's features of each token, their mean or the model's own pooling for a whole text, and a linear layer.

    Arguments as for `PretrainedNetwork`.
    """

    def __init__(self, model: Loaded, settings: PretrainedSettings, signature: Signature) -> None:
        self.pooling = settings.pooling
        self.each_token = says_of_each(signature)
        self.is_pair, self.is_sentence = bool(signature.pairs), bool(signature.pieces)
        body = model.body
        if (self.each_token or settings.pooling == "mean") and hasattr(body, "pooler"):
            body.pooler = cast("nn.Module", None)  # as a model without one
        super().__init__(model, settings, signature)
        self.has_types = (getattr(body.config, "type_vocab_size", None) or 0) > 1
        """Whether the model was trained with embeddings that tell a second text from the first."""
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(body.config.hidden_size, outputs(signature))  # type: ignore[union-attr, arg-type] # foreign

    @property
    def head(self) -> nn.Linear:
        """Return the layer above the features."""
        return self.output

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs) from a text (B, length) of token numbers, padded with 0.

        Of a question with its text, (B, length, 4), or a sentence, (B, length, 2), it returns (B, length, outputs): for
        each token, or for each word, read at its first token, with anything behind the last word.
        """
        given = inputs[self.name]
        if not len(given):  # the model's own code cannot divide nothing into heads
            return self.forward({self.name: given.new_zeros(1, *given.shape[1:])})[:0]
        found, there = self._read(given)
        if self.is_sentence:
            tagged: Tensor = self.output(self.dropout(of_words(found.last_hidden_state, given[..., 1])))
            return tagged
        if self.each_token:
            spoken: Tensor = self.output(self.dropout(found.last_hidden_state))
            return spoken
        if self.pooling == "pooler":
            features = found.pooler_output
        else:
            weights = there.unsqueeze(2).to(found.last_hidden_state.dtype)
            features = (found.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1)
        result: Tensor = self.output(self.dropout(features))
        return result

    def attend(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, heads, length, length) how much the model's last layer takes of each token for each token.

        Its fast kernels do not return this: it is computed without them.
        """
        body: Any = self.body
        kernel = body.config._attn_implementation
        body.set_attn_implementation("eager")
        try:
            found, _ = self._read(inputs[self.name], output_attentions=True)
        finally:
            body.set_attn_implementation(kernel)
        weights: Tensor = found.attentions[-1]
        return weights

    def _read(self, given: Tensor, **wanted: bool) -> tuple[Any, Tensor]:
        """Return what the model says, and (B, length) which tokens are there."""
        tokens = word_numbers(given)
        there = tokens != PADDING
        first = torch.arange(tokens.shape[1], device=tokens.device) == 0
        there = there | (first & ~there.any(dim=1, keepdim=True))  # attention to nothing is not a number
        # The library leaves out a mask that hides nothing: it looks at the values, of which the meta device has none.
        mask = None if tokens.is_meta else there.long()
        types = {"token_type_ids": (given[..., 1] > QUESTION).long()} if self.is_pair and self.has_types else {}
        return self.body(input_ids=self.numbers(tokens), attention_mask=mask, **types, **wanted), there


def of_words(states: Tensor, words: Tensor) -> Tensor:
    """Return (B, length, width) features of each word's first token, from those of all tokens.

    Args:
        states: features of tokens.
        words: (B, length) the word of each token, counted from 1; 0 for tokens that are in none.

    """
    begins = words * (words != functional.pad(words[:, :-1], (1, 0)))
    places = torch.arange(words.shape[1], device=words.device).expand(words.shape)
    first = words.new_zeros(len(words), words.shape[1] + 1).scatter(1, begins, places)[:, 1:]  # 0: all other tokens
    return states.gather(1, first.unsqueeze(2).expand(-1, -1, states.shape[2]))
