"""Heads: the size of the output that the task requires."""

from stoker.job.signature import ClassOutput, MaskOutput, Signature, TagsOutput, ValueOutput


def outputs(signature: Signature) -> int:
    """Return the number of outputs for a sample, or for each pixel of a mask."""
    match signature.output:
        case ClassOutput() | MaskOutput():
            return len(signature.classes)
        case TagsOutput(tags):
            return len(tags)
        case ValueOutput() | None:
            return 1
