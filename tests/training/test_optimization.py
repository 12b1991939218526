import math
from collections.abc import Callable

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from stoker.errors import JobError
from stoker.job.training import OptimizersChoice, ScheduleChoice
from stoker.training.assembly import assemble
from stoker.training.events import StepEnd
from stoker.training.loop import start, train
from stoker.training.optimization import Schedule, build_optimizers
from stoker.training.parallel import ALONE
from stoker.training.preparation import prepare
from stoker.training.reduction import GradientReducer

STEPS, STEPS_PER_EPOCH = 100, 10
Made = Callable[..., Schedule]


def optimizers_of(settings, module: nn.Module):
    return build_optimizers(TypeAdapter(OptimizersChoice).validate_python(settings), {"network": module})["network"]


def schedule(settings, steps: int = STEPS, direction: str = "min") -> tuple[Schedule, torch.optim.Optimizer]:
    (optimizer,) = optimizers_of({"type": "sgd", "lr": 1.0}, nn.Linear(2, 2))
    parsed = TypeAdapter(ScheduleChoice).validate_python(settings)
    return Schedule(parsed, [optimizer], steps, STEPS_PER_EPOCH, direction), optimizer


def rates(settings, steps: int = STEPS) -> list[float]:
    made, _ = schedule(settings, steps)
    found = []
    for step in range(steps):
        made.go_to(step)
        found.append(made.learning_rate)
    return found


def test_a_constant_rate_does_not_change():
    assert rates("constant") == [1.0] * STEPS


def test_warmup_rises_in_even_steps_to_the_rate():
    found = rates({"type": "constant", "warmup": "4 steps"})
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert set(found[5:]) == {1.0}


def test_cosine_falls_along_half_a_cosine():
    found = rates({"type": "cosine", "warmup": 0, "floor": 0.1})
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * step / STEPS)) / 2 for step in range(STEPS)]
    assert found == pytest.approx(expected)


def test_cosine_starts_after_its_warmup():
    found = rates({"type": "cosine", "warmup": "20%"})
    assert found[:20] == pytest.approx([(step + 1) / 21 for step in range(20)])
    assert found[20] == pytest.approx(1)
    assert found[60] == pytest.approx(0.5)
    assert found[-1] == pytest.approx((1 + math.cos(math.pi * 79 / 80)) / 2)


def test_linear_falls_along_a_line():
    found = rates({"type": "linear", "warmup": "10 steps", "floor": 0.1})
    assert found[10:] == pytest.approx([1 - 0.9 * step / 90 for step in range(90)])
    assert rates({"type": "linear", "warmup": 0, "floor": 0.0})[50] == pytest.approx(0.5)


def test_one_cycle_rises_to_the_rate_and_falls_below_its_start():
    found = rates("one-cycle")
    assert found[0] == pytest.approx(1 / 25)
    assert max(found) == pytest.approx(1, abs=0.01)
    assert found.index(max(found)) == pytest.approx(30, abs=1)
    assert found[-1] < found[0] / 10


def test_one_cycle_keeps_the_jobs_momentum():
    made, optimizer = schedule("one-cycle")
    for step in range(STEPS):
        made.go_to(step)
        assert optimizer.param_groups[0]["momentum"] == 0.9


def test_step_cuts_at_regular_intervals():
    found = rates({"type": "step", "every": "3 epochs", "factor": 0.5})
    assert found[::30] == pytest.approx([1, 0.5, 0.25, 0.125])
    assert found[29] == pytest.approx(1)
    after = rates({"type": "step", "every": "30 steps", "factor": 0.5, "warmup": "5 steps"})
    assert after[34:36] == pytest.approx([1, 0.5])


@pytest.mark.parametrize(("direction", "worse"), [("min", 2.0), ("max", 0.5)])
def test_plateau_cuts_when_nothing_improves(direction: str, worse: float):
    made, _ = schedule({"type": "plateau", "patience": 2, "factor": 0.1}, direction=direction)
    found = []
    for step, metric in enumerate([1.0, worse, worse, worse, worse, worse, worse]):
        made.epoch(metric)
        made.go_to(step)
        found.append(made.learning_rate)
    assert found == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])


def test_only_plateau_uses_the_metric():
    made, _ = schedule("constant")
    for step in range(50):
        made.epoch(1.0)
        made.go_to(step)
    assert made.learning_rate == 1.0


@pytest.mark.parametrize("kind", ["constant", "cosine", "linear", "one-cycle", "step", "plateau"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_of_few_steps_has_a_schedule(kind: str, steps: int):
    found = rates({"type": kind, "warmup": "100%"}, steps)
    assert all(0 < rate <= 1 for rate in found)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "muon"])
def test_biases_do_not_decay(kind: str):
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    before = {name: value.clone() for name, value in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in optimizers_of({"type": kind, "weight_decay": 0.5}, network):
        optimizer.step()
    for name, value in network.named_parameters():
        shrunk = bool((value.abs() < before[name].abs()).all())
        assert shrunk == name.endswith("weight"), name


def test_muon_only_steps_hidden_matrices():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    muon, rest = optimizers_of("muon", network)
    stepped = {id(p) for group in muon.param_groups for p in group["params"]}
    assert stepped == {id(network[0].weight), id(network[2].weight)}
    others = {id(p) for group in rest.param_groups for p in group["params"]}
    assert others == {id(p) for p in network.parameters()} - stepped
    assert rest.param_groups[0]["lr"] == pytest.approx(0.1 * muon.param_groups[0]["lr"])


def test_muon_without_hidden_matrices_is_adamw():
    (optimizer,) = optimizers_of("muon", nn.Linear(3, 2))
    assert isinstance(optimizer, torch.optim.AdamW)


def test_the_norm_is_that_of_all_gradients_together():
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([1.0, 2.0]), torch.tensor([2.0])
    reducer = GradientReducer(parameters, ALONE)
    assert float(reducer.norm()) == pytest.approx(3)
    assert float(reducer.clip(1.5)) == pytest.approx(3)
    assert float(reducer.norm()) == pytest.approx(1.5, abs=1e-4)
    assert float(reducer.clip(100.0)) == pytest.approx(1.5, abs=1e-4)
    assert float(reducer.norm()) == pytest.approx(1.5, abs=1e-4)


EACH = {
    "generator": {"type": "adam", "lr": 1e-3, "betas": [0.0, 0.9]},
    "discriminator": {"type": "sgd", "lr": 4e-3, "momentum": 0.5},
}


@pytest.fixture
def gan(make_job):
    """Prepare a small GAN with these optimizers."""

    def prepared(optimizer, **training):
        settings = {"optimizer": optimizer, "batch_size": 500, "precision": "fp32", "steps": 3, **training}
        network = {"family": "gan", "channels": [4], "latent": 3}
        return prepare(make_job("image-generation", "digits", architecture=network, training=settings))

    return prepared


def test_each_group_has_its_optimizer_rate_and_norm(gan):
    state = start(assemble(gan(EACH, schedule={"type": "linear", "warmup": 0})))
    (adam,), (sgd,) = state.optimizers["generator"], state.optimizers["discriminator"]
    assert isinstance(adam, torch.optim.Adam)
    assert adam.defaults["betas"] == (0.0, 0.9)
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["momentum"] == 0.5
    modules = state.assembly.objective.groups()
    for name, optimizer in (("generator", adam), ("discriminator", sgd)):
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert stepped == {id(p) for p in modules[name].parameters()}
    steps = [event for event in train("r", state) if isinstance(event, StepEnd)]
    for number, step in enumerate(steps):
        left = 1 - number / 3
        assert step.learning_rates == pytest.approx({"generator": 1e-3 * left, "discriminator": 4e-3 * left})
        assert step.gradient_norms.keys() == EACH.keys()


def test_gradients_of_each_group_are_clipped_separately(gan):
    state = start(assemble(gan(EACH, gradient_clip=1e-6)))
    before = {name: value.clone() for name, value in state.assembly.objective.discriminator.named_parameters()}
    step = next(iter(train("r", state)))
    assert all(float(norm) > 1e-6 for norm in step.gradient_norms.values())
    moved = [value - before[name] for name, value in state.assembly.objective.discriminator.named_parameters()]
    length = torch.cat([each.detach().flatten() for each in moved]).norm()
    assert 0 < float(length) <= 4.1e-9


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (
            {**EACH, "critic": "adam"},
            [("training.optimizer.critic", "no such group; this network has the groups generator, discriminator")],
        ),
        (
            {"generator": "adam"},
            [("training.optimizer", "lacks discriminator; this network has the groups generator, discriminator")],
        ),
        (
            {"network": "adam"},
            [
                ("training.optimizer.network", "no such group; this network has the groups generator, discriminator"),
                (
                    "training.optimizer",
                    "lacks generator, discriminator; this network has the groups generator, discriminator",
                ),
            ],
        ),
    ],
)
def test_groups_that_do_not_fit_the_network_are_reported_before_training(gan, optimizer, expected):
    with pytest.raises(JobError) as caught:
        gan(optimizer)
    assert [(problem.path, problem.message) for problem in caught.value.problems] == expected


def test_a_network_of_one_group_may_name_it(make_job):
    def prepared(group):
        training = {"optimizer": {group: "sgd"}, "precision": "fp32"}
        return prepare(make_job("tabular-classification", "xor", training=training))

    assert isinstance(start(assemble(prepared("network"))).optimizers["network"][0], torch.optim.SGD)
    with pytest.raises(JobError, match=r"no such group; this network has one group network"):
        prepared("body")
