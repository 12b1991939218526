"""The contract of every task with every family: it trains on any number of workers and with any interruptions."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch

from stoker.datasets.feeding.batches import ordered_batches
from stoker.datasets.loading import read_source
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, save_model
from stoker.job.task import TASKS
from stoker.randomness import Noise
from stoker.storage import open_storage
from stoker.tasks.abilities import can_sample
from stoker.tasks.objective import OneNetwork
from stoker.training.assembly import Assembly, assemble
from stoker.training.attempt import Stopped, attempt
from stoker.training.checkpoint import Checkpoints
from stoker.training.evaluation import evaluate as evaluate_in_training
from stoker.training.events import EpochEnd, StepEnd
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import prepare

VARIANTS = {
    "cnn": ("cnn", "residual"),
    "unet": ("unet", "tiles"),
    "backbone": ("backbone", "weighted"),
    "rnn": ("rnn", "gru"),
    "gan": ("gan", "plain-gan", "wgan-gp", "residual-gan"),
    "vae": ("vae", "discrete-vae"),
    "diffusion": ("diffusion", "flow"),
    "autoencoder": ("autoencoder", "spoilt", "rows"),
    "captioner": ("captioner", "captioner-vit", "captioner-backbone"),
    "feature-distance": ("feature-distance", "patches", "patch-core", "gaussian"),
    "pretrained": ("pretrained", "lora", "frozen"),
}
FAMILY_OF = {variant: family for family, variants in VARIANTS.items() for variant in variants}
CASES = [
    (task, variant)
    for task, row in TASKS.items()
    for family in row.families
    if family != "custom"
    for variant in VARIANTS.get(family, (family,))
]
DRAWN = ("segmentation", "anomaly-detection", "reconstruction")
"""Tasks whose answers have images."""


def still(variant: str) -> dict[str, Any]:
    """Return an optimizer that, other than Adam, does not turn a rounding difference between two small gradients into a
    whole step. The losses of a variational autoencoder are hundreds of nats, and a gradient penalty is steep."""
    steep = "vae" in variant or variant == "wgan-gp"
    return {"type": "sgd", "lr": 1e-4 if steep else 0.05, "momentum": 0.0}


pytestmark = pytest.mark.usefixtures("one_thread")
REPEATED = {
    (task, variant)
    for variant in ("residual", "weighted", "gru", "frozen")
    for task in [task for task, each in CASES if each == variant][1:]
}
"""Variants whose task says nothing new of them."""
every_case = pytest.mark.parametrize(
    ("task", "variant"),
    [pytest.param(*case, marks=pytest.mark.slow if case in REPEATED else ()) for case in CASES],
    ids=lambda name: name,
)


@pytest.fixture(scope="module")
def trained(tiny) -> Callable[[str, str], tuple[Assembly, list[Any]]]:
    """Train a case once for all tests; return its result and all events."""
    known: dict[tuple[str, str], tuple[Assembly, list[Any]]] = {}

    def run(task: str, variant: str) -> tuple[Assembly, list[Any]]:
        if (task, variant) not in known:
            assembly = assemble(prepare(tiny(task, variant, epochs=1)))
            events = list(train("r", start(assembly)))
            known[task, variant] = assembly, events
        return known[task, variant]

    return run


def weights_of(assembly: Assembly) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in assembly.objective.state_dict().items()}


def test_every_family_of_every_task_is_a_case():
    for task, row in TASKS.items():
        tried = {FAMILY_OF.get(variant, variant) for name, variant in CASES if name == task}
        assert tried == set(row.families) - {"custom"}


@every_case
def test_an_epoch_has_finite_losses_and_all_metrics_of_the_task(task, variant, trained):
    assembly, events = trained(task, variant)
    steps = [event for event in events if isinstance(event, StepEnd)]
    assert len(steps) == 3
    for step in steps:
        assert step.losses
        assert all(torch.isfinite(value) for value in [*step.losses.values(), *step.gradient_norms.values()])
        assert set(step.learning_rates) == set(step.gradient_norms) == set(assembly.objective.groups())
        assert all(norm > 0 for norm in step.gradient_norms.values())
    (end,) = [event for event in events if isinstance(event, EpochEnd)]
    row = TASKS[task]
    without = {"psnr"} if variant == "rows" else set()
    without |= {*row.by_features, *(row.by_latent if not hasattr(assembly.objective.network, "means") else ())}
    assert {f"{metric}/val" for metric in row.metrics.keys() - without} <= end.metrics.keys()
    assert all(torch.isfinite(torch.tensor(list(end.metrics.values()))))


@every_case
def test_two_workers_end_with_the_weights_of_one(task, variant, tiny, in_workers):
    prepared = prepare(tiny(task, variant, dropout=False, optimizer=still(variant), micro_batch=5))

    def work(workers: Workers) -> Any:
        assembly = assemble(prepared, workers)
        events = list(train("r", start(assembly)))
        return weights_of(assembly), [event.metrics for event in events if isinstance(event, EpochEnd)]

    alone, metrics = work(ALONE)
    for theirs, their_metrics in in_workers(2, work):
        for name, value in alone.items():
            if theirs[name].shape != value.shape:
                continue  # of what is carried over, a worker has its rows
            torch.testing.assert_close(theirs[name], value, atol=2e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
        for mine, other in zip(metrics, their_metrics, strict=True):
            assert other == pytest.approx(mine, rel=1e-3, abs=1e-4)


@every_case
def test_micro_batches_give_the_gradient_of_the_whole_batch(task, variant, tiny):
    found = []
    for micro_batch in (16, 7, 1):
        settings = {"optimizer": still(variant), "micro_batch": micro_batch, "epochs": None, "steps": 1}
        job = tiny(task, variant, dropout=False, **settings)
        assembly = assemble(prepare(job))
        step = next(iter(train("r", start(assembly))))
        found.append((weights_of(assembly), step))
    (whole, one), *others = found
    for weights, step in others:
        for name, value in whole.items():
            torch.testing.assert_close(weights[name], value, atol=1e-6, rtol=1e-5)
        for group, norm in one.gradient_norms.items():
            torch.testing.assert_close(step.gradient_norms[group], norm, atol=1e-6, rtol=1e-4)
        for term, loss in one.losses.items():
            torch.testing.assert_close(step.losses[term], loss, atol=1e-6, rtol=1e-5)


@every_case
def test_a_run_stopped_in_the_middle_of_an_epoch_resumes_to_the_same_bytes(task, variant, tiny, tmp_path, digest):
    prepared = prepare(tiny(task, variant))

    def end_of(events: Any, state: Any) -> str:
        for event in events:
            if isinstance(event, EpochEnd) and state.reason:
                return digest(state)
        raise AssertionError

    state = start(assemble(prepared))
    whole = end_of(train("r", state), state)
    stopped = start(assemble(prepared))
    checkpoints = Checkpoints(open_storage(str(tmp_path)), "", 2, 1)
    *_, last = attempt("r", stopped, checkpoints, 1, lambda: "stop" if stopped.step >= 5 else "")
    assert last == Stopped("r", 1, 5)
    again = start(assemble(prepared))
    restored = Checkpoints(open_storage(str(tmp_path)), "", 2, 2).restore(again)
    assert restored is not None
    assert (again.epoch, again.batch, again.step) == (1, 2, 5)
    assert end_of(train("r", again), again) == whole


@every_case
def test_a_saved_model_predicts_like_the_network(task, variant, trained, tmp_path):
    assembly, _ = trained(task, variant)
    data = assembly.data
    save_model(tmp_path, assembly.job, data.fields, assembly.objective, data.fingerprint)
    model = Model.load(tmp_path)
    assert model.fields == data.fields
    assert model.job == assembly.job
    network = assembly.objective.network.eval()
    noise = [Noise((1,), 100, 0, 100, torch.device("cpu")) for _ in range(2)]
    with torch.inference_mode():
        if can_sample(network):
            classes = torch.tensor([0, 1, 1]) if data.fields.signature.classes else None
            noise = [Noise((1,), 3, 0, 3, torch.device("cpu")) for _ in range(2)]
            torch.testing.assert_close(model.network.sample(classes, noise[0]), network.sample(classes, noise[1]))
            reported = evaluate_in_training(assembly, "test", "fp32")
            kept = reported if isinstance(assembly.objective, OneNetwork) else {"frechet": reported["frechet"]}
            wanted = {f"{name}/test": pytest.approx(value, rel=1e-4) for name, value in kept.items()}
            assert evaluate(model, part="test") == wanted
            return  # a generator keeps nothing of its discriminator, whose losses are not measured; none has answers
        (batch,) = ordered_batches(data.parts["test"], data.fields, 1000)
        expected = assembly.task.outputs(network, batch.inputs, noise[0])
        found = model.task.outputs(model.network, batch.inputs, noise[1])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    if not TASKS[task].generates:
        records = read_source(data.spec)[0].rows(data.parts["test"].ids.numpy())
        answers, wanted = model.task.answers(found, records), assembly.task.answers(expected, records)
        pd.testing.assert_frame_equal(answers.table, wanted.table, atol=1e-5)
        assert (answers.images is None) == (wanted.images is None) == (task not in DRAWN or variant == "rows")
    reported = evaluate_in_training(assembly, "test", "fp32")
    assert evaluate(model, part="test") == {
        f"{name}/test": pytest.approx(value, rel=1e-5, abs=1e-6) for name, value in reported.items()
    }
