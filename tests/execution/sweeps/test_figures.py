"""Figures of a sweep's search."""

import warnings

import matplotlib
import matplotlib.pyplot as plt
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from PIL import Image

from stoker.execution.sweeps.axis_formatting import round_ticks, wrap_path
from stoker.execution.sweeps.figures import draw_figures

SPACE = {
    "training.optimizer.lr": FloatDistribution(1e-5, 1e-1, log=True),
    "architecture.hidden": CategoricalDistribution(["[32, 32]", "[64, 64]", "[128, 128, 128]"]),
    "training.batch_size": IntDistribution(16, 256),
}
EVERY = ["optimization-history", "importances", "parallel-coordinates", "slice", "contour"]


def study_of(trials, directions=("maximize",), values=None):
    """Create a study in which every fifth trial was stopped early."""
    study = optuna.create_study(directions=list(directions))
    for number in range(trials):
        params = {
            "training.optimizer.lr": 10.0 ** -(1 + number % 4),
            "architecture.hidden": SPACE["architecture.hidden"].choices[number % 3],
            "training.batch_size": 16 + 7 * (number % 5),
        }
        score = [(0.5 + 0.1 * (number % 4) + 0.01 * (number % 5)) * (1 - 2 * index) for index in range(len(directions))]
        pruned = number % 5 == 4
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                values=None if pruned else values or score,
                params=params,
                distributions=SPACE,
            )
        )
    return study


def draw(study, folder, metrics=("accuracy/val",)):
    """Draw with warnings as errors, and check that no figure stays open."""
    settings = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = draw_figures(study, folder, list(metrics))
    assert plt.get_fignums() == []
    assert {**matplotlib.rcParams, "backend": ""} == {**settings, "backend": ""}
    for path in drawn:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width > 400
    assert sorted(folder.iterdir()) == sorted(drawn)
    return [path.stem for path in drawn]


def test_a_search_is_drawn(tmp_path):
    assert draw(study_of(20), tmp_path / "artifacts") == EVERY


def test_several_metrics_have_a_figure_each_and_a_pareto_front(tmp_path):
    names = draw(study_of(20, ("maximize", "minimize")), tmp_path / "artifacts", ("accuracy/val", "parameters"))
    assert names == [f"{name}-accuracy-val" for name in EVERY] + [f"{name}-parameters" for name in EVERY] + [
        "pareto-front"
    ]


def test_a_figure_that_cannot_be_drawn_is_logged_and_the_others_are_drawn(tmp_path, capfd):
    assert draw(study_of(2), tmp_path / "few") == ["optimization-history", "parallel-coordinates", "slice"]
    assert "no figure importances: 2 completed trials are too few" in capfd.readouterr().err
    assert draw(study_of(10, values=[0.5]), tmp_path / "constant") == ["optimization-history", "slice"]
    assert "no figure contour: accuracy/val is the same in all trials" in capfd.readouterr().err
    assert draw(study_of(0), tmp_path / "none") == []
    assert "no figure slice: 0 completed trials are too few" in capfd.readouterr().err


def test_a_value_that_is_not_finite_does_not_prevent_a_figure(tmp_path):
    study = study_of(10)
    study.add_trial(create_trial(value=float("inf"), params=study.trials[0].params, distributions=SPACE))
    assert draw(study, tmp_path / "artifacts") == EVERY


def test_a_read_only_folder_raises_nothing(tmp_path, capfd):
    (tmp_path / "artifacts" / "slice.png").mkdir(parents=True)
    drawn = draw_figures(study_of(5), tmp_path / "artifacts", ["accuracy/val"])
    assert "slice" not in [path.stem for path in drawn]
    assert "no figure slice: " in capfd.readouterr().err
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("accuracy/val", ["accuracy/val"]),
        ("training.optimizer.lr", ["training.", "optimizer.lr"]),
        ("training.optimizer.momentum", ["training.", "optimizer.", "momentum"]),
        ("a_single_name_that_is_long", ["a_single_name_that_is_long"]),
    ],
)
def test_a_path_is_wrapped_after_its_dots(path, lines):
    assert wrap_path(path) == "\n".join(lines)


@pytest.mark.parametrize(
    ("low", "high", "numbers"),
    [
        (0.9e-5, 1.1e-1, [1e-5, 1e-3, 1e-1]),
        (15, 270, [20, 100]),
        (12, 60, [20, 50]),
        (0.9, 11, [1, 10]),
        (2.1, 4.9, [2.6, 4.0]),
    ],
)
def test_a_logarithmic_axis_has_a_few_round_numbers(low, high, numbers):
    found = round_ticks(low, high, 3)
    assert found == pytest.approx(numbers)
    assert all(low <= number <= high for number in found)
