import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest

from stoker.jobfile.loading import parse_job
from stoker.jobfile.space.point import point_job
from stoker.jobfile.space.reading import read_space
from stoker.search.search import Point, Search

HEAD = "task: image-classification\ndataset: digits\narchitecture: mlp\n"
SPACE = """
    training.optimizer:
      - {type: adamw, lr: {min: 1e-5, max: 1e-2, log: true}}
      - {type: sgd, lr: {min: 1e-3, max: 1e-1, log: true}, momentum: {min: 0.8, max: 0.99}}
    training.batch_size: {min: 16, max: 256, power: 2}
    architecture.dropout: {min: 0, max: 0.5}
    training.gradient_clip: {min: 0.1, max: 10, log: true}"""
WHERE = "[\"training.batch_size <= 128 or training.optimizer.type != 'sgd'\"]"
SMALL = "\n    architecture.hidden: [[8], [4]]\n    training.batch_size: [8, 16, 32]"
SEARCHES = ("random", "sobol", "tpe", "cmaes", "gp")


def search_of(
    search: str, space: str = SPACE, where: str = WHERE, metric: str = "loss/val", parallel: int = 1
) -> Search:
    text = f"{HEAD}sweep:\n  trials: 40\n  metric: {metric}\n  parallel: {parallel}\n  search: {search}\n"
    job = parse_job(f"{text}  where: {where}\n  space:{space}\n", "job.yaml").job
    return Search(job, read_space(job))


def cost(values: dict[str, Any]) -> float:
    """Return the squared distance of a point from the optimum."""
    optimizer = values["training.optimizer"]
    distances = [
        2 * (values["architecture.dropout"] - 0.3),
        math.log10(optimizer["lr"]) + 3,
        math.log10(values["training.gradient_clip"]) - 0.5,
        float(optimizer["type"] == "sgd"),
    ]
    return sum(each**2 for each in distances)


def run(search: Search, trials: int, start: int = 0) -> list[tuple[Point, float]]:
    done = []
    for number in range(start, start + trials):
        point = search.ask(number)
        assert point is not None
        done.append((point, cost(point.values)))
        search.report(number, 1, done[-1][1] + 1)
        search.tell(number, "complete", [done[-1][1]])
    return done


@pytest.mark.parametrize("kind", SEARCHES)
def test_trials_are_in_the_space_reproducible_and_continue_after_a_replay(kind: str):
    search = search_of(kind)
    job = parse_job(f"{HEAD}sweep:\n  trials: 40\n  where: {WHERE}\n  space:{SPACE}\n", "job.yaml").job
    space = read_space(job)
    trials = 12 if kind == "gp" else 15  # it models the results from the eleventh on, and is slow
    done = run(search, trials)
    for point, _ in done:
        assert space.find(point.values) == point.coordinates
        assert space.allowed(point.values)
        assert point_job(job, point.values).training.batch_size in (16, 32, 64, 128, 256)
    assert len({str(point.coordinates) for point, _ in done}) == trials
    later = search_of(kind)
    for number, (point, value) in enumerate(done):
        later.restore(number, point.coordinates)
        later.report(number, 1, value + 1)
        later.tell(number, "complete", [value])
    if kind != "gp":
        assert [point for point, _ in run(search_of(kind), 15)] == [point for point, _ in done]
        assert [point for point, _ in run(later, 5, 15)] == [point for point, _ in run(search, 5, 15)]
    else:
        assert later.ask(trials) == search.ask(trials)


@pytest.mark.parametrize("kind", ["random", "sobol", "grid"])
def test_points_do_not_depend_on_the_order_or_state_of_results(kind: str):
    space, where = (SMALL, "[]") if kind == "grid" else (SPACE, WHERE)
    one, other = (search_of(kind, space, where, parallel=3) for _ in range(2))
    first = []
    for number in range(6):
        first.append(one.ask(number))
        one.tell(number, "complete", [float(number)])
    second = [other.ask(number) for number in range(3)]
    for number in (2, 0, 1):
        other.tell(number, "failed", None)
    second += [other.ask(number) for number in range(3, 6)]
    assert first == second


def test_different_seeds_give_different_points():
    for kind in ("random", "sobol"):
        points = [search_of(f"{{type: {kind}, seed: {seed}}}").ask(0) for seed in (0, 1)]
        assert points[0] != points[1]


def test_the_sobol_sequence_spreads_every_dimension_from_the_first_trial_on():
    ranges = "\n    architecture.dropout: {min: 0, max: 0.8}\n    training.gradient_clip: {min: 0.001, max: 1}"
    search = search_of("sobol", ranges, "[]")
    points = [search.ask(number) for number in range(16)]
    dropouts = sorted(point.values["architecture.dropout"] for point in points if point)
    assert [int(value / 0.05) for value in dropouts] == list(range(16))


def test_tpe_finds_better_points_than_random_search():
    def best(kind: str, seed: int) -> float:
        return min(value for _, value in run(search_of(f"{{type: {kind}, seed: {seed}}}", where="[]"), 40))

    median = {kind: statistics.median(best(kind, seed) for seed in range(3)) for kind in ("random", "tpe")}
    assert median["tpe"] < median["random"]


def test_the_grid_visits_every_allowed_point_once_in_order():
    search = search_of("grid", SMALL, "['training.batch_size < 32 or architecture.hidden == [8]']")
    points = [search.ask(number) for number in range(6)]
    assert [point and tuple(point.values.values()) for point in points] == [
        ([8], 8), ([8], 16), ([8], 32), ([4], 8), ([4], 16), None,
    ]  # fmt: skip


def test_a_grid_continues_after_restored_points():
    search, later = (search_of("grid", SMALL, "[]") for _ in range(2))
    points = [search.ask(number) for number in range(3)]
    for number, point in enumerate(points):
        assert point
        later.restore(number, point.coordinates)
    assert later.ask(3) == search.ask(3)


@pytest.mark.parametrize("kind", ["random", "sobol", "tpe", "gp"])
def test_a_small_space_is_exhausted_without_duplicates(kind: str):
    search = search_of(kind, SMALL, "['training.batch_size < 32 or architecture.hidden == [8]']")
    seen = []
    for number in range(5):
        point = search.ask(number)
        assert point
        seen.append(str(point.values))
        search.tell(number, "complete", [float(number)])
    assert len(set(seen)) == 5
    assert search.ask(5) is None


def test_restrictive_conditions_are_met():
    search = search_of("random", where="['training.optimizer.lr < 2e-5']")
    points = [search.ask(number) for number in range(5)]
    assert all(point and point.values["training.optimizer"]["lr"] < 2e-5 for point in points)


def test_first_points_come_first_and_omitted_values_are_drawn():
    first = "[{training.optimizer.lr: 3e-4}, {training.optimizer: sgd, training.batch_size: 32}]"
    search = search_of(f"{{type: tpe, first: {first}}}")
    [(one, _), (two, _), (three, _)] = run(search, 3)
    assert one.values["training.optimizer"] == {"type": "adamw", "lr": 3e-4}
    assert (two.values["training.optimizer"]["type"], two.values["training.batch_size"]) == ("sgd", 32)
    assert 0.8 <= two.values["training.optimizer"]["momentum"] <= 0.99
    assert three.values["training.optimizer"].get("lr") != 3e-4


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_counts_as_a_failure(bad: float):
    search = search_of("tpe")
    for number in range(14):
        point = search.ask(number)
        assert point
        search.report(number, 1, bad)
        search.tell(number, "complete", [bad] if number % 2 else [float(number)])
        search.tell(number, "failed", None)
    assert search.study.best_value == 0.0
    assert len([trial for trial in search.study.trials if trial.state.name == "FAIL"]) == 7


def test_pruned_trials_are_recorded():
    search = search_of("tpe")
    for number in range(20):
        point = search.ask(number)
        assert point
        search.report(number, 1, cost(point.values))
        search.tell(number, "pruned" if number % 2 else "complete", [cost(point.values)])
    states = [trial.state.name for trial in search.study.trials]
    assert (states.count("PRUNED"), states.count("COMPLETE")) == (10, 10)


@pytest.mark.parametrize("kind", ["random", "tpe", pytest.param("gp", marks=pytest.mark.slow)])
def test_several_metrics_give_a_pareto_front(kind: str):
    search = search_of(kind, metric="[loss/val, parameters]")
    for number in range(12):
        point = search.ask(number)
        assert point
        search.report(number, 1, 1.0)
        search.tell(number, "complete", [cost(point.values), point.values["training.batch_size"]])
    assert [each.name for each in search.study.directions] == ["MINIMIZE", "MINIMIZE"]
    assert 1 <= len(search.study.best_trials) <= 12
    assert set(search.importances()) == {
        "training.optimizer", "training.batch_size", "architecture.dropout", "training.gradient_clip",
    }  # fmt: skip


def test_importances_need_finished_trials():
    search = search_of("random", where="[]", metric="accuracy/val")
    assert search.importances() == {}
    for number in range(60):
        point = search.ask(number)
        assert point
        search.tell(number, "complete", [-abs(point.values["architecture.dropout"] - 0.3)])
    shares = search.importances()
    assert next(iter(shares)) == "architecture.dropout"
    assert sum(shares.values()) == pytest.approx(1)


def test_the_study_for_figures_shows_labels_and_numbers():
    search = search_of("tpe")
    run(search, 3)
    search.ask(3)
    trial = search.study.trials[0]
    assert trial.params["training.optimizer"] in ("adamw", "sgd")
    assert trial.params["training.batch_size"] in (16, 32, 64, 128, 256)
    assert search.study.trials[3].state.name == "RUNNING"


def test_a_search_prints_and_warns_nothing(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder):
    kinds: tuple[Callable[[], Search], ...] = tuple(
        lambda kind=kind: search_of(kind) for kind in ("sobol", "cmaes", "tpe")
    )
    for make in kinds:
        run(make(), 12)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
