"""Vectors of tokens from the texts in which they occur together."""

import numpy as np
import pytest

from stoker.datasets.tokens.cooccurrence import cooccurrence_vectors
from stoker.datasets.tokens.tokenizer import MASK, SPECIAL

COLD, WARM, EVERYWHERE = range(4, 12), range(12, 20), (20, 21)
VOCABULARY, WIDTH = 24, 6


def topics(count: int = 300, seed: int = 0) -> np.ndarray:
    """Texts with words of one topic and words of all, padded; two tokens occur nowhere."""
    rng = np.random.default_rng(seed)
    texts = np.zeros((count, 8), np.int64)
    for row, text in enumerate(texts):
        words = rng.choice(WARM if row % 2 else COLD, 3, replace=False)
        text[:5] = rng.permutation([*words, *EVERYWHERE])
    return texts


def likeness(vectors: np.ndarray) -> np.ndarray:
    """Return the cosines of all pairs of vectors."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)
    return units @ units.T


def test_words_of_one_topic_are_near_each_other_and_far_from_others():
    cosines = likeness(cooccurrence_vectors([topics()], VOCABULARY, WIDTH))
    within = [cosines[a, b] for topic in (COLD, WARM) for a in topic for b in topic if a != b]
    across = [cosines[a, b] for a in COLD for b in WARM]
    assert np.mean(within) > 0.5
    assert np.mean(across) < 0.1
    assert min(within) > max(across)


def test_vectors_depend_neither_on_chunks_nor_on_order_in_a_text():
    texts = topics()
    whole = cooccurrence_vectors([texts], VOCABULARY, WIDTH)
    assert whole.dtype == np.float32
    assert whole.shape == (VOCABULARY, WIDTH)
    assert np.square(whole[4:22]).mean() == pytest.approx(1, rel=1e-5)
    chunks = [texts[:7, :6], texts[7:7], texts[7:]]
    assert cooccurrence_vectors(chunks, VOCABULARY, WIDTH).tobytes() == whole.tobytes()
    turned = np.concatenate([texts[:, 4::-1], texts[:, :3]], axis=1)  # some words twice
    assert cooccurrence_vectors([turned], VOCABULARY, WIDTH).tobytes() == whole.tobytes()


def test_tokens_that_occur_with_no_other_have_no_vector():
    texts = topics()
    texts[0] = 0
    texts[0, 0] = 22  # a text of one word
    texts[:, 7] = MASK
    vectors = cooccurrence_vectors([texts], VOCABULARY, WIDTH)
    assert vectors.any(axis=1).tolist() == [False] * SPECIAL + [True] * 18 + [False] * 2
    alone = np.array([[5, 5, 0], [6, 0, 0], [1, 7, 0]])
    assert not cooccurrence_vectors([alone], VOCABULARY, WIDTH).any()
    assert not cooccurrence_vectors([np.zeros((2, 3), np.int64)], VOCABULARY, WIDTH).any()


def test_a_few_words_fill_as_many_numbers_as_they_have_directions():
    vectors = cooccurrence_vectors([np.array([[4, 5], [6, 7], [4, 6]])], 8, 32)
    assert vectors.shape == (8, 32)
    assert vectors.any(axis=0).sum() <= 4
    assert np.isfinite(vectors).all()
    cosines = likeness(vectors)
    assert cosines[4, 7] > 0.1, "both occur with 6"
    assert abs(cosines[4, 6]) < 1e-5, "they occur together, but with no third one"
