"""Default widths of stages that halve an image."""


def doubling(stages: int, first: int, most: int) -> tuple[int, ...]:
    """Return the channels of each stage: twice as many as before it, up to a limit."""
    return tuple(min(first * 2**stage, most) for stage in range(stages))
