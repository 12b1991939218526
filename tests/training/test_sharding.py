"""Weights that are divided among the workers: the same training, in a part of the memory each."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from stoker.job.training import OptimizersChoice
from stoker.storage import open_storage
from stoker.training.assembly import assemble, made_whole
from stoker.training.checkpoint import Checkpoints
from stoker.training.evaluation import evaluate
from stoker.training.events import EpochEnd, StepEnd
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import prepare
from stoker.training.sharding import JoinedParts, layers, local
from stoker.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")


def divided(job: Any, workers: int, **changes: Any) -> Any:
    """Return a job for some workers, each of which holds its part of the weights."""
    training = job.training.model_copy(update={"parallel": "fsdp", **changes})
    return job.model_copy(
        update={"training": training, "resources": job.resources.model_copy(update={"workers": workers})}
    )


def losses_of(state: TrainingState, steps: int) -> list[float]:
    losses: list[float] = []
    for event in train("r", state):
        if isinstance(event, StepEnd):
            losses.append(float(event.losses["loss"]))
            if len(losses) == steps:
                break
    return losses


def held(state: TrainingState) -> int:
    """Return the bytes of weights and optimizer states that this worker holds."""
    tensors = [*state.assembly.objective.parameters()]
    for optimizers in state.optimizers.values():
        for optimizer in optimizers:
            tensors += [value for each in optimizer.state.values() for value in each.values() if value.ndim]
    return sum(local(tensor).numel() * tensor.element_size() for tensor in tensors)


@pytest.fixture(scope="module")
def tokens(probe):
    return probe("tokens")


@pytest.mark.slow
def test_a_hundred_steps_agree_for_1_2_and_4_workers_and_each_holds_its_part(tokens, in_workers):
    def work(workers: Workers) -> Any:
        state = start(assemble(prepare(divided(tokens, workers.count)), workers))
        return losses_of(state, 100), held(state)

    tokens = divided(tokens, 1, epochs=None, steps=101, batch_size=62, micro_batch=None)
    alone, all_bytes = work(ALONE)
    assert alone[-1] < alone[0] / 2
    for count, share in ((2, 0.6), (4, 0.35)):
        for losses, held_bytes in in_workers(count, work):
            assert losses == pytest.approx(alone, abs=1e-5)
            assert held_bytes <= share * all_bytes


@pytest.mark.parametrize(
    "optimizer", ["sgd", *(pytest.param(name, marks=pytest.mark.slow) for name in ("adam", "adamw"))]
)
def test_a_clipped_gradient_agrees_with_each_optimizer(tokens, in_workers, optimizer):
    chosen = TypeAdapter(OptimizersChoice).validate_python({"type": optimizer, "lr": 1e-4})

    def work(workers: Workers) -> Any:
        job = divided(tokens, workers.count, optimizer=chosen, gradient_clip=0.5)
        return losses_of(start(assemble(prepare(job), workers)), 20)

    alone = work(ALONE)
    for losses in in_workers(2, work):
        assert losses == pytest.approx(alone, abs=1e-5)


def test_in_bf16_weights_are_gathered_in_half_of_the_memory_and_kept_in_float32(tokens, in_workers):
    def work(workers: Workers) -> Any:
        state = start(assemble(prepare(divided(tokens, workers.count, precision="bf16")), workers))
        seen = set()
        network = state.assembly.objective.network
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.register_forward_hook(lambda layer, *_: seen.add(layer.weight.dtype))
        losses = losses_of(state, 20)
        kept = {local(parameter).dtype for parameter in network.parameters()}
        return losses, evaluate(state.assembly, "val", "bf16"), seen, kept

    losses, metrics, _, _ = work(ALONE)
    for theirs, their_metrics, seen, kept in in_workers(2, work):
        assert theirs == pytest.approx(losses, rel=0.02)
        assert their_metrics == pytest.approx(metrics, rel=0.05)
        assert (seen, kept) == ({torch.bfloat16}, {torch.float32})


def test_statistics_of_batches_and_inputs_stay_in_float32(probe, in_workers):
    def work(workers: Workers) -> Any:
        state = start(assemble(prepare(divided(probe("normed"), workers.count)), workers))
        losses = losses_of(state, 6)
        network = state.assembly.objective.network.network
        return losses, network.types, network.layers[1].running_mean.dtype

    for losses, types, statistics in in_workers(2, work):
        assert losses[-1] < losses[0]
        assert types == {torch.float32}
        assert statistics == torch.float32


@pytest.mark.parametrize(
    "architecture",
    [
        {"family": "cnn", "channels": [8, 8], "blocks": "plain"},
        {"family": "cnn", "channels": [8, 8], "blocks": "residual"},
        {"family": "vit", "width": 8, "layers": 2, "heads": 2, "pool": "token", "positions": "learned"},
    ],
)
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_a_network_for_images_trains_with_divided_weights(make_job, in_workers, architecture, precision):
    training = {"batch_size": 64, "precision": precision}
    job = make_job("image-classification", "digits", architecture=architecture, training=training)

    def work(workers: Workers) -> Any:
        return losses_of(start(assemble(prepare(divided(job, workers.count)), workers)), 10)

    alone = work(ALONE)
    for losses in in_workers(2, work):
        assert losses == pytest.approx(alone, abs=1e-5 if precision == "fp32" else 0.05)


STILL = {"type": "sgd", "lr": 0.05, "momentum": 0.0}
PRETRAINED = [("fill-mask", "pretrained"), ("text-generation", "lora"), ("translation", "frozen")]
REPEATED = [
    ("text-classification", "pretrained"),
    ("text-classification", "frozen"),
    ("question-answering", "lora"),
    ("fill-mask", "lora"),
    ("instruction-tuning", "pretrained"),
    ("translation", "pretrained"),
    ("summarization", "lora"),
]
"""The same kinds of model and of tuning with other tasks."""


@pytest.mark.parametrize(
    ("task", "variant"),
    [*PRETRAINED, *(pytest.param(*case, marks=pytest.mark.slow) for case in REPEATED)],
    ids=lambda name: name,
)
def test_a_pretrained_model_trains_with_divided_weights(task, variant, tiny, in_workers):
    def work(workers: Workers) -> Any:
        job = divided(tiny(task, variant, dropout=False, optimizer=STILL, micro_batch=5, epochs=1), workers.count)
        assembly = assemble(prepare(job), workers)
        events = list(train("r", start(assembly)))
        losses = [float(event.losses["loss"]) for event in events if isinstance(event, StepEnd)]
        (metrics,) = [event.metrics for event in events if isinstance(event, EpochEnd)]
        whole = made_whole(assembly).objective.state_dict()
        kept = {name: value.clone() for name, value in whole.items()} if workers.rank == 0 else {}
        return losses, metrics, kept, evaluate(assembly, "test", "fp32")

    losses, metrics, weights, tested = work(ALONE)
    found = in_workers(2, work)
    for theirs, their_metrics, _, their_tested in found:
        assert theirs == pytest.approx(losses, abs=1e-4)
        assert their_metrics == pytest.approx(metrics, rel=1e-2, abs=1e-3)
        assert their_tested == pytest.approx(tested, rel=1e-2, abs=1e-3)
    assert found[0][2].keys() == weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(found[0][2][name], value, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "variant", ["lora", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pretrained", "frozen"))]
)
def test_a_checkpoint_of_a_divided_pretrained_model_opens_on_any_workers(variant, tiny, in_workers, tmp_path):
    def job(workers: Workers) -> Any:
        return divided(tiny("translation", variant, dropout=False), workers.count)

    def save(workers: Workers) -> Any:
        state = start(assemble(prepare(job(workers)), workers))
        losses_of(state, 2)
        checkpoints = Checkpoints(open_storage(str(tmp_path / "saved")), "", 1, 1)
        checkpoints.save(state)
        checkpoints.finish()
        return losses_of(state, 3)

    def go_on(workers: Workers) -> Any:
        state = start(assemble(prepare(job(workers)), workers))
        restored = Checkpoints(open_storage(str(tmp_path / "saved")), "", 1, 2).restore(state)
        assert restored is not None
        return losses_of(state, 3)

    expected = in_workers(2, save)[0]
    for losses in [go_on(ALONE), *in_workers(2, go_on)]:
        assert losses == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("task", ["fill-mask", "text-generation", "translation", "summarization"])
def test_a_pretrained_model_trains_with_weights_gathered_in_bf16(task, tiny, in_workers):
    def work(workers: Workers) -> Any:
        job = divided(tiny(task, "pretrained", dropout=False, optimizer=STILL, precision="bf16"), workers.count)
        state = start(assemble(prepare(job), workers))
        losses = losses_of(state, 3)
        return losses, {local(parameter).dtype for parameter in state.assembly.objective.parameters()}

    alone, _ = work(ALONE)
    for losses, kept in in_workers(2, work):
        assert losses == pytest.approx(alone, rel=0.02)
        assert kept == {torch.float32}


def test_metrics_are_those_of_whole_weights_also_for_uneven_parts(tokens, in_workers):
    def work(workers: Workers) -> Any:
        assembly = assemble(prepare(divided(tokens, workers.count, micro_batch=7)), workers)
        return [evaluate(assembly, part, "fp32") for part in ("train", "val")]

    alone = work(ALONE)
    for count in (2, 3):
        for found in in_workers(count, work):
            for mine, theirs in zip(alone, found, strict=True):
                assert theirs == pytest.approx(mine, abs=1e-5)


def test_a_checkpoint_of_four_opens_on_one_two_and_replicated(tokens, in_workers, tmp_path):
    def job(workers: Workers, parallel: str) -> Any:
        return divided(tokens, workers.count, parallel=parallel, epochs=None, steps=30)

    def save(workers: Workers) -> Any:
        state = start(assemble(prepare(job(workers, "fsdp")), workers))
        losses_of(state, 10)
        checkpoints = Checkpoints(open_storage(str(tmp_path / "saved")), "", 1, 1)
        checkpoints.save(state)
        checkpoints.finish()
        return losses_of(state, 10)

    def go_on(parallel: str) -> Any:
        def work(workers: Workers) -> Any:
            state = start(assemble(prepare(job(workers, parallel)), workers))
            restored = Checkpoints(open_storage(str(tmp_path / "saved")), "", 1, 2).restore(state)
            assert restored is not None
            assert restored.step == 10
            return losses_of(state, 10)

        return work

    expected = in_workers(4, save)[0]
    for count, parallel in ((1, "fsdp"), (2, "fsdp"), (4, "fsdp"), (2, "replicated")):
        for losses in [go_on(parallel)(ALONE)] if count == 1 else in_workers(count, go_on(parallel)):
            assert losses == pytest.approx(expected, abs=1e-5)


def test_the_model_is_whole(tokens, in_workers):
    plain = TypeAdapter(OptimizersChoice).validate_python({"type": "sgd", "lr": 0.01})

    def work(workers: Workers) -> Any:
        state = start(assemble(prepare(divided(tokens, workers.count, optimizer=plain)), workers))
        losses_of(state, 5)
        whole = made_whole(state.assembly).objective.state_dict()
        return {name: value.clone() for name, value in whole.items()} if workers.rank == 0 else None

    alone, (found, _) = work(ALONE), in_workers(2, work)
    assert found.keys() == alone.keys()
    for name, value in alone.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


def test_layers_are_the_outermost_members_of_lists_without_shared_weights():
    first, second, tied = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 4, bias=False)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.ModuleList([first, nn.ReLU(), second, tied])
            self.head = nn.Linear(4, 4, bias=False)
            self.head.weight = tied.weight

    assert layers(Network()) == [first, second]
    assert layers(nn.Linear(4, 4)) == []


def test_parts_are_joined_one_tensor_at_a_time():
    parts = [{"a": torch.ones(2, 3), "b": torch.ones(1)}, {"a": torch.zeros(1, 3)}]
    joined = JoinedParts(parts, ["a"])
    assert (joined.shape("a"), joined.shape("b")) == ((3, 3), (1,))
    assert joined["a"].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
    assert set(joined) == {"a", "b"}
