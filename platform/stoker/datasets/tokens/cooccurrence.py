"""Vectors of tokens, from the texts in which they occur together."""

from collections.abc import Iterable

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_array, vstack

from stoker.datasets.tokens.tokenizer import SPECIAL

CONTEXTS = 2_000
"""Most frequent tokens, with which all others are counted: rarer ones add noise."""
SMOOTHING = 0.75
"""Power of the frequency of a context: otherwise the rare ones weigh too much (Levy, Goldberg and Dagan 2015)."""
NEGLIGIBLE = 1e-5
"""Share of the largest eigenvalue below which others are rounding errors of float32."""


def cooccurrence_vectors(texts: Iterable[np.ndarray], vocabulary: int, width: int) -> np.ndarray:
    """Return vectors by which tokens of the same texts are near each other (Levy and Goldberg 2014).

    The positive pointwise mutual information of a token and a context, which is how much more often than by chance they
    occur in one text, is reduced to its largest singular values. The same texts always give the same vectors.

    Args:
        texts: (B, length) token numbers, padded with 0.
        vocabulary: number of tokens.
        width: numbers of a vector.

    Returns:
        (vocabulary, width) float32 with a mean square of 1; zeros for a token that occurs with no other, and where the
        texts have fewer directions than the width.

    """
    there = vstack([_occurrences(chunk, vocabulary) for chunk in texts], format="csr")
    frequency = there.sum(axis=0)
    contexts = np.sort(np.argsort(-frequency, kind="stable")[:CONTEXTS])
    together = (there.T @ there[:, contexts]).toarray()
    together[contexts, np.arange(len(contexts))] = 0  # a token with itself
    vectors = _compressed(_information(together), width)
    known = vectors.any(axis=1)
    return vectors / np.sqrt(np.square(vectors[known]).mean()) if known.any() else vectors


def _occurrences(texts: np.ndarray, vocabulary: int) -> csr_array:
    """Return (B, vocabulary) 1 for each token that a text contains, without the special ones."""
    rows, places = (texts >= SPECIAL).nonzero()
    shape = (len(texts), vocabulary)
    found = csr_array((np.ones(len(rows), np.float32), (rows, texts[rows, places])), shape=shape)
    found.sum_duplicates()
    found.data[:] = 1
    return found


def _information(together: np.ndarray) -> np.ndarray:
    """Return the positive pointwise mutual information in nats from (tokens, contexts) counts."""
    of_contexts = together.sum(axis=0, dtype=np.float64) ** SMOOTHING
    expected = np.outer(together.sum(axis=1, dtype=np.float64), of_contexts / max(of_contexts.sum(), 1.0))
    found = together > 0
    information = np.zeros_like(together)
    information[found] = np.log(together[found] / expected[found]).clip(min=0)
    return information


def _compressed(matrix: np.ndarray, width: int) -> np.ndarray:
    """Return (rows, width) left singular vectors, times the roots of their values."""
    count = matrix.shape[1]
    squares, directions = eigh(matrix.T @ matrix, subset_by_index=(max(count - width, 0), count - 1))
    kept = squares > NEGLIGIBLE * squares.max()
    vectors = np.zeros((len(matrix), width), np.float32)
    vectors[:, : kept.sum()] = matrix @ directions[:, kept] / squares[kept] ** 0.25
    return vectors
