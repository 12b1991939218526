"""A pretrained model with a head for a whole text."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from stoker.architectures.heads import outputs
from stoker.architectures.pretrained.network import PretrainedNetwork
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.signature import Signature


class PretrainedEncoder(PretrainedNetwork):
    """The model's features of each token, their mean without padding or the model's own pooling, and a linear layer.

    Arguments as for `PretrainedNetwork`.
    """

    def __init__(
        self, body: nn.Module, settings: PretrainedSettings, signature: Signature, folder: Path | None
    ) -> None:
        self.pooling = settings.pooling
        if settings.pooling == "mean" and hasattr(body, "pooler"):
            body.pooler = cast("nn.Module", None)  # as a model without one
        super().__init__(body, settings, signature, folder)
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(body.config.hidden_size, outputs(signature))  # type: ignore[union-attr, arg-type] # foreign

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs) from a text (B, length) of token numbers, padded with 0."""
        tokens = inputs[self.name]
        if not len(tokens):  # the model's own code cannot divide nothing into heads
            return self.forward({self.name: tokens.new_zeros(1, tokens.shape[1])})[:0]
        there = tokens != PADDING
        first = torch.arange(tokens.shape[1], device=tokens.device) == 0
        there = there | (first & ~there.any(dim=1, keepdim=True))  # attention to nothing is not a number
        # The library leaves out a mask that hides nothing: it looks at the values, of which the meta device has none.
        mask = None if tokens.is_meta else there.long()
        found = self.body(input_ids=self.numbers(tokens), attention_mask=mask)
        if self.pooling == "pooler":
            features = found.pooler_output
        else:
            weights = there.unsqueeze(2).to(found.last_hidden_state.dtype)
            features = (found.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1)
        result: Tensor = self.output(self.dropout(features))
        return result
