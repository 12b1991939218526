"""The gradient of a step, with objectives of several terms, turns and weights."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective
from stoker.training.assembly import Assembly, assemble
from stoker.training.events import StepEnd
from stoker.training.gradients import accumulate
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE
from stoker.training.preparation import prepare

CPU = torch.device("cpu")
ROWS = 30
Assembled = Callable[..., Assembly]


@pytest.fixture
def assembled(make_job, tmp_path: Path) -> Assembled:
    """Assemble a small weighted table, to be trained by plain gradient descent."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=ROWS), "z": rng.normal(size=ROWS), "w": rng.random(ROWS)})
    frame["y"] = np.where(frame["x"] + frame["z"] > 0, "high", "low")
    frame.to_csv(tmp_path / "weighted.csv", index=False)

    def make(micro_batch: int, steps: int = 1, lr: float = 1.0, batch_size: int = ROWS) -> Assembly:
        columns = {"label": "y", "weight": "w", "features": ["x", "z"]}
        dataset = {"source": str(tmp_path / "weighted.csv"), "columns": columns, "split": "none"}
        training: dict[str, Any] = {
            "optimizer": {"type": "sgd", "lr": lr, "momentum": 0.0},
            "schedule": "constant",
            "steps": steps,
            "batch_size": batch_size,
            "micro_batch": micro_batch,
            "precision": "fp32",
        }
        network = {"family": "mlp", "hidden": [5], "activation": "tanh"}
        return assemble(prepare(make_job("tabular-classification", dataset, architecture=network, training=training)))

    return make


class Compound(Objective):
    """A weighted loss of the classes, and a noisy penalty that only counts samples with a positive number."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        assert batch.weight is not None
        return {"loss": batch.weight.sum(), "penalty": float(self.positive(batch).sum())}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        output = self.network(batch.inputs)
        assert batch.weight is not None
        losses = functional.cross_entropy(output, batch.target, reduction="none") * batch.weight
        penalty = (output + noise.normal(2)).square().sum(1) * self.positive(batch)
        return {"loss": losses.sum(), "penalty": penalty.sum()}

    @staticmethod
    def positive(batch: BatchLike) -> Tensor:
        return (batch.inputs["numbers"][:, 0] > 0).float()

    def turns(self, step: int) -> Sequence[str]:
        return ("network",)

    def groups(self) -> dict[str, nn.Module]:
        return {"network": self.network}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor]:
        output = self.network(batch.inputs)
        return {"loss": Loss(output.square().sum(), output.new_tensor(len(batch)))}, output


class Adversaries(Objective):
    """Two networks whose losses reach each other: a critic learns in every step, a generator in every second."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = nn.Linear(2, 2), nn.Linear(2, 1)

    def terms(self, batch: BatchLike, turn: str) -> dict[str, Tensor]:
        score = self.critic(self.generator(batch.inputs["numbers"])).squeeze(1)
        return {turn: score.square() if turn == "critic" else (score - 1).square()}

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        return {turn: float(len(batch))}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        return {name: each.sum() for name, each in self.terms(batch, turn).items()}

    def turns(self, step: int) -> Sequence[str]:
        return ("critic", "generator") if step % 2 else ("critic",)

    def groups(self) -> dict[str, nn.Module]:
        return {"critic": self.critic, "generator": self.generator}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor]:
        output = self.generator(batch.inputs["numbers"])
        return {"loss": Loss(output.sum() * 0, output.new_tensor(len(batch)))}, output


def trained(assembly: Assembly) -> tuple[dict[str, Tensor], list[StepEnd]]:
    steps = [event for event in train("r", start(assembly)) if isinstance(event, StepEnd)]
    return dict(assembly.objective.state_dict()), steps


@pytest.mark.parametrize("micro_batch", [1, 7, 15])
@pytest.mark.parametrize("compound", [False, True])
def test_micro_batches_give_the_gradient_of_the_whole_batch(assembled: Assembled, micro_batch: int, compound: bool):
    results = []
    for size in (ROWS, micro_batch):
        assembly = assembled(size)
        if compound:
            assembly = replace(assembly, objective=Compound(assembly.objective.groups()["network"]))
        results.append(trained(assembly))
    (whole, (one,)), (cut, (other,)) = results
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], atol=1e-6, rtol=0)
    for term in one.losses:
        torch.testing.assert_close(other.losses[term], one.losses[term], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(other.gradient_norms["network"], one.gradient_norms["network"], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("micro_batch", [ROWS, 7])
def test_the_gradient_is_that_of_the_means_of_all_terms(assembled: Assembled, micro_batch: int):
    reference = assembled(ROWS)
    objective = Compound(reference.objective.groups()["network"])
    ((batch, noise),) = next(iter(reference.batches().epoch(0))).micro_batches
    totals, counts = objective(batch, "network", noise), objective.counts(batch, "network")
    (totals["loss"] / counts["loss"] + totals["penalty"] / counts["penalty"]).backward()
    expected = {name: value.detach() - value.grad for name, value in objective.named_parameters()}
    assembly = assembled(micro_batch)
    got, _ = trained(replace(assembly, objective=Compound(assembly.objective.groups()["network"])))
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize("micro_batch", [ROWS, 4])
def test_a_turn_only_steps_its_own_group(assembled: Assembled, micro_batch: int):
    torch.manual_seed(0)
    rivals, reference = Adversaries(), Adversaries()
    reference.load_state_dict(rivals.state_dict())
    assembly = replace(assembled(micro_batch, steps=6, lr=0.1, batch_size=10), objective=rivals)
    groups = reference.groups()
    number = 0
    for epoch in range(2):
        for step in assembled(10, batch_size=10).batches().epoch(epoch):
            ((batch, _),) = step.micro_batches
            for turn in reference.turns(number):
                reference.zero_grad()
                reference.terms(batch, turn)[turn].mean().backward()
                with torch.no_grad():
                    for parameter in groups[turn].parameters():
                        parameter -= 0.1 * parameter.grad
            number += 1
    got, steps = trained(assembly)
    assert [set(event.losses) for event in steps] == [{"critic"}, {"critic", "generator"}] * 3
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(got[name], value, atol=1e-6, rtol=0)


def test_a_term_of_every_second_step_counts_in_the_epochs_loss(assembled: Assembled):
    assembly = replace(assembled(10, steps=3, lr=1e-30, batch_size=10), objective=Adversaries())
    events = list(train("r", start(assembly)))
    steps = [event.losses for event in events if isinstance(event, StepEnd)]
    metrics = events[-2].metrics
    assert metrics["generator/train"] == pytest.approx(float(steps[1]["generator"]))
    assert metrics["critic/train"] == pytest.approx(np.mean([float(step["critic"]) for step in steps]))


@pytest.mark.parametrize(("micro_batch", "passes"), [(ROWS, 1), (7, 5)])
def test_a_micro_batch_has_one_backward_pass_whatever_the_number_of_terms(
    assembled: Assembled, micro_batch: int, passes: int
):
    assembly = assembled(micro_batch)
    objective = Compound(assembly.objective.groups()["network"])
    seen: list[int] = []
    for number, parameter in enumerate(objective.parameters()):
        parameter.register_post_accumulate_grad_hook(lambda _, number=number: seen.append(number))
    trained(replace(assembly, objective=objective))
    assert sorted(seen) == sorted(list(range(4)) * passes)


def test_a_turn_only_has_gradients_for_its_own_parameters(assembled: Assembled):
    rivals = Adversaries()
    assembly = replace(assembled(4, batch_size=10), objective=rivals)
    reducers = start(assembly).reducers
    step = next(iter(assembly.batches().epoch(0)))
    sums = accumulate(rivals, reducers["critic"], step, "critic", "fp32", ALONE)
    assert {term: count for term, (_, count) in sums.items()} == {"critic": 10.0}
    assert all(parameter.grad is None for parameter in rivals.generator.parameters())
    assert all(parameter.grad is not None for parameter in rivals.critic.parameters())
