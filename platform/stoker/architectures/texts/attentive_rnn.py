"""A recurrent encoder and decoder with attention (Luong et al. 2015): it reads a text and writes another one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stoker.architectures.texts.cross_attention import first_place
from stoker.architectures.texts.recurrent import recurrent_layers, zero_with_gradients
from stoker.job.architecture.rnn import Rnn as RnnSettings
from stoker.job.signature import WRITTEN, Signature, TextOutput


@dataclass
class Memory:
    """What the encoder has read, and what the decoder remembers of what is written."""

    source: Tensor
    """(B, source length, features)."""
    there: Tensor
    """(B, source length) whether a place holds a token."""
    state: tuple[Tensor, ...]
    """(layers, B, hidden) each: hidden state, and cell state of an LSTM."""

    def choose(self, rows: Tensor) -> None:
        """Replace row i by row `rows[i]`."""
        self.source, self.there = self.source.index_select(0, rows), self.there.index_select(0, rows)
        self.state = tuple(part.index_select(1, rows) for part in self.state)


class AttentiveRnn(nn.Module):
    """Recurrent layers that read a text, layers that write another one, and attention of each place to the source.

    Source, written tokens and output layer share one embedding. The source is packed by its length without padding, so
    that a sample's output depends on that sample alone.
    """

    def __init__(self, settings: RnnSettings, signature: Signature) -> None:
        super().__init__()
        self.name, shape = next(iter(signature.texts.items()))
        assert isinstance(signature.output, TextOutput)
        self.beam, self.length_penalty, self.no_repeat = settings.beam, settings.length_penalty, settings.no_repeat
        hidden, self.layers, self.is_lstm = settings.hidden, settings.layers, settings.cell == "lstm"
        directions = 2 if settings.bidirectional else 1
        self.embedding = nn.Embedding(shape.vocabulary, settings.embedding)
        nn.init.normal_(self.embedding.weight, std=settings.embedding**-0.5)
        self.dropout = nn.Dropout(settings.dropout)
        self.encoder = recurrent_layers(settings, bool(settings.bidirectional))
        self.decoder = recurrent_layers(settings, bidirectional=False)
        self.bridge = nn.Linear(directions * hidden, hidden)
        self.key = nn.Linear(directions * hidden, hidden, bias=False)
        self.mixed = nn.Linear((directions + 1) * hidden, settings.embedding)
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, n, vocabulary) logits of what follows each of the (B, n) tokens that are written."""
        tokens = inputs[WRITTEN]
        if len(tokens) == 0:  # torch's recurrent layers reject an empty batch
            return self.bias.new_zeros(0, tokens.shape[1], len(self.bias)) + zero_with_gradients(self)
        states, memory = self._remembered(tokens, self.begin(inputs))
        return self._logits(states, memory)

    def begin(self, inputs: Mapping[str, Tensor]) -> Memory:
        """Read (B, source length) tokens; nothing is written yet."""
        tokens = inputs[self.name]
        there = first_place(tokens != 0)
        if len(tokens) == 0:
            empty = self.bias.new_zeros(self.layers, 0, self.bridge.out_features)
            source = self.bias.new_zeros(0, tokens.shape[1], self.bridge.in_features)
            return Memory(source, there, (empty, empty) if self.is_lstm else (empty,))
        packed = pack_padded_sequence(
            self._embedded(tokens), there.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False
        )
        read, last = self.encoder(packed)
        source, _ = pad_packed_sequence(read, batch_first=True, total_length=tokens.shape[1])
        parts = last if isinstance(last, tuple) else (last,)
        return Memory(source, there, tuple(self._bridged(part) for part in parts))

    def write(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Write (B,) tokens; return (B, vocabulary) logits of what follows them, and the memory behind them."""
        if len(tokens) == 0:
            return self.bias.new_zeros(0, len(self.bias)), memory
        states, memory = self._remembered(tokens.unsqueeze(1), memory)
        return self._logits(states, memory).squeeze(1), memory

    def align(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, n, source length) how much each token behind the written ones comes of each of the source."""
        return self._attended(*self._remembered(inputs[WRITTEN], self.begin(inputs)))

    def _embedded(self, tokens: Tensor) -> Tensor:
        """Return the embeddings as inputs, of which each number is about 1; as weights of the output they are less."""
        embedded: Tensor = self.dropout(self.embedding(tokens) * self.embedding.embedding_dim**0.5)
        return embedded

    def _bridged(self, last: Tensor) -> Tensor:
        """Return (layers, B, hidden) to begin with, from the last states (layers * directions, B, hidden)."""
        joined = last.view(self.layers, -1, *last.shape[1:]).transpose(1, 2).flatten(2)
        bridged: Tensor = torch.tanh(self.bridge(joined))
        return bridged

    def _remembered(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        state = memory.state if self.is_lstm else memory.state[0]
        states, after = self.decoder(self._embedded(tokens), state)
        return states, Memory(memory.source, memory.there, after if isinstance(after, tuple) else (after,))

    def _attended(self, states: Tensor, memory: Memory) -> Tensor:
        keys: Tensor = self.key(memory.source)
        scores = states @ keys.transpose(1, 2)
        return scores.masked_fill(~memory.there.unsqueeze(1), float("-inf")).softmax(dim=2)

    def _logits(self, states: Tensor, memory: Memory) -> Tensor:
        context = self._attended(states, memory) @ memory.source
        mixed = torch.tanh(self.mixed(self.dropout(torch.cat([context, states], dim=2))))
        return functional.linear(self.dropout(mixed), self.embedding.weight, self.bias)
