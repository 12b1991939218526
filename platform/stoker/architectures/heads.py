"""Heads: the size of the output that the task requires."""

from stoker.job.signature import (
    BlanksOutput,
    BoxesOutput,
    ClassOutput,
    ContinuationOutput,
    MaskOutput,
    NormalityOutput,
    Signature,
    SpanOutput,
    TagsOutput,
    TextOutput,
    ValueOutput,
    WordTagsOutput,
)


def outputs(signature: Signature) -> int:
    """Return the number of outputs for a sample, or for each pixel, box, token or word of it."""
    match signature.output:
        case ClassOutput() | MaskOutput() | BoxesOutput():
            return len(signature.classes)
        case NormalityOutput(classes):
            return len(classes)
        case TagsOutput(tags) | WordTagsOutput(tags):
            return len(tags)
        case ContinuationOutput(vocabulary) | TextOutput(vocabulary) | BlanksOutput(vocabulary):
            return vocabulary
        case SpanOutput():
            return 2
        case ValueOutput() | None:
            return 1
