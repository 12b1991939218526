"""What a network that continues a text has read, where it reads only so many tokens at once."""

import torch
from torch import Tensor


def next_tokens(read: Tensor, tokens: Tensor, length: int) -> tuple[Tensor, bool]:
    """Return the tokens to read next, and whether a new memory begins with them.

    Where the memory is full, the second half of it is read again as the beginning of a new one.

    Args:
        read: (B, tokens) that the memory holds.
        tokens: (B, n) that follow them.
        length: most tokens of a memory.

    """
    if read.shape[1] + tokens.shape[1] <= length:
        return tokens, False
    return torch.cat([read, tokens], dim=1)[:, -max(length // 2, 1) :], True
