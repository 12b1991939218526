"""The number of workers never changes the result."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from stoker.training import reduction
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate
from stoker.training.events import EpochEnd, StepEnd
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import prepare
from stoker.training.reduction import GradientReducer, buckets

PROBES = ("wgan_gp", "char_rnn", "denoising", "boxes")

pytestmark = pytest.mark.usefixtures("one_thread")


def curve(job: Any, steps: int) -> Callable[[Workers], Any]:
    """Train some steps; return the losses of each, the metrics of each epoch, and the sum of the final weights."""
    prepared = prepare(job)

    def work(workers: Workers) -> Any:
        state = start(assemble(prepared, workers))
        losses, metrics = [], []
        for event in train("r", state):
            if isinstance(event, StepEnd):
                losses.append({term: float(value) for term, value in event.losses.items()})
                if len(losses) == steps:
                    break
            elif isinstance(event, EpochEnd):
                metrics.append(event.metrics)
        weights = torch.cat([p.detach().flatten().double() for p in state.assembly.objective.parameters()])
        return losses, metrics, weights

    return work


@pytest.mark.parametrize("deferred_bytes", [reduction.DEFERRED_BYTES, 0])
def test_the_losses_of_a_hundred_steps_agree_for_1_2_and_4_workers_on_uneven_batches(
    make_job, in_workers, monkeypatch, deferred_bytes
):
    monkeypatch.setattr(reduction, "DEFERRED_BYTES", deferred_bytes)
    training = {"batch_size": 150, "steps": 101, "precision": "fp32", "micro_batch": 64}
    architecture = {"family": "cnn", "channels": [8, 16]}
    job = make_job("image-classification", "digits", architecture=architecture, training=training)
    work = curve(job, 100)
    alone, metrics, weights = work(ALONE)
    assert len(alone) == 100
    for count in (2, 4):
        for losses, their_metrics, their_weights in in_workers(count, work):
            assert max(abs(a["loss"] - b["loss"]) for a, b in zip(alone, losses, strict=True)) < 1e-5
            assert torch.allclose(weights, their_weights, atol=1e-4)
            assert [m.keys() for m in their_metrics] == [m.keys() for m in metrics]


@pytest.mark.parametrize("name", PROBES)
def test_the_probes_agree_for_1_2_and_3_workers(name, probe, in_workers):
    work = curve(probe(name), 20)
    alone, metrics, weights = work(ALONE)
    for count in (2, 3):
        for losses, their_metrics, their_weights in in_workers(count, work):
            assert all(abs(a[t] - b[t]) < 1e-5 for a, b in zip(alone, losses, strict=True) for t in a)
            assert torch.allclose(weights, their_weights, atol=1e-5)
            for mine, theirs in zip(metrics, their_metrics, strict=True):
                assert theirs == pytest.approx(mine, abs=1e-5)


def test_the_metrics_of_the_same_weights_agree(make_job, in_workers):
    job = make_job("tabular-classification", "breast-cancer", training={"batch_size": 40, "precision": "fp32"})
    pictures = make_job("image-classification", "digits", architecture={"family": "cnn", "channels": [8]})

    def work(workers: Workers) -> Any:
        return [evaluate(assemble(prepared, workers), part, "fp32") for prepared in ready for part in ("train", "test")]

    ready = [prepare(job), prepare(pictures)]
    alone = work(ALONE)
    for count in (2, 4):
        for theirs in in_workers(count, work):
            for mine, other in zip(alone, theirs, strict=True):
                assert other == pytest.approx(mine, abs=1e-6)


def test_every_sample_of_an_epoch_is_counted_once_and_each_worker_has_its_rows(make_job, in_workers):
    job = make_job("tabular-classification", "iris", training={"batch_size": 50, "micro_batch": 9})
    prepared = prepare(job)

    def work(workers: Workers) -> list[list[int]]:
        batches = assemble(prepared, workers).batches()
        return [[i for batch, _ in step.micro_batches for i in batch.ids.tolist()] for step in batches.epoch(1)]

    whole = work(ALONE)
    for count in (2, 3, 4):
        shares = in_workers(count, work)
        for number, ids in enumerate(whole):
            assert [i for share in shares for i in share[number]] == ids
    assert sorted(i for ids in whole for i in ids) == sorted(prepared.data.parts["train"].ids.tolist())


def test_a_gradient_of_some_workers_is_summed_and_one_of_none_stays_absent(in_workers):
    def work(workers: Workers) -> Any:
        parameters = [torch.nn.Parameter(torch.zeros(3)) for _ in range(3)]
        reducer = GradientReducer(parameters, workers)
        reducer.begin([torch.tensor(1.0), torch.tensor(float(workers.rank))])
        loss = parameters[0].sum() * (workers.rank + 1)
        if workers.rank == 1:
            loss = loss + parameters[1].sum()
        loss.backward()
        numbers = [float(value) for value in reducer.finish()]
        return [numbers, *[None if p.grad is None else p.grad.tolist() for p in parameters]]

    for result in in_workers(2, work):
        assert result == [[2.0, 1.0], [3.0, 3.0, 3.0], [1.0, 1.0, 1.0], None]


def test_gradients_are_divided_by_the_sum_of_a_number(in_workers):
    def work(workers: Workers) -> Any:
        parameters = [torch.nn.Parameter(torch.zeros(size)) for size in (2, 300_000)]
        reducer = GradientReducer(parameters, workers)
        reducer.begin([torch.tensor(1.0), torch.tensor(3.0 + 2 * workers.rank)])
        sum(p.sum() for p in parameters).backward()
        sums = reducer.finish(divisor=1)
        return [*map(float, sums), *[sorted({*p.grad.tolist()}) for p in parameters]]

    assert in_workers(2, work) == [[2.0, 8.0, [0.25], [0.25]]] * 2


def test_a_gradient_of_an_earlier_micro_batch_is_summed_even_if_the_last_one_has_none(in_workers):
    def work(workers: Workers) -> Any:
        early, late = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
        reducer = GradientReducer([early, late], workers)
        (early.sum() * (workers.rank + 1) + late.sum()).backward()
        reducer.begin([torch.tensor(0.0)])
        late.sum().backward()
        reducer.finish()
        return early.grad.tolist(), late.grad.tolist()

    assert in_workers(2, work) == [([3.0, 3.0], [4.0, 4.0])] * 2


def test_buckets_are_reduced_in_one_order_whichever_gradient_is_ready_first(in_workers):
    def work(workers: Workers) -> Any:
        parameters = [torch.nn.Parameter(torch.ones(size)) for size in (300_000, 3, 400_000, 500_000, 2)]
        reducer = GradientReducer(parameters, workers)
        results = []
        for _ in range(2):
            order = parameters if workers.rank else parameters[::-1]
            chain = torch.zeros(())
            for number, parameter in enumerate(order):  # backward starts at the end of the chain
                chain = chain * 0.5 + parameter.sum() * (number + 1)
            reducer.begin([chain.detach()])
            chain.backward()
            (total,) = reducer.finish()
            results.append([float(total), *[float(p.grad.mean()) for p in parameters]])
            for parameter in parameters:
                parameter.grad = None
        return results

    one, other = in_workers(2, work)
    assert one == other
    assert one[0] == one[1]
    factors = [(number + 1) * 0.5 ** (4 - number) for number in range(5)]
    assert one[0][1:] == pytest.approx([a + b for a, b in zip(factors, factors[::-1], strict=True)])


def test_buckets_only_depend_on_shapes_and_types():
    sizes = [10, 300_000, 100_000, 3_000_000, 2_000_000, 5]
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in sizes]
    parameters.insert(2, torch.nn.Parameter(torch.zeros(7, dtype=torch.float64)))
    numbers = [[p.numel() for p in bucket] for bucket in buckets(parameters)]
    assert numbers == [[10, 300_000], [7], [100_000, 3_000_000], [2_000_000, 5]]


def test_a_gradient_of_no_worker_stays_absent_in_a_bucket_with_others(in_workers):
    def work(workers: Workers) -> Any:
        parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
        reducer = GradientReducer(parameters, workers)
        found = []
        for step in range(3):
            reducer.begin([torch.tensor(0.0)])
            if step == workers.rank or step == 2:  # first one worker has a gradient, then the other, then both
                parameters[1].sum().backward()
            reducer.finish()
            found.append([None if p.grad is None else p.grad.tolist() for p in parameters])
            parameters[1].grad = None
        return found

    for found in in_workers(2, work):
        assert found == [[None, [1.0, 1.0], None], [None, [1.0, 1.0], None], [None, [2.0, 2.0], None]]


def test_a_gradient_keeps_the_layout_of_its_parameter_and_its_memory(in_workers):
    def work(workers: Workers) -> Any:
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        images = torch.randn(2, 3, 5, 5).to(memory_format=torch.channels_last)
        reducer = GradientReducer(list(layer.parameters()), workers)
        found, places = [], set()
        for _ in range(2):
            reducer.begin([torch.tensor(0.0)])
            layer(images).square().sum().backward()
            reducer.finish()
            found += [layer.weight.grad.stride() == layer.weight.stride(), layer.weight.grad.clone()]
            places.add(layer.weight.grad.data_ptr())
            layer.zero_grad()
        layer(images).square().sum().backward()  # without a reduction
        return found, len(places), torch.allclose(found[1], 2 * layer.weight.grad)

    for (same, first, again, second), places, doubled in in_workers(2, work):
        assert same
        assert again
        assert torch.equal(first, second)
        assert places == 1
        assert doubled
