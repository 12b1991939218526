"""Recurrent networks for texts: one that reads a text or each of its words, one that continues it, one that writes."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stoker.architectures.heads import outputs
from stoker.architectures.inputs import only_one
from stoker.architectures.search_settings import search_misfits, with_search
from stoker.architectures.texts.attentive_rnn import AttentiveRnn
from stoker.architectures.texts.recurrent import recurrent_layers, zero_with_gradients
from stoker.architectures.texts.words import (
    default_word_dropout,
    says_of_each,
    token_vectors,
    with_unknown,
    word_numbers,
)
from stoker.errors import Problem
from stoker.job.architecture.rnn import Rnn as RnnSettings
from stoker.job.signature import CHOSEN, ContinuationOutput, Signature, TextOutput


class Reader(nn.Module):
    """Word embeddings, recurrent layers, max pooling over the text unless each word is tagged, and a linear layer.

    Texts are packed by their length without padding, so that a sample's output depends on that sample alone.
    """

    def __init__(self, settings: RnnSettings, signature: Signature) -> None:
        super().__init__()
        self.name, self.embedding, _ = token_vectors(signature, settings.embedding)
        self.each_word = says_of_each(signature)
        self.word_dropout = settings.word_dropout or 0.0
        self.dropout = nn.Dropout(settings.dropout)
        self.recurrent = recurrent_layers(settings, bool(settings.bidirectional))
        self.output = nn.Linear(settings.hidden * (2 if settings.bidirectional else 1), outputs(signature))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs), or (B, length, outputs) for each word, from word numbers padded with 0.

        A text is (B, length), a sentence (B, length, 1 + characters), a question with its text (B, length, 4).
        """
        tokens = inputs[self.name]
        words = word_numbers(tokens)
        if len(words) == 0:  # torch's recurrent layers reject an empty batch
            shape = words.shape if self.each_word and CHOSEN not in inputs else words.shape[:1]
            empty: Tensor = self.output(self.output.weight.new_zeros(*shape, self.output.in_features))
            return empty + zero_with_gradients(self)
        if self.training and self.word_dropout:
            tokens = with_unknown(tokens, self.word_dropout)
        lengths = (words != 0).sum(dim=1).clamp(min=1)
        packed = pack_padded_sequence(tokens, lengths.cpu(), batch_first=True, enforce_sorted=False)
        read, _ = self.recurrent(packed._replace(data=self.dropout(self.embedding(packed.data))))
        if self.each_word and CHOSEN not in inputs:
            read = read._replace(data=self.output(self.dropout(read.data)))
        read, _ = pad_packed_sequence(read, batch_first=True, total_length=words.shape[1])
        if self.each_word:
            return self.output(self.dropout(read[inputs[CHOSEN]])) if CHOSEN in inputs else read
        padding = torch.arange(words.shape[1], device=words.device) >= lengths.unsqueeze(1)
        features = read.masked_fill(padding.unsqueeze(2), float("-inf")).amax(dim=1)
        result: Tensor = self.output(self.dropout(features))
        return result


class Writer(nn.Module):
    """Token embeddings, recurrent layers that remember what they have read, and a linear layer.

    Texts that follow one another are read on without a border: the token of a text's end tells that another begins.
    """

    def __init__(self, settings: RnnSettings, signature: Signature) -> None:
        super().__init__()
        self.name, shape = next(iter(signature.texts.items()))
        self.embedding = nn.Embedding(shape.vocabulary, settings.embedding)
        self.word_dropout = settings.word_dropout or 0.0
        self.dropout = nn.Dropout(settings.dropout)
        self.recurrent = recurrent_layers(settings, bidirectional=False)
        self.output = nn.Linear(settings.hidden, shape.vocabulary)
        self.carried_shape = (2 if settings.cell == "lstm" else 1, settings.layers, settings.hidden)
        """Of what is remembered of a row."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, length, vocabulary) logits of what follows each token, from (B, length) token numbers."""
        tokens = inputs[self.name]
        logits, _ = self.read(tokens, self.begin(len(tokens)))
        return logits

    def begin(self, rows: int) -> Tensor:
        """Return the memory (B, *carried_shape) of so many rows that have read nothing."""
        return torch.zeros(rows, *self.carried_shape, device=self.output.weight.device)

    def read(self, tokens: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, n, vocabulary) logits of what follows each of (B, n) tokens, and the memory behind them."""
        if len(tokens) == 0:  # torch's recurrent layers reject an empty batch
            nothing = self.output.weight.new_zeros(0, tokens.shape[1], len(self.output.bias))
            return nothing + zero_with_gradients(self), memory
        if self.training and self.word_dropout:
            tokens = with_unknown(tokens, self.word_dropout)
        parts = [part.contiguous() for part in memory.permute(1, 2, 0, 3).unbind(0)]
        state = parts[0] if len(parts) == 1 else tuple(parts)
        features, after = self.recurrent(self.dropout(self.embedding(tokens)), state)
        kept = torch.stack(after if isinstance(after, tuple) else (after,)).permute(2, 0, 1, 3)
        logits: Tensor = self.output(self.dropout(features))
        return logits, kept


def build(settings: RnnSettings, signature: Signature) -> nn.Module:
    """Build a network that writes a text from another, one that continues texts, or one that reads them."""
    if isinstance(signature.output, TextOutput):
        return AttentiveRnn(settings, signature)
    kind = Writer if isinstance(signature.output, ContinuationOutput) else Reader
    return kind(settings, signature)


def with_default_sizes(settings: RnnSettings, signature: Signature, samples: int) -> RnnSettings:
    """Read from both ends where the whole text is known, and leave out words where each is tagged."""
    bidirectional = settings.bidirectional
    if bidirectional is None:
        bidirectional = not isinstance(signature.output, ContinuationOutput)
    word_dropout = default_word_dropout(settings.word_dropout, signature)
    settings = with_search(settings, signature)
    return settings.model_copy(update={"bidirectional": bidirectional, "word_dropout": word_dropout})


def misfits(settings: RnnSettings, signature: Signature) -> list[Problem]:
    """Return a problem unless a sample is exactly one text, and for reading a text from its end to continue it."""
    problems = [*only_one("text", settings.family, signature), *search_misfits(settings, signature)]
    if settings.bidirectional and isinstance(signature.output, ContinuationOutput):
        message = "a text is continued from its beginning: its end is not known yet; leave it out"
        problems.append(Problem("architecture.bidirectional", message))
    return problems
