import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import JobError
from stoker.job.job import Job
from stoker.jobfile.loading import dump_job, parse_job
from stoker.jobfile.space.dimension import Options, Range
from stoker.jobfile.space.expressions import Expression
from stoker.jobfile.space.point import point_job
from stoker.jobfile.space.reading import read_space
from stoker.jobfile.space.samples import draw_point
from stoker.jobfile.space.space import Space

HEAD = "task: image-classification\ndataset: digits\narchitecture: mlp\n"
OPTIMIZERS = """
    training.optimizer:
      - {type: adamw, lr: {min: 1e-5, max: 1e-2, log: true}}
      - {type: sgd, lr: {min: 1e-3, max: 1e-1, log: true}, momentum: {min: 0.8, max: 0.99}}"""


def space_of(entries: str, where: str = "[]", head: str = HEAD) -> Space:
    return read_space(parse_job(f"{head}sweep:\n  trials: 9\n  where: {where}\n  space:{entries}\n", "job.yaml").job)


def test_ranges_in_an_option_are_dimensions_of_their_own():
    space = space_of(OPTIMIZERS)
    assert [(each.name, each.path, each.when) for each in space.dimensions] == [
        ("training.optimizer", "training.optimizer", ()),
        ("training.optimizer[0].lr", "training.optimizer.lr", (("training.optimizer", 0),)),
        ("training.optimizer[1].lr", "training.optimizer.lr", (("training.optimizer", 1),)),
        ("training.optimizer[1].momentum", "training.optimizer.momentum", (("training.optimizer", 1),)),
    ]
    coordinates = {"training.optimizer": 1, "training.optimizer[1].lr": 0.01, "training.optimizer[1].momentum": 0.9}
    assert [each.name for each in space.active(coordinates)] == list(coordinates)
    assert space.values(coordinates) == {"training.optimizer": {"type": "sgd", "lr": 0.01, "momentum": 0.9}}
    choice = space.dimensions[0].domain
    assert isinstance(choice, Options)
    assert [choice.label(0), choice.label(1)] == ["adamw", "sgd"]


def test_integers_stay_integers_and_powers_are_counted_by_exponent():
    space = space_of(
        "\n    training.batch_size: {min: 16, max: 256, power: 2}\n    training.epochs: {min: 1, max: 3}"
        "\n    architecture.dropout: {min: 0, max: 0.5, step: 0.1}"
    )
    domains = {each.path: each.domain for each in space.dimensions}
    values = {path: list(domain.points()) for path, domain in domains.items() if isinstance(domain, Range)}
    assert values == {
        "training.batch_size": [16, 32, 64, 128, 256],
        "training.epochs": [1, 2, 3],
        "architecture.dropout": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5],
    }
    assert {path: {type(value) for value in each} for path, each in values.items()} == {
        "training.batch_size": {int},
        "training.epochs": {int},
        "architecture.dropout": {float},
    }
    assert space.size() == 5 * 3 * 6


def test_the_grid_expands_each_branch_in_order():
    space = space_of(
        "\n    training.optimizer: [{type: sgd, lr: {min: 0.1, max: 0.2, step: 0.1}}, muon]"
        "\n    architecture.hidden: [[8], [4, 4]]"
    )
    points = [space.values(coordinates) for coordinates in space.grid()]
    assert space.size() == len(points) == 6
    assert [(p["training.optimizer"].get("lr"), p["architecture.hidden"]) for p in points] == [
        (0.1, [8]), (0.1, [4, 4]), (0.2, [8]), (0.2, [4, 4]), (None, [8]), (None, [4, 4]),
    ]  # fmt: skip
    assert all(space.find(values) == coordinates for values, coordinates in zip(points, space.grid(), strict=True))


def test_the_size_of_a_small_space_respects_conditions_and_a_continuous_one_has_none():
    entries = "\n    training.batch_size: [8, 16, 32]\n    architecture.hidden: [[8], [4]]"
    space = space_of(entries, "['training.batch_size < 32 or architecture.hidden == [8]']")
    assert (space.bound, space.size()) == (6, 5)
    assert not space.allowed({"training.batch_size": 32, "architecture.hidden": [4]})
    assert space.allowed({"training.batch_size": 32, "architecture.hidden": [8]})
    assert space_of(OPTIMIZERS).size() is None


def test_derived_values_may_use_each_other_and_keys_that_are_not_searched():
    space = space_of(
        "\n    training.steps: {from: training.micro_batch * training.seed}\n    training.batch_size: [8, 16]"
        "\n    training.micro_batch: {from: training.batch_size / 2}",
        head=f"{HEAD}training: {{seed: 3}}\n",
    )
    values = space.values({"training.batch_size": 1})
    assert values == {"training.batch_size": 16, "training.micro_batch": 8, "training.steps": 24}
    assert type(values["training.micro_batch"]) is int
    assert space.find(values) == {"training.batch_size": 1}


def test_conditions_use_the_defaults_of_a_points_option():
    space = space_of(
        "\n    training.optimizer: [sgd, adam]", "['training.optimizer.type != \"sgd\" or training.optimizer.lr < 1']"
    )
    assert space.allowed(space.values({"training.optimizer": 0}))


@pytest.mark.parametrize(
    ("values", "coordinates"),
    [
        ({"training.optimizer.lr": 3e-4}, {"training.optimizer": 0, "training.optimizer[0].lr": 3e-4}),
        ({"training.optimizer.lr": 0.05}, {"training.optimizer": 1, "training.optimizer[1].lr": 0.05}),
        ({"training.optimizer": "sgd"}, {"training.optimizer": 1}),
        ({"training.optimizer": {"type": "sgd", "momentum": 0.9}},
         {"training.optimizer": 1, "training.optimizer[1].momentum": 0.9}),
        ({"training.optimizer": "sgd", "training.optimizer.lr": 3e-4}, None),
        ({"training.optimizer": "muon"}, None),
        ({"training.seed": 3}, None),
    ],
)  # fmt: skip
def test_incomplete_values_give_the_coordinates_that_they_determine(
    values: dict[str, Any], coordinates: dict[str, Any] | None
):
    assert space_of(OPTIMIZERS).find(values) == coordinates


def test_the_job_of_a_point_is_validated():
    job = parse_job(
        f"{HEAD}training: {{micro_batch: 32}}\nsweep: {{trials: 2, space: {{training.seed: [1, 2]}}}}\n", "j"
    ).job
    trial = point_job(job, {"training.optimizer": {"type": "sgd", "momentum": 0.5}, "training.seed": 7})
    assert (trial.training.optimizer.type, trial.training.seed, trial.sweep, trial.name) == ("sgd", 7, None, "j")
    with pytest.raises(JobError) as raised:
        point_job(job, {"training.batch_size": 8})
    assert [problem.path for problem in raised.value.problems] == ["training.micro_batch"]
    with pytest.raises(JobError) as raised:
        point_job(job, {"training.optimizer": {"type": "adam", "momentum": 0.5}})
    assert [problem.path for problem in raised.value.problems] == ["training.optimizer.momentum"]


def test_an_architecture_path_without_an_architecture_uses_the_default_family():
    job = parse_job(
        "task: image-classification\ndataset: digits\nsweep: {trials: 2, space: {architecture.kernel: [3, 5]}}\n", "j"
    ).job
    trial = point_job(job, {"architecture.kernel": 5})
    assert trial.architecture is not None
    assert trial.architecture.model_dump(include={"family", "kernel"}) == {"family": "cnn", "kernel": 5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("training.batch_size <= 128 or architecture.hidden != [64]", True),
        ("architecture.class == 'nets.class:A'", True),
        ("architecture.hidden[0] + max(1, len(architecture.hidden))", 65),
        ("training.gradient_clip == null and not false", True),
        ("2 ** 3 if training.batch_size in [64, 128] else 0", 8),
    ],
)
def test_expressions_are_computed(text: str, value: Any):
    values = {"training.batch_size": 64, "architecture.hidden": [64], "architecture.class": "nets.class:A"}
    assert Expression(text).value(values.get) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "'1 / 0' cannot be computed: a division by zero"),
        ("training.epochs < 3", "'training.epochs < 3' cannot be computed: training.epochs has no value"),
        ("'%1000000000d' % 4",
         "''%1000000000d' % 4' cannot be computed: it combines numbers, texts or lists that do not fit together"),
        ("9 ** 9 ** 9", "'9 ** 9 ** 9' cannot be computed: an exponent is above 64"),
        ("'a' * 100000000", "''a' * 100000000' cannot be computed: the result is too large"),
    ],
)  # fmt: skip
def test_an_expression_that_cannot_be_computed_reports_the_reason(text: str, message: str):
    with pytest.raises(ValueError, match="cannot be computed") as raised:
        Expression(text).value({}.get)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "a.b()",
        "[x for x in a.b]",
        "lambda: 1",
        "f'{a}'",
        "a = 1",
        "a; b",
        "(",
        "",
        "{1: 2}",
        "a := 1",
    ],
)
def test_only_plain_expressions_are_accepted(text: str):
    with pytest.raises(ValueError, match=r"is not a|contains"):
        Expression(text)


numbers = st.integers(1, 50).flatmap(lambda low: st.tuples(st.just(low), st.integers(low + 1, 99)))
entries = st.fixed_dictionaries(
    {},
    optional={
        "training.optimizer.lr": st.tuples(st.floats(1e-6, 1e-3), st.floats(1e-2, 1)).map(
            lambda ends: {"min": ends[0], "max": ends[1], "log": True}
        ),
        "training.batch_size": numbers.map(lambda ends: {"min": ends[0], "max": ends[1]}),
        "architecture.hidden": st.lists(
            st.lists(st.integers(1, 64), min_size=1), min_size=2, max_size=4, unique_by=str
        ),
        "training.schedule": st.just(["constant", {"type": "cosine", "floor": {"min": 0, "max": 0.5, "step": 0.25}}]),
        "training.gradient_clip": st.just([None, 0.5, 1]),
        "training.steps": st.just({"from": "2 * training.epochs"}),
    },
).filter(bool)


@given(entries, st.integers(0, 2**32))
@settings(max_examples=40)
def test_every_drawn_point_is_a_valid_job_with_the_same_coordinates(entries: dict[str, Any], seed: int):
    job = Job.model_validate(
        {
            "name": "x",
            "task": "image-classification",
            "dataset": "digits",
            "architecture": "mlp",
            "training": {"epochs": 3},
            "sweep": {"trials": 3, "space": entries},
        }
    )
    assert parse_job(dump_job(job), "x.yaml").job == job
    space = read_space(job)
    coordinates = draw_point(space, random.Random(seed))
    values = space.values(coordinates)
    assert space.find(values) == coordinates
    assert point_job(job, values).sweep is None
