"""The boxes that a network finds: of all that its cells propose, the best ones that do not repeat each other."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

PROPOSED = 1000
"""Most proposals of an image that compete, those with the highest scores."""
EVALUATED = 0.01
"""Lowest score of a box that counts in metrics; the rest adds next to nothing to a precision."""


@dataclass(frozen=True)
class Limits:
    """Which of the proposed boxes are kept, for a network that does not say so itself."""

    score: float = 0.5
    overlap: float = 0.6
    most: int = 100


def detections(network: nn.Module, output: Tensor, score: float | None = None) -> Tensor:
    """Return (B, most, 6) the boxes of each image, best first: class from 0, score, and four sides; padded with 0.

    Args:
        network: that made the proposals; its attributes score, overlap and most limit the boxes, where it has them, and
            its buffer threshold is the logit that becomes a score of 0.5.
        output: (B, cells, 6 + classes) float32 proposals.
        score: the lowest one, in place of the network's.

    """
    from torchvision.ops import batched_nms  # here, since served models of other tasks do without

    usual = Limits()
    least = float(getattr(network, "score", usual.score)) if score is None else score
    overlap, most = float(getattr(network, "overlap", usual.overlap)), int(getattr(network, "most", usual.most))
    found = output.new_zeros(len(output), most, 6)
    above = output[..., 6:] - getattr(network, "threshold", 0.0)
    for row, (boxes, logits) in enumerate(zip(output[..., 2:6].clamp(0, 1), above, strict=True)):
        best = logits.sigmoid().flatten().topk(min(PROPOSED, logits.numel()))
        taken = best.values >= least
        scores, places = best.values[taken], best.indices[taken]
        cells, classes = places // logits.shape[1], places % logits.shape[1]
        kept = batched_nms(boxes[cells], scores, classes, overlap)[:most]
        found[row, : len(kept)] = torch.cat([classes[kept, None], scores[kept, None], boxes[cells[kept]]], dim=1)
    return found
