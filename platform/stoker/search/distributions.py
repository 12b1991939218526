"""Conversion of dimensions and their values to Optuna's distributions, and back."""

from typing import Any

from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from stoker.jobfile.space.dimension import Dimension, Options, Range


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Return the distribution that a sampler draws from: option indices, indices of steps or powers, or numbers."""
    domain = dimension.domain
    if isinstance(domain, Options):
        return CategoricalDistribution(tuple(range(len(domain.values))))
    if _by_index(domain):
        return IntDistribution(0, _count(domain) - 1)
    if domain.integer:
        return IntDistribution(int(domain.minimum), int(domain.maximum), log=domain.log)
    return FloatDistribution(domain.minimum, domain.maximum, log=domain.log)


def coordinate_of(dimension: Dimension, drawn: Any) -> Any:
    """Return the coordinate of a point for a value that a sampler drew."""
    domain = dimension.domain
    if isinstance(domain, Options):
        return int(drawn)
    if _by_index(domain):
        return domain.at(int(drawn))
    return int(drawn) if domain.integer else float(drawn)


def sampler_value_of(dimension: Dimension, coordinate: Any) -> Any:
    """Return the value that a sampler would have drawn for the coordinate of a point."""
    domain = dimension.domain
    return domain.index(coordinate) if isinstance(domain, Range) and _by_index(domain) else coordinate


def shown_distribution(dimension: Dimension) -> BaseDistribution:
    """Return the distribution shown in figures: labels of options, and the numbers themselves."""
    domain = dimension.domain
    if isinstance(domain, Options):
        return CategoricalDistribution(tuple(shown_value(dimension, index) for index in range(len(domain.values))))
    low, high = domain.ends()
    log = domain.log or (domain.power is not None and low > 0)
    return IntDistribution(int(low), int(high), log=log) if domain.integer else FloatDistribution(low, high, log=log)


def shown_value(dimension: Dimension, coordinate: Any) -> Any:
    """Return the value shown in figures for a coordinate."""
    domain = dimension.domain
    return domain.label(coordinate) if isinstance(domain, Options) else coordinate


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    """Record in an Optuna trial the value that its sampler drew."""
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def _by_index(domain: Range) -> bool:
    return domain.power is not None or domain.step is not None


def _count(domain: Range) -> int:
    assert domain.count is not None
    return domain.count
