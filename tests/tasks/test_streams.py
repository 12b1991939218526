"""Metrics and reviews stream: neither batches nor workers show in what they come to."""

import pickle
from functools import partial
from itertools import pairwise

import pytest
import torch

from stoker.job.task import TASKS
from stoker.tasks.classification.classification import MOST_SCORES, THRESHOLDS
from stoker.tasks.metrics import KEPT, Together, Worst

COUNT = 101
CUTS = (0, 1, 8, 60, 61, 101)


def piece(batch, places: slice):
    inputs = {name: value[places] for name, value in batch.inputs.items()}
    return type(batch)(inputs, None if batch.target is None else batch.target[places])


def sent(state):
    """Send a state to another process."""
    return pickle.loads(pickle.dumps(state))


def _all_metrics(task, samples):
    expensive = task.expensive_metrics(samples)
    return Together(task.metrics(samples), *([expensive] if expensive else []))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("samples", [COUNT, 10**9])
def test_many_batches_and_two_workers_measure_what_one_batch_does(name, samples, made, task_of):
    outputs, batch = made(name, COUNT)
    metrics_of = partial(_all_metrics, task_of(name), samples)
    whole = metrics_of()
    whole.update(outputs, batch)
    expected = whole.compute()
    assert all(value == value for value in expected.values())
    streamed = metrics_of()
    one, other, idle = (metrics_of() for _ in range(3))
    for number, (a, b) in enumerate(pairwise(CUTS)):
        streamed.update(outputs[a:b], piece(batch, slice(a, b)))
        (one if number % 2 else other).update(outputs[a:b], piece(batch, slice(a, b)))
    assert streamed.compute() == pytest.approx(expected, rel=1e-5)
    one.merge(sent(other.state()))
    assert one.compute() == pytest.approx(expected, rel=1e-5)
    idle.merge(sent(one.state()))  # a first worker that had no batch of its own
    assert idle.compute() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "image-generation"])
def test_many_batches_and_two_workers_show_what_one_batch_does(name, made, task_of):
    outputs, batch = made(name, COUNT)
    ids = torch.arange(COUNT) + 1000
    whole, one, other = (task_of(name).review() for _ in range(3))
    whole.update(outputs, batch, ids)
    for number, (a, b) in enumerate(pairwise(CUTS)):
        (one if number % 2 else other).update(outputs[a:b], piece(batch, slice(a, b)), ids[a:b])
    one.merge(sent(other.state()))
    assert one.rows() == whole.rows()
    assert len(one.rows()) == (0 if name == "table-generation" else KEPT)
    mine, theirs = one.figures(), whole.figures()
    assert mine.keys() == theirs.keys()
    titles = [figure.axes[0].get_title() for figure in mine.values()]
    assert titles == [figure.axes[0].get_title() for figure in theirs.values()]
    assert f"{COUNT if name != 'segmentation' else COUNT * 72} samples" in titles[0]
    assert one.tables() == whole.tables()


def test_the_auroc_of_very_many_samples_is_read_off_its_curve(made, task_of):
    outputs, batch = made("tabular-classification", 2000)
    exact, coarse = (task_of("tabular-classification").metrics(count) for count in (MOST_SCORES // 3, MOST_SCORES))
    for metrics in (exact, coarse):
        metrics.update(outputs, batch)
    assert coarse.compute()["auroc"] == pytest.approx(exact.compute()["auroc"], abs=2 / THRESHOLDS)
    sizes = [sum(each.numel() for each in _tensors(metrics.state()["auroc"])) for metrics in (exact, coarse)]
    coarse.update(outputs, batch)
    assert sum(each.numel() for each in _tensors(coarse.state()["auroc"])) == sizes[1]


def _tensors(state):
    return [each for value in state.values() for each in (value if isinstance(value, list) else [value])]


def test_the_worst_are_kept_whatever_the_batches_and_equals_by_their_ids():
    rng = torch.Generator().manual_seed(0)
    losses = (torch.rand(200, generator=rng) * 20).floor()  # with many equals
    outputs, target, ids = torch.arange(200.0), torch.arange(200), torch.randperm(200, generator=rng)
    expected = sorted(zip((-losses).tolist(), ids.tolist(), strict=True))
    distinct = losses + torch.arange(200) / 1000
    best = sorted(zip((-distinct).tolist(), ids.tolist(), strict=True))[:7]
    for cuts in ((0, 200), (0, 3, 50, 51, 199, 200)):
        worst, one, other = Worst(7), Worst(7), Worst(7)
        for number, (a, b) in enumerate(pairwise(cuts)):
            for kept in (worst, one if number % 2 else other):
                kept.update(distinct[a:b], outputs[a:b], target[a:b], ids[a:b])
        one.merge(other.state())
        assert one.seen == worst.seen == 200
        for kept in (worst, one):
            assert [shown.id for shown in kept.samples] == [number for _, number in best]
            assert [-shown.loss for shown in kept.samples] == pytest.approx([loss for loss, _ in best])
            assert all(int(shown.output) == int(shown.target) == (ids == shown.id).nonzero() for shown in kept.samples)
    tied = Worst(7)
    tied.update(losses, outputs, None, ids)
    assert [-shown.loss for shown in tied.samples] == [loss for loss, _ in expected[:7]]
    assert tied.samples == sorted(tied.samples, key=lambda shown: (-shown.loss, shown.id))
    assert all(shown.target is None for shown in tied.samples)


def test_the_frechet_distance_is_that_of_two_normal_distributions(rows, task_of):
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(4000, 1, 9, 8, generator=rng).double()
    metrics = task_of("image-generation").expensive_metrics(4000)
    metrics.update(real + 0.5, rows({"image": real}))
    assert metrics.compute()["frechet"] == pytest.approx(64 * 0.25, rel=1e-6)  # the same shape, moved in 64 fields
    wider = task_of("image-generation").expensive_metrics(4000)
    wider.update(real * 2, rows({"image": real}))
    pooled = torch.nn.functional.adaptive_avg_pool2d(real, (8, 8)).flatten(1)
    moved = pooled.mean(dim=0).square().sum()
    assert wider.compute()["frechet"] == pytest.approx(float(pooled.var(dim=0, correction=0).sum() + moved), rel=1e-6)
    few = task_of("image-generation").expensive_metrics(1)
    few.update(real[:1], rows({"image": real[:1]}))
    assert few.compute()["frechet"] != few.compute()["frechet"]
