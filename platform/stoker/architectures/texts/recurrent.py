"""Recurrent layers by the name of their cell, and what networks of them share."""

import torch
from torch import Tensor, nn

from stoker.job.architecture.rnn import Rnn as RnnSettings

Recurrent = nn.RNN | nn.LSTM | nn.GRU
CELLS: dict[str, type[Recurrent]] = {"vanilla": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def recurrent_layers(settings: RnnSettings, bidirectional: bool) -> Recurrent:
    """Build the layers of a job, which read embeddings (B, length, embedding), with dropout between them."""
    return CELLS[settings.cell](
        settings.embedding,
        settings.hidden,
        num_layers=settings.layers,
        batch_first=True,
        bidirectional=bidirectional,
        dropout=settings.dropout if settings.layers > 1 else 0.0,
    )


def zero_with_gradients(network: nn.Module) -> Tensor:
    """Return 0 with a gradient of 0 for every parameter: torch's recurrent layers reject an empty batch."""
    return torch.stack([parameter.sum() * 0.0 for parameter in network.parameters()]).sum()
