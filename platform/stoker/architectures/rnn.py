"""A recurrent network for texts."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stoker.architectures.heads import outputs
from stoker.architectures.inputs import only_one
from stoker.architectures.layers import word_embedding
from stoker.errors import Problem
from stoker.job.architecture.rnn import Rnn as RnnSettings
from stoker.job.signature import Signature

CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"vanilla": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Rnn(nn.Module):
    """Word embeddings, recurrent layers, max pooling over the text, and a linear layer.

    Texts are packed by their length without padding, so that a sample's output depends on that sample alone.
    """

    def __init__(self, settings: RnnSettings, signature: Signature) -> None:
        super().__init__()
        self.name, shape = next(iter(signature.texts.items()))
        self.embedding = word_embedding(shape.vocabulary, settings.embedding)
        self.dropout = nn.Dropout(settings.dropout)
        self.recurrent = CELLS[settings.cell](
            settings.embedding,
            settings.hidden,
            num_layers=settings.layers,
            batch_first=True,
            bidirectional=settings.bidirectional,
            dropout=settings.dropout if settings.layers > 1 else 0.0,
        )
        self.output = nn.Linear(settings.hidden * (2 if settings.bidirectional else 1), outputs(signature))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, outputs) from a text (B, length) of word numbers, padded with 0."""
        words = inputs[self.name]
        if len(words) == 0:  # torch's recurrent layers reject an empty batch
            empty: Tensor = self.output(self.embedding.weight.new_zeros(0, self.output.in_features))
            return empty + self._zero_with_gradients()
        lengths = (words != 0).sum(dim=1).clamp(min=1)
        packed = pack_padded_sequence(
            self.dropout(self.embedding(words)), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        read, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=words.shape[1])
        padding = torch.arange(words.shape[1], device=words.device) >= lengths.unsqueeze(1)
        features = read.masked_fill(padding.unsqueeze(2), float("-inf")).amax(dim=1)
        result: Tensor = self.output(self.dropout(features))
        return result

    def _zero_with_gradients(self) -> Tensor:
        """Return 0 with a gradient of 0 for every parameter."""
        return torch.stack([parameter.sum() * 0.0 for parameter in self.parameters()]).sum()


def build(settings: RnnSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return Rnn(settings, signature)


def misfits(settings: RnnSettings, signature: Signature) -> list[Problem]:
    """Return a problem unless a sample is exactly one text."""
    return only_one("text", settings.family, signature)
