import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from stoker.datasets.fields.number import ValueField
from stoker.datasets.fields.schema import Fields
from stoker.tasks.classification.classification import MOST_SCORES
from stoker.tasks.defined_metrics import R2, Auroc
from stoker.tasks.tabular_regression import TabularRegression


def pairwise_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Share of the pairs of a positive and a negative that stand in the right order; ties count half."""
    differences = scores[positive][:, None] - scores[~positive][None]
    return float(((differences > 0) + 0.5 * (differences == 0)).mean())


@pytest.fixture
def classified() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (501,), generator=rng)
    logits = torch.randn(501, 3, generator=rng) + torch.nn.functional.one_hot(target, 3)
    return (logits * 4).round() / 4, target  # rounded: some scores are equal


@pytest.fixture
def measured(rows):
    def measure(metrics, outputs, target, cuts=(0, 7, 400, 501)):
        for a, b in pairwise(cuts):
            metrics.update(outputs[a:b], rows({}, target[a:b]))
        return metrics.compute()

    return measure


def test_classification_metrics_equal_their_definitions(classified, measured, task_of):
    logits, target = classified
    values = measured(task_of("tabular-classification").metrics(501), logits, target)
    truth, chosen = target.numpy(), logits.argmax(1).numpy()
    scores = logits.softmax(1).numpy()
    f1 = [2 * ((chosen == c) & (truth == c)).sum() / ((chosen == c).sum() + (truth == c).sum()) for c in range(3)]
    assert values == {
        "accuracy": pytest.approx((truth == chosen).mean()),
        "f1": pytest.approx(np.mean(f1)),
        "auroc": pytest.approx(np.mean([pairwise_auroc(scores[:, c], truth == c) for c in range(3)])),
    }


def test_regression_metrics_equal_their_definitions(measured):
    rng = np.random.default_rng(0)
    truth = rng.normal(1000, 20, 501).astype(np.float32)
    outputs = torch.from_numpy(((truth - 1000) / 20 + rng.normal(0, 0.3, 501)).astype(np.float32))[:, None]
    task = TabularRegression(Fields((), ValueField("y", 1000.0, 20.0)))
    values = measured(task.metrics(501), outputs, torch.from_numpy(truth))
    errors = outputs.numpy()[:, 0].astype(float) * 20 + 1000 - truth
    assert values == {
        "rmse": pytest.approx(np.sqrt((errors**2).mean())),
        "mae": pytest.approx(np.abs(errors).mean()),
        "r2": pytest.approx(1 - (errors**2).sum() / ((truth - truth.mean(dtype=float)) ** 2).sum()),
    }


@pytest.mark.parametrize("thresholds", [False, True])
def test_the_metrics_of_tags_equal_their_definitions(measured, task_of, thresholds):
    rng = torch.Generator().manual_seed(0)
    target = (torch.rand(501, 3, generator=rng) < 0.3).to(torch.uint8)
    logits = (torch.randn(501, 3, generator=rng) + 2 * target - 1).clamp(-6, 6)
    samples = MOST_SCORES if thresholds else 501
    values = measured(task_of("multi-label-classification").metrics(samples), logits, target)
    truth, chosen, scores = target.numpy(), (logits > 0).numpy(), logits.sigmoid().numpy()
    near = 0.01 if thresholds else 1e-6
    assert values == {
        "f1_micro": pytest.approx(f1_score(truth, chosen, average="micro")),
        "f1_macro": pytest.approx(f1_score(truth, chosen, average="macro")),
        "exact_match": pytest.approx((truth == chosen).all(axis=1).mean()),
        "average_precision": pytest.approx(average_precision_score(truth, scores), abs=near),
    }


def test_a_tag_without_positives_is_left_out_of_averages_without_a_warning(measured, task_of):
    target = torch.tensor([[1, 0, 0], [1, 0, 1], [0, 0, 1]])
    logits = torch.tensor([[5.0, -5.0, -5.0], [5.0, -5.0, -5.0], [-5.0, -5.0, 5.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = measured(task_of("multi-label-classification").metrics(3), logits, target, (0, 3))
    assert values["f1_macro"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["average_precision"] == pytest.approx((1 + (1 + 2 / 3) / 2) / 2)


def test_samples_without_any_tag_leave_f1_undefined(measured, task_of):
    values = measured(task_of("multi-label-classification").metrics(2), -torch.ones(2, 3), torch.zeros(2, 3), (0, 2))
    assert values.pop("exact_match") == 1
    assert all(math.isnan(value) for value in values.values())


def test_auroc_leaves_out_classes_without_samples_without_a_warning(classified):
    logits, target = classified
    two = target != 2
    metric = Auroc(3, average="none", thresholds=None, validate_args=False)
    metric.update(logits.softmax(1)[two], target[two])
    scores, truth = logits.softmax(1)[two].numpy(), target[two].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = float(metric.compute())
    assert value == pytest.approx(np.mean([pairwise_auroc(scores[:, c], truth == c) for c in range(2)]))


def test_auroc_of_one_class_alone_is_undefined():
    metric = Auroc(3, average="none", thresholds=None, validate_args=False)
    metric.update(torch.eye(3), torch.tensor([1, 1, 1]))
    assert math.isnan(float(metric.compute()))


@pytest.mark.parametrize("target", [[1.0], [2.0, 2.0, 2.0]])
def test_r2_of_samples_that_do_not_vary_is_undefined(target):
    metric = R2().set_dtype(torch.float64)
    metric.update(torch.zeros(len(target)), torch.tensor(target))
    assert math.isnan(float(metric.compute()))


def test_r2_does_not_depend_on_the_unit():
    truth, guess = torch.tensor([1.0, 2.0, 4.0]).double(), torch.tensor([1.5, 2.0, 3.0]).double()
    for unit in (1.0, 1e-6):
        metric = R2().set_dtype(torch.float64)
        metric.update(guess * unit, truth * unit)
        assert float(metric.compute()) == pytest.approx(1 - 1.25 / (14 / 3))
