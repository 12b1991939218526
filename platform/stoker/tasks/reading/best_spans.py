"""The likeliest part of a text that answers a question, of all that begin before they end."""

import numpy as np
import torch
from torch import Tensor

COLUMNS = 5
"""Numbers for a window: log-odds of its best span against no answer, begin and end of it in the characters of the
text, its probability in the window, and that of no answer."""


def masked(output: Tensor, pair: Tensor) -> Tensor:
    """Return (B, length, 2) logits, -inf where no answer begins or ends; the first place stands for no answer.

    Args:
        output: (B, length, 2) logits of a network.
        pair: (B, length, 4) tokens with their places in the text.

    """
    allowed = pair[..., 3] > pair[..., 2]
    first = torch.arange(allowed.shape[1], device=allowed.device) == 0
    return output.masked_fill(~(allowed | first).unsqueeze(2), float("-inf"))


def best_spans(output: Tensor, pair: Tensor, longest: int) -> Tensor:
    """Return (B, COLUMNS) of the best span of at most so many tokens in each window.

    Args:
        output: (B, length, 2) logits of a network.
        pair: (B, length, 4) tokens with their places in the text.
        longest: tokens of a span.

    """
    begins, ends = masked(output.float(), pair).log_softmax(dim=1).unbind(2)
    none = begins[:, 0] + ends[:, 0]
    length = begins.shape[1]
    begins = begins.masked_fill(torch.arange(length, device=begins.device) == 0, float("-inf"))
    best = torch.full_like(none, float("-inf"))
    first, last = torch.zeros_like(none, dtype=torch.int64), torch.zeros_like(none, dtype=torch.int64)
    for more in range(min(longest, length)):
        value, place = (begins[:, : length - more] + ends[:, more:]).max(dim=1)
        better = value > best
        best = torch.where(better, value, best)
        first, last = torch.where(better, place, first), torch.where(better, place + more, last)
    rows = torch.arange(len(pair), device=pair.device)
    places = [pair[rows, first, 2].float(), pair[rows, last, 3].float()]
    return torch.stack([best - none, *places, best.exp(), none.exp()], dim=1)


def best_of_each(spans: Tensor, ids: Tensor) -> Tensor:
    """Return (N, COLUMNS) the best span of each of N questions, from those of their (W,) windows, in the order of ids.

    Of equals the first one is taken.
    """
    numbers = ids.cpu().numpy()
    order = np.lexsort((np.arange(len(numbers)), -spans[:, 0].cpu().numpy(), numbers))
    _, chosen = np.unique(numbers[order], return_index=True)
    return spans[torch.from_numpy(order[chosen])]
