"""Recurrent layers by the name of their cell, and what networks of them share."""

import torch
from torch import Tensor, nn

CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"vanilla": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def zero_with_gradients(network: nn.Module) -> Tensor:
    """Return 0 with a gradient of 0 for every parameter: torch's recurrent layers reject an empty batch."""
    return torch.stack([parameter.sum() * 0.0 for parameter in network.parameters()]).sum()
