"""Boxes of pictures that are moved, turned or enlarged at random."""

import torch

LEAST_SEEN = 0.3
"""Part of a box that must still be in the picture: of less, nobody could tell what it is."""


def moved_boxes(boxes: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Return the boxes of changed pictures; those that are hardly in the picture any longer become padding.

    A turned box is the one around the ellipse that it holds, which fits most objects closer than one around its
    corners (Kalra et al. 2021).

    Args:
        boxes: (B, n, 5) float32, class and four sides as shares of the picture, padded with 0.
        matrix: (B, 2, 3) where each place of a changed picture comes from, as of affine_grid.

    """
    linear, shift = matrix[:, :, :2], matrix[:, :, 2]
    back = torch.linalg.inv(linear)
    begin, end = boxes[..., 1:3] * 2 - 1, boxes[..., 3:5] * 2 - 1
    middle = torch.einsum("bij,bnj->bni", back, (begin + end) / 2 - shift.unsqueeze(1))
    half = torch.einsum("bij,bnj->bni", back**2, ((end - begin) / 2) ** 2).sqrt()
    whole = torch.cat([middle - half, middle + half], dim=2).add(1).div(2)
    seen = whole.clamp(0, 1)
    share = _areas(seen) / _areas(whole).clamp(min=torch.finfo(boxes.dtype).tiny)
    kept = (boxes[..., :1] > 0) & (share > LEAST_SEEN).unsqueeze(2)
    return torch.where(kept, torch.cat([boxes[..., :1], seen], dim=2), 0.0)


def _areas(sides: torch.Tensor) -> torch.Tensor:
    return (sides[..., 2] - sides[..., 0]) * (sides[..., 3] - sides[..., 1])
