"""What a dimension is to Optuna, and back."""

from typing import Any

from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from stoker.jobfile.space.dimension import Dimension, Options, Range


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Return what a sampler draws: an option's index, the place of a value in steps or powers, or the number itself."""
    domain = dimension.domain
    if isinstance(domain, Options):
        return CategoricalDistribution(tuple(range(len(domain.values))))
    if _by_place(domain):
        return IntDistribution(0, _count(domain) - 1)
    if domain.integer:
        return IntDistribution(int(domain.minimum), int(domain.maximum), log=domain.log)
    return FloatDistribution(domain.minimum, domain.maximum, log=domain.log)


def pick_of(dimension: Dimension, drawn: Any) -> Any:
    """Turn what a sampler drew into the pick of a point."""
    domain = dimension.domain
    if isinstance(domain, Options):
        return int(drawn)
    if _by_place(domain):
        return domain.at(int(drawn))
    return int(drawn) if domain.integer else float(drawn)


def drawn_of(dimension: Dimension, pick: Any) -> Any:
    """Turn the pick of a point into what a sampler would have drawn."""
    domain = dimension.domain
    return domain.index(pick) if isinstance(domain, Range) and _by_place(domain) else pick


def shown_distribution(dimension: Dimension) -> BaseDistribution:
    """Return a distribution of what people read in a figure: labels and the numbers themselves."""
    domain = dimension.domain
    if isinstance(domain, Options):
        return CategoricalDistribution(tuple(shown_pick(dimension, index) for index in range(len(domain.values))))
    low, high = domain.ends()
    log = domain.log or (domain.power is not None and low > 0)
    return IntDistribution(int(low), int(high), log=log) if domain.integer else FloatDistribution(low, high, log=log)


def shown_pick(dimension: Dimension, pick: Any) -> Any:
    """Return what people read for a pick."""
    domain = dimension.domain
    return domain.label(pick) if isinstance(domain, Options) else pick


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    """Note in the trial what its sampler drew."""
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def _by_place(domain: Range) -> bool:
    return domain.power is not None or domain.step is not None


def _count(domain: Range) -> int:
    assert domain.count is not None
    return domain.count
