"""Heads: from a network's features to the output that the task asks for."""

from stoker.job.signature import ClassOutput, MaskOutput, Signature


def outputs(signature: Signature) -> int:
    """Return how many numbers the output needs: for a sample, or for each pixel of a mask."""
    return len(signature.classes) if isinstance(signature.output, ClassOutput | MaskOutput) else 1
