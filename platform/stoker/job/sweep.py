"""Settings of `sweep`: the search space, the search algorithm and the scheduler that ends trials early."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from stoker.job.section import Section, Shorthand, Span, Time
from stoker.job.task import Direction

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Points = Annotated[tuple[dict[str, Any], ...], Field(strict=False)]


class SweepMetric(Section):
    """A metric by which the trials are compared."""

    name: str = Field(min_length=1)
    """A metric such as accuracy/val; in a list also `parameters`, the size of the network, or `seconds`, the time of
    the trial."""

    direction: Direction | None = None
    """Whether larger (max) or smaller (min) values are better; only needed for a term of your own loss."""


SweepMetricChoice = Annotated[SweepMetric, Shorthand("name")]


def _list(value: object) -> object:
    return value if value is None or isinstance(value, (list, tuple)) else [value]


class RandomSearch(Section):
    """Random search: every point is drawn independently (Bergstra and Bengio 2012)."""

    type: Literal["random"]
    """The search algorithm."""
    seed: Seed = 0
    """Random seed; the same seed gives the same points."""
    first: Points = ()
    """Points to try first, each an object of dotted paths and values; values that a point omits are drawn."""


class GridSearch(Section):
    """Grid search: every point of a finite space, in order; each range needs a `step` or a `power`."""

    type: Literal["grid"]
    """The search algorithm."""


class SobolSearch(Section):
    """A scrambled Sobol sequence (Owen 1998): covers the space more evenly than random search."""

    type: Literal["sobol"]
    """The search algorithm."""
    seed: Seed = 0
    """Random seed; the same seed gives the same points."""
    first: Points = ()
    """Points to try first, each an object of dotted paths and values; values that a point omits are drawn."""


class TpeSearch(Section):
    """Tree-structured Parzen estimator (Bergstra et al. 2011): draws near the good trials so far; for any space."""

    type: Literal["tpe"]
    """The search algorithm."""
    seed: Seed = 0
    """Random seed; the same seed gives the same points if `sweep.parallel` is 1."""
    first: Points = ()
    """Points to try first, each an object of dotted paths and values; values that a point omits are drawn."""


class CmaesSearch(Section):
    """Covariance matrix adaptation (Hansen 2016): for two or more ranges and many trials; choices are random."""

    type: Literal["cmaes"]
    """The search algorithm."""
    seed: Seed = 0
    """Random seed; the same seed gives the same points if `sweep.parallel` is 1."""
    first: Points = ()
    """Points to try first, each an object of dotted paths and values; values that a point omits are drawn."""


class GpSearch(Section):
    """Bayesian optimization with a Gaussian process and expected improvement: for few, expensive trials."""

    type: Literal["gp"]
    """The search algorithm."""
    seed: Seed = 0
    """Random seed; the same seed gives the same points if `sweep.parallel` is 1."""
    first: Points = ()
    """Points to try first, each an object of dotted paths and values; values that a point omits are drawn."""


SearchSettings = Annotated[
    RandomSearch | GridSearch | SobolSearch | TpeSearch | CmaesSearch | GpSearch, Field(discriminator="type")
]
SearchChoice = Annotated[SearchSettings, Shorthand("type")]


class NoScheduler(Section):
    """No scheduler: every trial trains to its end."""

    type: Literal["none"]
    """The scheduler."""


class Asha(Section):
    """Asynchronous successive halving (Li et al. 2020): at each rung only the best trials continue."""

    type: Literal["asha"]
    """The scheduler."""
    min: Span = "1 epoch"
    """The first rung, in whole epochs: every trial trains at least this long."""
    reduction: int = Field(3, ge=2, le=100)
    """With 3, one trial in 3 continues to the next rung, and each rung is 3 times as long as the one before."""


class MedianStopping(Section):
    """Median stopping (Golovin et al. 2017): ends a trial whose best value is worse than the others' median mean."""

    type: Literal["median"]
    """The scheduler."""
    min: Span = "1 epoch"
    """Every trial trains at least this long, in whole epochs."""
    trials: int = Field(3, ge=1, le=10_000)
    """Number of other trials that must have reached the same epoch before a trial can be ended."""


class Hyperband(Section):
    """Hyperband (Li et al. 2018): successive halving with several first rungs; trials pause until others catch up."""

    type: Literal["hyperband"]
    """The scheduler."""
    reduction: int = Field(3, ge=2, le=100)
    """With 3, one trial in 3 continues to the next rung, and each rung is 3 times as long as the one before."""


class Pbt(Section):
    """Population based training (Jaderberg et al. 2017): replaces the worst trials by mutated copies of the best."""

    type: Literal["pbt"]
    """The scheduler."""
    every: Span = "1 epoch"
    """Interval between two exchanges, in whole epochs."""
    quantile: float = Field(0.25, gt=0, le=0.5)
    """Fraction of the trials that is replaced at an exchange: 0.25 replaces the worst quarter by copies of the best."""
    resample: float = Field(0.25, ge=0, le=1)
    """Probability that a copied value is drawn again from its range; otherwise it changes by 20%."""


class Pb2(Section):
    """Population based bandits (Parker-Holder et al. 2020): as pbt, but a Gaussian process proposes the new values."""

    type: Literal["pb2"]
    """The scheduler."""
    every: Span = "1 epoch"
    """Interval between two exchanges, in whole epochs."""
    quantile: float = Field(0.25, gt=0, le=0.5)
    """Fraction of the trials that is replaced at an exchange: 0.25 replaces the worst quarter by copies of the best."""


SchedulerSettings = Annotated[NoScheduler | Asha | MedianStopping | Hyperband | Pbt | Pb2, Field(discriminator="type")]
SchedulerChoice = Annotated[SchedulerSettings, Shorthand("type")]


class Sweep(Section):
    """Hyperparameter search: many trials of the job with varied values, until `trials` or `time` is reached."""

    metric: (
        Annotated[
            tuple[SweepMetricChoice, ...],
            Field(strict=False, min_length=1, max_length=4),
            BeforeValidator(_list, json_schema_input_type=SweepMetricChoice | list[SweepMetricChoice]),
        ]
        | None
    ) = None
    """Metric by which the trials are compared, such as accuracy/val. A list of up to 4 gives a Pareto front: the trials
    that no other trial beats in every metric. Default: the metric of `training.checkpoint.best`, or the task's."""

    trials: int | None = Field(None, ge=1, le=100_000)
    """Number of trials; required unless `time` is given or `search` is grid."""

    parallel: int | None = Field(None, ge=1, le=4096)
    """Number of trials that train at the same time, each with its own `resources`. Default: as many as fit; on
    Kubernetes, where every worker of a trial gets a pod, set by the administrator."""

    time: Time | None = None
    """Time limit of the whole sweep, such as `2 h`. When it expires, running trials are ended and no new one starts."""

    search: SearchChoice = Field("random", validate_default=True)
    """Algorithm that chooses the next point: random, grid, sobol, tpe, cmaes or gp."""

    scheduler: SchedulerChoice = Field("none", validate_default=True)
    """Algorithm that ends or replaces poor trials early: none, asha, median, hyperband, pbt or pb2."""

    failures: int = Field(5, ge=1, le=100_000)
    """Number of failed trials that ends the sweep."""

    keep: int = Field(1, ge=1, le=1000)
    """Number of best trials whose checkpoints are kept; the records of all trials are kept."""

    space: dict[str, Any] = Field(min_length=1)
    """The search space: maps each dotted path of the job to a list (a choice of values, lists or whole objects), to a
    range `{min, max}` that includes both ends and may have `log: true`, `step` or `power`, or to `{from: EXPRESSION}`,
    a value computed from others."""

    where: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Conditions that every point must meet, such as `training.batch_size <= 128`. An expression may use dotted paths
    of the job, numbers, strings, lists, `and`, `or`, `not`, comparisons, arithmetic, and the functions min, max, abs,
    round, len and int."""
