"""A pretrained model that fills in words, with its own output layers."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from stoker.architectures.pretrained.network import Loaded, PretrainedNetwork
from stoker.architectures.texts.cross_attention import first_place
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.signature import CHOSEN, BlanksOutput, Signature


class PretrainedMasked(PretrainedNetwork):
    """The model's logits of what stands at each place, in the numbers of our tokens.

    The weights below its output layers have the names that they have in the other networks on this model, which can
    therefore start from them. Arguments as for `PretrainedNetwork`.
    """

    def __init__(self, model: Loaded, settings: PretrainedSettings, signature: Signature) -> None:
        super().__init__(model, settings, signature)
        assert isinstance(signature.output, BlanksOutput)
        self.vocabulary = signature.output.vocabulary
        body = model.body
        self._whole = (body,)  # a tuple hides it from torch, to which each weight has one name
        self.body = below_output(body)
        self.output = nn.ModuleDict({name: part for name, part in body.named_children() if part is not self.body})

    @property
    def model(self) -> nn.Module:
        """Return the model with its output layers."""
        return self._whole[0]

    def train(self, mode: bool = True) -> Self:
        """Set the mode, also of what calls body and output layers."""
        self.model.training = mode
        return super().train(mode)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, length, vocabulary) logits from (B, length) token numbers, padded with 0.

        Of places that are `CHOSEN`, (B, length), it returns (n, vocabulary) logits: the output layers, which are wide,
        compute these alone.
        """
        tokens, chosen = inputs[self.name], inputs.get(CHOSEN)
        if not len(tokens):  # the model's own code cannot divide nothing into heads
            one = tokens.new_zeros(1, max(tokens.shape[1], 1))
            none = {} if chosen is None else {CHOSEN: torch.zeros_like(one, dtype=torch.bool)}
            found = self.forward({self.name: one, **none})
            return found if none else found[:0, : tokens.shape[1]]
        # The library leaves out a mask that hides nothing: it looks at the values, of which the meta device has none.
        mask = None if tokens.is_meta else first_place(tokens != PADDING).long()
        with_chosen = self.body.register_forward_hook(partial(_keep, chosen))
        try:
            logits = self.model(input_ids=self.numbers(tokens), attention_mask=mask).logits
        finally:
            with_chosen.remove()
        found = self.own_logits(logits, self.vocabulary)
        return found if chosen is None else found[0]


def below_output(model: nn.Module) -> nn.Module:
    """Return the part of a model that its output layers read."""
    base: Any = model
    below: nn.Module = base.base_model
    return below


def _keep(chosen: Tensor | None, body: nn.Module, inputs: Any, found: Any) -> Any:
    """Return what a body has found as a single text of the chosen places."""
    if chosen is not None:
        found.last_hidden_state = found.last_hidden_state[chosen].unsqueeze(0)
    return found
