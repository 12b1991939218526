"""Random rectangles of images, of whole pixels."""

import torch


def inside_rectangles(
    images: torch.Tensor, heights: torch.Tensor, widths: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Return (B, height, width) which pixels of each image are inside of its rectangle.

    Args:
        images: (B, channels, height, width).
        heights: (B,) of the rectangles, as shares of the image's.
        widths: likewise.
        x: (B,) places from 0, at the left edge, to 1, at the right one.
        y: likewise, from the top.

    """
    height, width = images.shape[2:]
    down = _between(height, heights, y, images.device)
    right = _between(width, widths, x, images.device)
    return down.unsqueeze(2) & right.unsqueeze(1)


def _between(side: int, lengths: torch.Tensor, places: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return (B, side) which pixels of a side are within a random section of it."""
    pixels = (lengths.clamp(max=1) * side).round()
    first = ((side - pixels + 1) * places).floor().unsqueeze(1)
    each = torch.arange(side, device=device)
    return (each >= first) & (each < first + pixels.unsqueeze(1))
