"""Default numbers and widths of stages that halve an image, and what is left of it behind them."""

import math

from stoker.errors import Problem
from stoker.job.signature import ImageInput


def doubling(stages: int, first: int, most: int) -> tuple[int, ...]:
    """Return the channels of each stage: twice as many as before it, up to a limit."""
    return tuple(min(first * 2**stage, most) for stage in range(stages))


def stages_down_to(side: int, image: ImageInput) -> int:
    """Return how many stages halve an image to about so many pixels, at least one."""
    return max(1, int(math.log2(max(min(image.height, image.width) / side, 1))))


def sides_of_stages(image: ImageInput, stages: int) -> list[tuple[int, int]]:
    """Return height and width of the image and of the map behind each stage, rounded up."""
    sides = [(image.height, image.width)]
    for _ in range(stages):
        height, width = sides[-1]
        sides.append((-(-height // 2), -(-width // 2)))
    return sides


def beyond_a_pixel(channels: tuple[int, ...] | None, image: ImageInput) -> list[Problem]:
    """Return the problem of stages that go on to halve maps of a single pixel."""
    most = max(1, math.ceil(math.log2(min(image.height, image.width))))
    if channels is None or len(channels) <= most:
        return []
    message = f"{len(channels)} stages halve {image.height}x{image.width} images to less than a pixel"
    return [Problem("architecture.channels", f"{message}; use at most {most}")]
