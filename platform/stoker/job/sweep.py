"""A sweep: what is varied over many trials of one job, how the next point is found, and which trials end early."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from stoker.job.section import Section, Shorthand, Span, Time
from stoker.job.task import Direction

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Points = Annotated[tuple[dict[str, Any], ...], Field(strict=False)]


class Goal(Section):
    """What the trials are compared by."""

    name: str = Field(min_length=1)
    """A metric such as accuracy/val; in a list also `parameters` (of the network) or `seconds` (of the trial)."""

    direction: Direction | None = None
    """Whether larger (max) or smaller (min) is better; known but for the terms of a loss of your own."""


GoalChoice = Annotated[Goal, Shorthand("name")]


def _list(value: object) -> object:
    return value if value is None or isinstance(value, (list, tuple)) else [value]


class RandomSearch(Section):
    """Every point is drawn on its own."""

    type: Literal["random"]
    """How the next point is found."""
    seed: Seed = 0
    """The same seed gives the same points."""
    first: Points = ()
    """Points to try first, each an object of paths and values; what a point leaves out is drawn."""


class GridSearch(Section):
    """Every point of a space of choices and steps, in order."""

    type: Literal["grid"]
    """How the next point is found."""


class SobolSearch(Section):
    """A scrambled Sobol sequence (Owen 1998): it fills the space more evenly than chance."""

    type: Literal["sobol"]
    """How the next point is found."""
    seed: Seed = 0
    """The same seed gives the same points."""
    first: Points = ()
    """Points to try first, each an object of paths and values; what a point leaves out is drawn."""


class TpeSearch(Section):
    """Tree-structured Parzen estimator (Bergstra et al. 2011): draws where good trials are dense; for any space."""

    type: Literal["tpe"]
    """How the next point is found."""
    seed: Seed = 0
    """The same seed gives the same points where `sweep.parallel` is 1."""
    first: Points = ()
    """Points to try first, each an object of paths and values; what a point leaves out is drawn."""


class CmaesSearch(Section):
    """Covariance matrix adaptation (Hansen 2016): for two or more ranges and many trials; choices are drawn."""

    type: Literal["cmaes"]
    """How the next point is found."""
    seed: Seed = 0
    """The same seed gives the same points where `sweep.parallel` is 1."""
    first: Points = ()
    """Points to try first, each an object of paths and values; what a point leaves out is drawn."""


class GpSearch(Section):
    """A Gaussian process with expected improvement: for few, long trials."""

    type: Literal["gp"]
    """How the next point is found."""
    seed: Seed = 0
    """The same seed gives the same points where `sweep.parallel` is 1."""
    first: Points = ()
    """Points to try first, each an object of paths and values; what a point leaves out is drawn."""


SearchSettings = Annotated[
    RandomSearch | GridSearch | SobolSearch | TpeSearch | CmaesSearch | GpSearch, Field(discriminator="type")
]
SearchChoice = Annotated[SearchSettings, Shorthand("type")]


class NoScheduler(Section):
    """Every trial trains to its end."""

    type: Literal["none"]
    """Which trials end early."""


class Asha(Section):
    """Successive halving without waiting (Li et al. 2020): at each rung the best share goes on."""

    type: Literal["asha"]
    """Which trials end early."""
    min: Span = "1 epoch"
    """What every trial trains for, in whole epochs: the first rung."""
    reduction: int = Field(3, ge=2, le=100)
    """One in so many goes on to the next rung, which is so many times as far."""


class MedianStopping(Section):
    """A trial ends when its best is worse than the median of the others' means so far (Golovin et al. 2017)."""

    type: Literal["median"]
    """Which trials end early."""
    min: Span = "1 epoch"
    """What every trial trains for, in whole epochs."""
    trials: int = Field(3, ge=1, le=10_000)
    """How many other trials must have come as far before one is ended."""


class Hyperband(Section):
    """Successive halving from several starts (Li et al. 2018); trials wait for each other, paused."""

    type: Literal["hyperband"]
    """Which trials end early."""
    reduction: int = Field(3, ge=2, le=100)
    """One in so many goes on to the next rung, which is so many times as far."""


class Pbt(Section):
    """Population based training (Jaderberg et al. 2017): bad trials go on as changed copies of good ones."""

    type: Literal["pbt"]
    """Which trials end early."""
    every: Span = "1 epoch"
    """Distance between two exchanges, in whole epochs."""
    quantile: float = Field(0.25, gt=0, le=0.5)
    """Share of the trials that is replaced by an equal share of the best."""
    resample: float = Field(0.25, ge=0, le=1)
    """Probability that a value is drawn anew instead of changed by a fifth."""


class Pb2(Section):
    """Population based bandits (Parker-Holder et al. 2020): as pbt, with new values from a Gaussian process."""

    type: Literal["pb2"]
    """Which trials end early."""
    every: Span = "1 epoch"
    """Distance between two exchanges, in whole epochs."""
    quantile: float = Field(0.25, gt=0, le=0.5)
    """Share of the trials that is replaced by an equal share of the best."""


SchedulerSettings = Annotated[NoScheduler | Asha | MedianStopping | Hyperband | Pbt | Pb2, Field(discriminator="type")]
SchedulerChoice = Annotated[SchedulerSettings, Shorthand("type")]


class Sweep(Section):
    """Many trials of the job, each with other values. The first of trials and time that is reached ends it."""

    metric: (
        Annotated[
            tuple[GoalChoice, ...],
            Field(strict=False, min_length=1, max_length=4),
            BeforeValidator(_list, json_schema_input_type=GoalChoice | list[GoalChoice]),
        ]
        | None
    ) = None
    """What the trials are compared by, or a list of it for the trials that no other beats in all; default: the metric
    of `training.checkpoint.best`, or the task's."""

    trials: int | None = Field(None, ge=1, le=100_000)
    """How many points are tried; needed unless `time` is given or `search` is grid."""

    parallel: int | None = Field(None, ge=1, le=4096)
    """How many trials train at once, each with `resources`; default: as many as fit, and on Kubernetes as many as its
    administrator says: each worker of each trial gets a pod."""

    time: Time | None = None
    """Time of the whole sweep, such as `2 h`; at its end no new trial begins and those that train are ended."""

    search: SearchChoice = Field("random", validate_default=True)
    """How the next point is found: random, grid, sobol, tpe, cmaes or gp."""

    scheduler: SchedulerChoice = Field("none", validate_default=True)
    """Which trials end early: none, asha, median, hyperband, pbt or pb2."""

    failures: int = Field(5, ge=1, le=100_000)
    """So many failed trials end the sweep."""

    keep: int = Field(1, ge=1, le=1000)
    """Of how many of the best trials the checkpoints are kept."""

    space: dict[str, Any] = Field(min_length=1)
    """What is varied: for each dotted path of the job a list (a choice of values, lists or whole objects), a range
    `{min, max}` with `log: true`, `step` or `power` (both ends belong to it), or `{from: EXPRESSION}`."""

    where: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Conditions that every point must meet, such as `training.batch_size <= 128`; in them stand dotted paths of the
    job, numbers, texts, lists, `and`, `or`, `not`, comparisons, arithmetic, and min, max, abs, round, len, int."""
