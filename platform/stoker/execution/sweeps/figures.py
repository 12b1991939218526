"""Figures of a sweep's search: history, importances, parallel coordinates, slices, contours and Pareto front."""

import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.exceptions import ExperimentalWarning
from optuna.importance import get_param_importances
from optuna.trial import TrialState, create_trial
from optuna.visualization import matplotlib as plots

from stoker.execution.sweeps.axis_formatting import (
    format_choices,
    format_log_scale,
    format_parallel_axes,
    use_integer_ticks,
    wrap_path,
)

DPI = 110
HEIGHT = 4.8
"""Inches."""
AXIS_WIDTH = 2.4
"""Inches of width per parameter in figures with parameters side by side."""
MAX_AXES = 8
"""Further parameters, the least important ones, are left out."""


@dataclass(frozen=True)
class MetricStudy:
    """A study of one of the metrics of a study."""

    study: optuna.Study
    metric: str
    values: tuple[float, ...]
    """Of the completed trials."""
    params: tuple[str, ...]
    """Varied parameters, the most important first."""


def draw_figures(study: optuna.Study, folder: Path, metrics: Sequence[str]) -> list[Path]:
    """Draw the figures as PNG files and return their paths; figures that cannot be drawn are logged.

    Args:
        study: with its trials.
        folder: created if it is missing.
        metrics: names of the study's values, in their order.

    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for number, metric in enumerate(metrics):
        suffix = f"-{metric.replace('/', '-')}" if len(metrics) > 1 else ""
        with _canvas():
            search = _search(study, number, metric)
        for name, draw in FIGURES.items():
            drawn += _draw(folder / f"{name}{suffix}.png", partial(draw, search))
    if len(metrics) > 1:
        drawn += _draw(folder / "pareto-front.png", partial(_pareto_front, study, metrics))
    return drawn


def _draw(path: Path, draw: Callable[[], Figure]) -> list[Path]:
    """Draw one figure; a failure is only logged, since the sweep's result does not depend on it."""
    with _canvas():
        try:
            figure = draw()
            figure.savefig(path, dpi=DPI, bbox_inches="tight")
        except Exception as error:
            print(f"no figure {path.stem}: {error}", file=sys.stderr)  # noqa: T201 - the driver's log
            return []
    return [path]


@contextmanager
def _canvas() -> Iterator[None]:
    """Draw off-screen, and restore the style and close the figures that Optuna sets for the whole process."""
    before = set(plt.get_fignums())
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="matplotlib|optuna")
        plt.switch_backend("Agg")
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)


def _search(study: optuna.Study, number: int, metric: str) -> MetricStudy:
    """Collect the data for one metric's figures."""
    alone = _alone(study, number)
    whole = alone.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    varied: dict[str, set[str]] = {}
    for trial in whole:
        for name, value in trial.params.items():
            varied.setdefault(name, set()).add(repr(value))
    params = [name for name, seen in varied.items() if len(seen) > 1]
    try:
        importances = get_param_importances(alone, params=params)
    except Exception:  # too few trials, or constant values
        importances = {}
    ordered = sorted(params, key=lambda name: (-importances.get(name, 0.0), name))
    return MetricStudy(alone, metric, tuple(trial.values[0] for trial in whole), tuple(ordered))


def _alone(study: optuna.Study, number: int) -> optuna.Study:
    """Return a copy of a study with one of its metrics, since Optuna defines no best trial for several."""
    alone = optuna.create_study(direction=study.directions[number])
    for trial in study.get_trials(deepcopy=False):
        whole = trial.state is TrialState.COMPLETE and math.isfinite(trial.values[number])
        alone.add_trial(
            create_trial(
                state=TrialState.COMPLETE if whole else TrialState.FAIL,
                value=trial.values[number] if whole else None,
                params=trial.params,
                distributions=trial.distributions,
            )
        )
    return alone


def _require(search: MetricStudy, trials: int, params: int, varied: bool = True) -> None:
    """Raise ValueError where Optuna would draw an empty figure."""
    if len(search.values) < trials:
        raise ValueError(f"{len(search.values)} completed trials are too few")
    if varied and len(set(search.values)) == 1:
        raise ValueError(f"{search.metric} is the same in all trials")
    if len(search.params) < params:
        raise ValueError(f"{len(search.params)} varied parameters are too few")


def _optimization_history(search: MetricStudy) -> Figure:
    _require(search, trials=1, params=0, varied=False)
    axes = plots.plot_optimization_history(search.study, target_name=search.metric)
    axes.set(title=f"{search.metric} by trial", xlabel="trial")
    axes.legend(loc="best")
    use_integer_ticks(axes)
    return _sized(axes, 8.0)


def _importances(search: MetricStudy) -> Figure:
    _require(search, trials=4, params=1)
    axes = plots.plot_param_importances(search.study, target_name=search.metric, params=list(search.params))
    axes.set_title(f"what {search.metric} depends on", loc="left")
    axes.set(xlabel="importance", ylabel="")
    if legend := axes.get_legend():
        legend.remove()
    return _sized(axes, 8.0, 1.2 + 0.45 * len(search.params))


def _parallel_coordinates(search: MetricStudy) -> Figure:
    _require(search, trials=2, params=1)
    shown = sorted(search.params[:MAX_AXES])  # the order in which Optuna draws
    axes = plots.plot_parallel_coordinate(search.study, params=shown, target_name=search.metric)
    axes.set_title("")
    format_parallel_axes(axes, [search.metric, *shown])
    return _sized(axes, 3.0 + AXIS_WIDTH * len(shown))


def _slice(search: MetricStudy) -> Figure:
    _require(search, trials=2, params=1, varied=False)
    shown = list(search.params[:MAX_AXES])
    found = plots.plot_slice(search.study, params=shown, target_name=search.metric)
    every: list[Axes] = [found] if isinstance(found, Axes) else list(found)
    for axes in every:
        axes.set(title="", xlabel=wrap_path(axes.get_xlabel()))
        format_log_scale(axes.xaxis, 3)
        format_choices(axes)
        axes.tick_params(axis="x", labelsize="small")
    figure = _sized(every[0], 2.0 + AXIS_WIDTH * len(shown))
    figure.suptitle("")
    return figure


def _contour(search: MetricStudy) -> Figure:
    _require(search, trials=4, params=2)
    found = plots.plot_contour(search.study, params=list(search.params[:2]), target_name=search.metric)
    assert isinstance(found, Axes)  # two parameters make one plot
    found.set_title(f"{search.metric} by what it depends on most")
    format_log_scale(found.xaxis, 5)
    format_log_scale(found.yaxis, 5)
    format_choices(found)
    return _sized(found, 8.0, 6.0)


def _pareto_front(study: optuna.Study, metrics: Sequence[str]) -> Figure:
    axes = plots.plot_pareto_front(study, target_names=list(metrics))
    axes.set_title("trials that no other one beats in every metric")
    return _sized(axes, 8.0, 6.0)


def _sized(axes: Axes, width: float, height: float = HEIGHT) -> Figure:
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.set_size_inches(width, height)
    return figure


FIGURES: dict[str, Callable[[MetricStudy], Figure]] = {
    "optimization-history": _optimization_history,
    "importances": _importances,
    "parallel-coordinates": _parallel_coordinates,
    "slice": _slice,
    "contour": _contour,
}
"""By file name."""
