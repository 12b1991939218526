"""Numbers by their rank: quantiles of known values, and the normal scores that stand for them."""

import numpy as np
import torch

MOST = 1000
"""Quantiles that are kept of a column."""
MOST_DECIMALS = 6


def quantiles_of(values: np.ndarray) -> tuple[float, ...]:
    """Return quantiles of (N,) values from the smallest to the largest: all values, or `MOST` of them."""
    return tuple(np.quantile(values, np.linspace(0, 1, min(len(values), MOST))).tolist())


def normal_scores(values: np.ndarray, quantiles: tuple[float, ...]) -> np.ndarray:
    """Return what (N,) values would be if all had a normal distribution; equal values get the middle of their ranks."""
    known, ranks = np.array(quantiles), _ranks(len(quantiles))
    below = np.interp(values, known, ranks)
    above = 1 - np.interp(-values, -known[::-1], ranks)
    scores: np.ndarray = torch.special.ndtri(torch.from_numpy((below + above) / 2)).numpy()
    return scores


def from_normal_scores(scores: np.ndarray, quantiles: tuple[float, ...]) -> np.ndarray:
    """Return the values that (N,) normal scores stand for, none beyond the known ones."""
    ranks = torch.special.ndtr(torch.from_numpy(scores.astype(np.float64))).numpy()
    values: np.ndarray = np.interp(ranks, _ranks(len(quantiles)), np.array(quantiles))
    return values


def decimals_of(values: np.ndarray) -> int | None:
    """Return how many decimals (N,) values have; None for more than are written by hand."""
    fitting = (count for count in range(MOST_DECIMALS + 1) if np.array_equal(np.round(values, count), values))
    return next(fitting, None)


def _ranks(count: int) -> np.ndarray:
    """Return the rank of each of some quantiles, none of them 0 or 1, whose normal scores are infinite."""
    return (np.arange(count) + 0.5) / count
