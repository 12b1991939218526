"""Limits of the samples that are computed at once in evaluation and prediction."""

from stoker.job.signature import ContinuationOutput, MaskOutput, Signature, TextOutput

MAX_BATCH, MAX_IMAGE_BATCH = 8192, 256
"""Most samples per batch in evaluation and prediction."""
MAX_VALUES = 50_000_000
"""Most activations held at a time for a batch of images: 200 MB in float32."""
MAX_TOKENS = 1 << 15
"""Most tokens, padding included, of a batch of texts in evaluation and prediction."""
CHARACTER_FEATURES = 64
"""Rough number of activations held at a time per character of a word."""
MAPS = 16
"""Rough number of activations held at a time per value of an image."""


def batch_limit(signature: Signature) -> int:
    """Return the batch size of evaluation and prediction, by the size of images and of outputs."""
    images = signature.images.values()
    most = MAX_BATCH
    if length := sum(shape.length for shape in signature.texts.values()):
        most = min(most, MAX_TOKENS // length)
        if isinstance(signature.output, ContinuationOutput):
            most = min(most, MAX_VALUES // (length * signature.output.vocabulary))
    pairs = [shape.length for shape in signature.pairs.values()]
    if cut := [*pairs, *(shape.length for shape in signature.pieces.values())]:
        most = min(most, MAX_TOKENS // max(cut))
    if sentences := signature.sentences.values():
        characters = max(shape.length * (1 + shape.characters) for shape in sentences)
        most = min(most, MAX_VALUES // (CHARACTER_FEATURES * characters))
    if isinstance(signature.output, TextOutput):
        most = min(most, MAX_VALUES // (signature.output.longest * signature.output.vocabulary))
    if not images:
        return max(1, most)
    pixels = sum(shape.height * shape.width for shape in images)
    largest = max(sum(shape.channels * shape.height * shape.width for shape in images), pixels)
    if isinstance(signature.output, MaskOutput):
        largest = max(largest, pixels * len(signature.output.classes))
    return max(1, min(MAX_IMAGE_BATCH, MAX_VALUES // (MAPS * largest)))


def text_limit(signature: Signature, activations: int) -> int:
    """Return the most samples that are computed at once by a network with wide layers.

    Args:
        signature: with texts.
        activations: numbers that its widest layer puts out for a token.

    """
    tokens = sum(shape.length for shape in signature.tokens)
    return max(1, MAX_VALUES // (activations * max(tokens, 1)))
