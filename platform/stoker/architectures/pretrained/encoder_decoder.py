"""A pretrained model that reads a text and writes another one, with its own output layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stoker.architectures.pretrained.network import NEVER, Loaded, PretrainedNetwork, cache_argument
from stoker.architectures.texts.cross_attention import first_place
from stoker.datasets.tokens.tokenizer import END, PADDING, SPECIAL
from stoker.job.architecture.pretrained import Pretrained as PretrainedSettings
from stoker.job.signature import WRITTEN, Signature, TextOutput


@dataclass
class Memory:
    """What a model has read and written."""

    source: Any
    """What its encoder has found, as the library keeps it."""
    there: Tensor
    """(B, source length) 1 where a place holds a token, else 0."""
    number: Tensor
    """(B,) the number of each row's source."""
    cache: Any
    """Its keys and values of source and written tokens, as the library keeps them."""
    length: int = 0
    """Tokens written."""

    def choose(self, rows: Tensor) -> None:
        """Replace row i by row `rows[i]`."""
        number = self.number.index_select(0, rows)
        self.cache.self_attention_cache.reorder_cache(rows)
        if not torch.equal(number, self.number):
            self.cache.cross_attention_cache.reorder_cache(rows)
            self.source.last_hidden_state = self.source.last_hidden_state.index_select(0, rows)
            self.there = self.there.index_select(0, rows)
        self.number = number


class PretrainedEncoderDecoder(PretrainedNetwork):
    """The model's logits of what follows each written token, in the numbers of our tokens.

    A text that is written begins with the model's own token for that. Padding is not attended to. Arguments as for
    `PretrainedNetwork`.
    """

    def __init__(self, model: Loaded, settings: PretrainedSettings, signature: Signature) -> None:
        super().__init__(model, settings, signature)
        assert isinstance(signature.output, TextOutput)
        self.vocabulary = signature.output.vocabulary
        self.beam, self.length_penalty, self.no_repeat = settings.beam, settings.length_penalty, settings.no_repeat
        config: Any = model.body.config
        self.start = start_token(config) or 0
        never = {self.end, config.pad_token_id} - {None}
        self.never = [SPECIAL + number for number in sorted(never) if SPECIAL + number < self.vocabulary]
        """The model's own tokens of an end and of padding, which END and PADDING stand for."""
        self.cache_name = cache_argument(model.body)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, n, vocabulary) logits of what follows each of the (B, n) tokens that are written."""
        tokens, written = inputs[self.name], inputs[WRITTEN]
        if not written.numel():  # the model's own code cannot divide nothing into heads
            one = {name: each.new_zeros(1, max(each.shape[1], 1)) for name, each in inputs.items()}
            return self.forward(one)[: len(written), : written.shape[1]].expand(*written.shape, -1)
        found = self.body(
            input_ids=self.numbers(tokens),
            attention_mask=_mask(tokens),
            use_cache=False,
            **self._decoded(written, True),
        )
        return self._logits(found.logits)

    def begin(self, inputs: Mapping[str, Tensor]) -> Memory:
        """Read (B, source length) tokens; nothing is written yet."""
        from transformers import DynamicCache, EncoderDecoderCache

        tokens = inputs[self.name]
        body: Any = self.body
        there = first_place(tokens != PADDING).long()
        source = body.get_encoder()(input_ids=self.numbers(tokens), attention_mask=there)
        number = torch.arange(len(tokens), device=tokens.device)
        return Memory(source, there, number, EncoderDecoderCache(DynamicCache(), DynamicCache()))

    def write(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Write (B,) tokens; return (B, vocabulary) logits of what follows them, and the memory behind them."""
        found = self.body(
            encoder_outputs=memory.source,
            attention_mask=memory.there,
            use_cache=True,
            **self._decoded(tokens.unsqueeze(1), first=not memory.length),
            **{self.cache_name: memory.cache},
        )
        memory.length += 1
        return self._logits(found.logits).squeeze(1), memory

    def align(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, n, source length) how much the last layer takes of each source token, as a mean over its heads.

        The model's fast kernels do not return this: it is computed without them.
        """
        tokens = inputs[self.name]
        body: Any = self.body
        kernel = body.config._attn_implementation
        body.set_attn_implementation("eager")
        try:
            found = body(
                input_ids=self.numbers(tokens),
                attention_mask=_mask(tokens),
                use_cache=False,
                output_attentions=True,
                **self._decoded(inputs[WRITTEN], True),
            )
        finally:
            body.set_attn_implementation(kernel)
        weights: Tensor = found.cross_attentions[-1].mean(dim=1)
        return weights

    def _decoded(self, written: Tensor, first: bool) -> dict[str, Tensor]:
        """Return what the decoder is given of (B, n) tokens, of which those in the first place may begin a text."""
        numbers = self.numbers(written)
        if first:
            numbers[:, 0] = self.start
        decoded = {"decoder_input_ids": numbers}
        if written.is_meta:  # the library would look at the values of a mask
            seen = torch.ones(written.shape[1], written.shape[1], dtype=torch.bool, device="meta")
            decoded["decoder_attention_mask"] = seen[None, None]
        return decoded

    def _logits(self, logits: Tensor) -> Tensor:
        """Return logits in the order of our tokens: the model's end of a text is that of all tokenizers."""
        assert self.end is not None
        moved = self.own_logits(logits, self.vocabulary)
        moved[..., END] = logits[..., self.end]
        moved[..., self.never] = NEVER
        return moved


def start_token(config: Any) -> int | None:
    """Return the number of the token that begins a text to write; None if the model has none."""
    start: int | None = getattr(config, "decoder_start_token_id", None)
    return start


def _mask(tokens: Tensor) -> Tensor | None:
    """Return (B, length) 1 where there is a token, else 0.

    The library looks at the values of a mask, of which the meta device has none.
    """
    return None if tokens.is_meta else first_place(tokens != PADDING).long()
