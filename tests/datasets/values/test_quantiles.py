"""Numbers by their rank, and back."""

import numpy as np
import pytest

from stoker.datasets.values.quantiles import MOST, decimals_of, from_normal_scores, normal_scores, quantiles_of

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("values", [RNG.exponential(5, 300), RNG.lognormal(0, 3, 5 * MOST)])
def test_scores_of_any_distribution_are_normal_and_lead_back(values):
    quantiles = quantiles_of(values)
    scores = normal_scores(values, quantiles)
    assert (scores.mean(), scores.std()) == pytest.approx((0, 1), abs=0.03)
    assert np.array_equal(np.argsort(scores, kind="stable")[:5], np.argsort(values, kind="stable")[:5])
    inner = np.abs(scores) < 2.5  # the outermost quantiles lie far apart
    assert from_normal_scores(scores, quantiles)[inner] == pytest.approx(values[inner], rel=1e-6)


def test_a_frequent_value_has_one_score_and_takes_the_ranks_around_it():
    values = np.array([0.0] * 60 + [1.0] * 30 + [7.0] * 10)
    quantiles = quantiles_of(values)
    scores = normal_scores(np.array([0.0, 1.0, 7.0]), quantiles)
    assert scores == pytest.approx([-0.524, 0.674, 1.645], abs=0.02)  # of the ranks 0.3, 0.75 and 0.95
    made = from_normal_scores(RNG.normal(size=20_000), quantiles)
    assert [(made == value).mean() for value in (0, 1, 7)] == pytest.approx([0.6, 0.3, 0.1], abs=0.02)


def test_no_score_leads_beyond_the_known_values():
    quantiles = quantiles_of(np.array([3.0, 4.0, 9.0]))
    assert from_normal_scores(np.array([-50.0, 0.0, 50.0]), quantiles).tolist() == [3.0, 4.0, 9.0]


@pytest.mark.parametrize(("values", "count"), [([1, 20], 0), ([1.5, 2], 1), ([0.125], 3), ([1 / 3], None)])
def test_decimals_are_those_that_all_values_have(values, count):
    assert decimals_of(np.array(values, float)) == count
