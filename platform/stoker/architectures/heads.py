"""Heads: the size of the output that the task requires."""

from stoker.job.signature import (
    BlanksOutput,
    BoxesOutput,
    ClassOutput,
    ContinuationOutput,
    MaskOutput,
    Signature,
    SpanOutput,
    TagsOutput,
    TextOutput,
    ValueOutput,
    WordTagsOutput,
)


def outputs(signature: Signature) -> int:
    """Return the number of outputs for a sample, for each pixel of a mask, for the class of each box, or for each token or word of a text."""
    match signature.output:
        case ClassOutput() | MaskOutput() | BoxesOutput():
            return len(signature.classes)
        case TagsOutput(tags) | WordTagsOutput(tags):
            return len(tags)
        case ContinuationOutput(vocabulary) | TextOutput(vocabulary) | BlanksOutput(vocabulary):
            return vocabulary
        case SpanOutput():
            return 2
        case ValueOutput() | None:
            return 1
