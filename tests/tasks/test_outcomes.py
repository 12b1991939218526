"""What each task minimises, answers and shows."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_fscore_support
from torch import nn

from stoker.datasets.fields.category import ClassField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.records import Records
from stoker.errors import JobError
from stoker.job.task import TASKS
from stoker.tasks.choice import TASK_CLASSES
from stoker.tasks.classification.classification import CrossEntropy
from stoker.tasks.classification.multi_label_classification import BinaryCrossEntropy
from stoker.tasks.generation.image_generation import ImageGeneration
from stoker.tasks.pictures.pixel_losses import PixelLosses
from stoker.tasks.tabular_regression import SquaredError

UNUSED = Records({})
"""Where answers follow from the outputs alone."""


class Given(nn.Module):
    """Returns what it is given."""

    def forward(self, inputs):
        return inputs["numbers"]


class NoNoise:
    def normal(self, *shape):
        raise AssertionError("supervised tasks draw nothing")

    uniform = normal


@pytest.mark.parametrize("weight", [None, [1.0, 0.0, 2.0]])
def test_cross_entropy_is_a_sum_and_what_it_counts(rows, weight):
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    weights = None if weight is None else torch.tensor(weight)
    batch = rows({"numbers": logits}, torch.tensor([0, 0, 1]), weights)
    each = torch.log(torch.exp(logits).sum(1)) - logits[torch.arange(3), batch.target]
    counted = torch.ones(3) if weights is None else weights
    objective = CrossEntropy(Given())
    evaluated = objective.evaluate(batch, NoNoise())[0]["loss"]
    for total in (objective(batch, "network", NoNoise())["loss"], evaluated.total):
        torch.testing.assert_close(total, (each * counted).sum())
    for count in (objective.counts(batch, "network")["loss"], evaluated.count):
        assert float(count) == float(counted.sum())


def test_the_weight_of_a_class_multiplies_that_of_its_samples(rows):
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.5]])
    target, of_class = torch.tensor([0, 0, 1]), torch.tensor([3.0, 0.5])
    objective = CrossEntropy(Given(), of_class)
    for weight in (None, torch.tensor([1.0, 0.0, 2.0])):
        batch = rows({"numbers": logits}, target, weight)
        each = of_class[target] * (1.0 if weight is None else weight)
        losses = nn.functional.cross_entropy(logits, target, reduction="none")
        torch.testing.assert_close(objective(batch, "network", NoNoise())["loss"], (losses * each).sum())
        assert float(objective.counts(batch, "network")["loss"]) == float(each.sum())
        torch.testing.assert_close(objective.evaluate(batch, NoNoise())[0]["loss"].count, each.sum())
    batch = rows({"numbers": logits}, target)
    mean = objective(batch, "network", NoNoise())["loss"] / objective.counts(batch, "network")["loss"]
    torch.testing.assert_close(mean, nn.functional.cross_entropy(logits, target, of_class))
    assert objective.state_dict() == {}


def test_smoothed_labels_are_those_of_torch(rows):
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 1, 2, 2, 1])
    total = CrossEntropy(Given(), smoothing=0.2)(rows({"numbers": logits}, target), "network", NoNoise())["loss"]
    torch.testing.assert_close(total, nn.functional.cross_entropy(logits, target, label_smoothing=0.2, reduction="sum"))


def test_squared_error_is_in_units_of_the_variance(rows, task_of):
    batch = rows({"numbers": torch.tensor([[0.0], [1.0]])}, torch.tensor([100.0, 130.0]))
    losses, output = SquaredError(Given(), task_of("tabular-regression").value).evaluate(batch, NoNoise())
    assert float(losses["loss"].total) == pytest.approx(0 + 4)
    assert output.shape == (2, 1)


@pytest.mark.parametrize("weight", [None, [1.0, 3.0]])
def test_the_losses_of_pixels_are_their_definitions(rows, weight):
    logits = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 1, 2, 1] * 10, dtype=torch.uint8).view(2, 5, 4)
    weights = None if weight is None else torch.tensor(weight)
    batch = rows({"numbers": logits}, target, weights)
    objective = PixelLosses(Given())
    each = weights if weights is not None else torch.ones(2)
    assert {term: float(count) for term, count in objective.counts(batch, "network").items()} == {
        "cross_entropy": 20 * float(each.sum()),
        "soft_dice": float(each.sum()),
    }
    totals = objective(batch, "network", NoNoise())
    entropy = nn.functional.cross_entropy(logits, target.long(), reduction="none").sum(dim=(1, 2))
    torch.testing.assert_close(totals["cross_entropy"], (entropy * each).sum())
    dice = []
    for image, mask in zip(logits.softmax(1), target, strict=True):
        scores = [
            (2 * image[c][mask == c].sum() + 1) / (image[c].sum() + (mask == c).sum() + 1) for c in (1, 2)
        ]  # fmt: skip
        dice.append(1 - sum(scores) / 2)
    torch.testing.assert_close(totals["soft_dice"], (torch.stack(dice) * each).sum())


@pytest.mark.parametrize("weight", [None, [1.0, 3.0]])
def test_class_weights_and_smoothed_labels_of_pixels_are_those_of_torch(rows, weight):
    logits = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 1, 2, 1] * 10, dtype=torch.uint8).view(2, 5, 4)
    each = torch.ones(2) if weight is None else torch.tensor(weight)
    batch = rows({"numbers": logits}, target, None if weight is None else each)
    of_class = torch.tensor([0.5, 2.0, 7.0])
    plain, weighted = PixelLosses(Given()), PixelLosses(Given(), of_class)
    smoothed, both = PixelLosses(Given(), None, 0.1), PixelLosses(Given(), of_class, 0.1)
    pixels = of_class[target.long()].sum(dim=(1, 2))
    for objective in (weighted, both):
        assert float(objective.counts(batch, "network")["cross_entropy"]) == float((pixels * each).sum())
        assert float(objective.counts(batch, "network")["soft_dice"]) == float(each.sum())
        assert objective.state_dict() == {}
    dice = plain(batch, "network", NoNoise())["soft_dice"]
    for objective, weights, smoothing in ((weighted, of_class, 0.0), (smoothed, None, 0.1)):
        totals = objective(batch, "network", NoNoise())
        losses = nn.functional.cross_entropy(
            logits, target.long(), weights, reduction="none", label_smoothing=smoothing
        ).sum(dim=(1, 2))
        torch.testing.assert_close(totals["cross_entropy"], (losses * each).sum())
        torch.testing.assert_close(totals["soft_dice"], dice)


def test_a_batch_without_samples_counts_nothing(rows):
    batch = rows({"numbers": torch.zeros(0, 3, 5, 4)}, torch.zeros(0, 5, 4, dtype=torch.uint8))
    for weights in (None, torch.ones(3)):
        assert PixelLosses(Given(), weights).counts(batch, "network") == {"cross_entropy": 0.0, "soft_dice": 0.0}
    assert float(PixelLosses(Given())(batch, "network", NoNoise())["soft_dice"]) == 0


def test_class_predictions_are_for_people(task_of):
    answers = task_of("tabular-classification").answers(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]), UNUSED)
    table = answers.table
    assert list(table.columns) == ["prediction", "probability/a", "probability/b", "probability/c"]
    assert table["prediction"].tolist() == ["b", "a"]
    probabilities = table[["probability/a", "probability/b", "probability/c"]]
    assert probabilities.sum(axis=1).tolist() == pytest.approx([1, 1])
    assert answers.images is None


@pytest.mark.parametrize("of_tag", [None, [0.5, 2.0, 1.0, 7.0]])
@pytest.mark.parametrize("weight", [None, [1.0, 0.0, 2.0]])
def test_the_cross_entropy_of_tags_counts_all_decisions(rows, weight, of_tag):
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.uint8)
    each = torch.ones(3) if weight is None else torch.tensor(weight)
    batch = rows({"numbers": logits}, target, None if weight is None else each)
    tag_weights = None if of_tag is None else torch.tensor(of_tag)
    objective = BinaryCrossEntropy(Given(), 4, tag_weights)
    assert float(objective.counts(batch, "network")["loss"]) == 4 * float(each.sum())
    assert objective.state_dict() == {}
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits, target.float(), pos_weight=tag_weights, reduction="none"
    )
    total = (losses.sum(dim=1) * each).sum()
    torch.testing.assert_close(objective(batch, "network", NoNoise())["loss"], total)
    evaluated = objective.evaluate(batch, NoNoise())[0]["loss"]
    torch.testing.assert_close(evaluated.total, total)
    assert float(evaluated.count) == 4 * float(each.sum())
    empty = rows({"numbers": logits[:0]}, target[:0])
    assert objective.counts(empty, "network") == {"loss": 0.0}


def test_tags_are_answered_as_the_data_writes_them(task_of):
    outputs = torch.tensor([[1.0, -1.0, 0.5], [-1.0, -1.0, -1.0]])
    table = task_of("multi-label-classification").answers(outputs, UNUSED).table
    assert list(table.columns) == ["prediction", "probability/a", "probability/b", "probability/c"]
    assert table["prediction"].tolist() == ["a; c", ""]
    assert table["probability/c"].tolist() == pytest.approx([1 / (1 + math.exp(-0.5)), 1 / (1 + math.e)])


def test_the_worst_tags_come_first(rows, task_of):
    review = task_of("multi-label-classification").review()
    outputs = torch.tensor([[9.0, -9.0, -9.0], [9.0, -9.0, -9.0]])
    review.update(outputs, rows({}, torch.tensor([[1, 0, 0], [0, 1, 1]])), torch.tensor([3, 4]))
    assert [(row["id"], row["target"], row["prediction"]) for row in review.rows()] == [(4, "b; c", "a"), (3, "a", "a")]
    assert review.rows()[0]["loss"] == pytest.approx(9.0001, abs=1e-4)


def test_value_predictions_are_in_the_labels_unit(task_of):
    table = task_of("tabular-regression").answers(torch.tensor([[0.0], [-1.5]]), UNUSED).table
    assert table["prediction"].tolist() == [100.0, 85.0]


def test_masks_are_answered_in_the_values_of_the_files(task_of):
    logits = torch.zeros(1, 3, 9, 8)
    logits[0, 2, 0] = 1.0
    logits[0, 1, 1, 0] = 1.0
    answers = task_of("segmentation").answers(logits, UNUSED)
    assert answers.images.shape == (1, 9, 8)
    assert answers.images[0, 0].tolist() == [255] * 8
    assert answers.images[0, 1].tolist() == [128] + [0] * 7
    assert dict(answers.table.iloc[0]) == pytest.approx({"share/0": 63 / 72, "share/128": 1 / 72, "share/255": 8 / 72})


def test_a_task_without_questions_refuses_them(task_of):
    with pytest.raises(JobError, match=r"^image-generation has nothing to predict; use stoker generate$"):
        task_of("image-generation").answers(torch.zeros(1, 1, 9, 8), UNUSED)


def test_the_worst_class_predictions_come_first(rows, task_of):
    review = task_of("tabular-classification").review()
    outputs = torch.tensor([[5.0, 0.0, -99.0], [0.0, 5.0, -99.0], [1.0, 0.0, -99.0]])
    review.update(outputs, rows({}, torch.tensor([0, 0, 1])), torch.tensor([7, 8, 9]))
    worst = review.rows()
    assert [row["id"] for row in worst] == [8, 9, 7]
    assert worst[0] == {"id": 8, "target": "a", "prediction": "b", "probability": 0.9933, "loss": 5.0067}


def test_the_worst_values_come_first(rows, task_of):
    review = task_of("tabular-regression").review()
    review.update(torch.tensor([[0.0], [1.0]]), rows({}, torch.tensor([101.0, 130.0])), torch.tensor([3, 4]))
    assert review.rows()[0] == {"id": 4, "target": 130.0, "prediction": 110.0, "loss": 4.0}
    assert [row["id"] for row in review.rows()] == [4, 3]


def test_the_worst_masks_come_first_with_their_dice(rows, task_of):
    review = task_of("segmentation").review()
    target = torch.zeros(2, 9, 8, dtype=torch.uint8)
    target[:, 0] = 1
    logits = torch.zeros(2, 3, 9, 8)
    logits[:, 0] = 5.0
    logits[1, 1, 0] = 9.0
    review.update(logits, rows({}, target), torch.tensor([3, 4]))
    assert [(row["id"], row["prediction"]) for row in review.rows()] == [(3, "dice 0.000"), (4, "dice 1.000")]
    drawn = review.drawn(review.shown()[1])
    assert [(mask.shape, sorted(set(mask.flatten().tolist()))) for mask in drawn] == [((9, 8, 1), [0, 127])] * 2


def test_every_task_draws_its_figure(made, task_of):
    figures = {}
    for name in TASKS:
        outputs, batch = made(name, 6)
        if review := task_of(name).review():
            review.update(outputs, batch, torch.arange(6))
            figures[name] = set(review.figures())
    others = {
        "tabular-regression": "predicted-against-true",
        "multi-label-classification": "f1-by-tag",
        "text-generation": "loss-by-context",
        "token-classification": "f1-by-type",
        "translation": "by-source-length",
        "summarization": "by-source-length",
        "fill-mask": "found-by-frequency",
        "question-answering": "f1-by-question",
        "instruction-tuning": "exact-by-length",
        "anomaly-detection": "scores",
        "reconstruction": "codes",
        "table-generation": "correlations",
        "image-captioning": "loss-by-length",
    }
    curves = {name for name in TASKS if name.endswith(("classification", "object-detection"))} - others.keys()
    more = dict.fromkeys(curves, "precision-recall") | {"segmentation": "iou-by-class", "table-generation": "marginals"}
    assert figures == {
        name: {others.get(name, "confusion-matrix"), *([more[name]] if name in more else [])}
        for name in TASKS
        if name != "image-generation"
    }


def test_precision_and_recall_of_each_class_are_those_of_scikit_learn(made, task_of):
    outputs, batch = made("tabular-classification", 200)
    review = task_of("tabular-classification").review()
    halves = [(outputs[:90], batch.target[:90]), (outputs[90:], batch.target[90:])]
    others = task_of("tabular-classification").review()
    for each, (scores, target) in zip((review, others), halves, strict=True):
        each.update(scores, type(batch)({}, target), torch.arange(len(target)))
    review.merge(others.state())
    rows = review.tables()["classes"]
    predicted = outputs.argmax(dim=1)
    precision, recall, f1, count = precision_recall_fscore_support(batch.target, predicted)
    for number, row in enumerate(rows):
        found = (row["precision"], row["recall"], row["f1"], row["samples"])
        assert found == pytest.approx((precision[number], recall[number], f1[number], count[number]), abs=1e-4)
        area = average_precision_score(batch.target == number, outputs.softmax(dim=1)[:, number])
        assert row["average_precision"] == pytest.approx(area, abs=0.02)  # probabilities are counted in 200 steps


TERMS = {"text-generation": ("bits_per_byte",)}
"""Metrics that are terms of the loss."""


def test_every_task_of_the_table_has_its_class(made, task_of):
    assert TASK_CLASSES.keys() == TASKS.keys()
    for name, row in TASKS.items():
        cheap, expensive = task_of(name).metrics(6), task_of(name).expensive_metrics(6)
        cheap.update(*made(name, 6))
        if expensive:
            expensive.update(*made(name, 6))
        always = set(row.expensive) - {*row.by_features, *row.by_latent}
        assert set(expensive.compute() if expensive else ()) == always
        assert {"loss", *cheap.compute(), *row.expensive, *TERMS.get(name, ())} == set(row.metrics)


class Writing(nn.Module):
    """Expects every token equally."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8))

    def forward(self, inputs):
        return self.weight.expand(*inputs["text"].shape, 8)


class Guessing(Writing):
    """Guesses every word equally."""

    def forward(self, inputs):
        return self.weight.expand(int(inputs["chosen"].sum()), 8)


class Translating(nn.Module):
    """Expects every token equally, and knows nothing of what it has read."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(11))

    def forward(self, inputs):
        return self.weight.expand(*inputs["written"].shape, 11)


class Answering(Writing):
    """Expects every token of a dialogue equally."""

    def forward(self, inputs):
        return self.weight.new_zeros(*inputs["messages"].shape, 11)


class Noisy(nn.Module):
    """Makes images that tell their class, in noise."""

    def forward(self, inputs):
        return next(iter(inputs.values()))

    def sample(self, classes, noise):
        return (0 if classes is None else classes.view(-1, 1, 1, 1)) + noise.normal(1, 9, 8)


class Redrawing(nn.Module):
    """Draws images without the noise that it is given them with."""

    def redraw(self, inputs, noise):
        image = inputs["image"]
        return image + noise.normal(*image.shape[1:]), image, torch.zeros(len(image))


class Looking(nn.Module):
    """Looks at all tokens of a text evenly, and chooses the first class."""

    def forward(self, inputs):
        return torch.tensor([1.0, 0.0, 0.0]).expand(len(inputs["text"]), 3)

    def attend(self, inputs):
        there = (inputs["text"] != 0).float()
        return (there / there.sum(dim=1, keepdim=True))[:, None, None, :].expand(-1, 2, there.shape[1], -1)


@pytest.mark.parametrize("name", TASKS)
def test_the_tasks_that_show_something_are_those_of_the_table(name, made, task_of, rows):
    outputs, batch = made(name, 6)
    made_up = {
        "image-generation": Noisy(),
        "reconstruction": Redrawing(),
        "text-classification": Looking(),
        "text-generation": Writing(),
        "fill-mask": Guessing(),
        "translation": Translating(),
        "summarization": Translating(),
        "image-captioning": Translating(),
        "instruction-tuning": Answering(),
    }
    network = made_up.get(name, lambda _: outputs)
    sheet = task_of(name).show(network, rows(batch.inputs or {"numbers": outputs}, batch.target), 0)
    assert (sheet is not None) == TASKS[name].shows


def test_texts_are_shown_with_what_each_head_looks_at(made, task_of):
    _, batch = made("text-classification", 6)
    task = task_of("text-classification")
    page = task.show(Looking(), batch, 0)
    assert (page.name, len(page.texts), len(page.alignments)) == ("attention", 4, 4)
    for row, (text, grid) in enumerate(zip(page.texts, page.alignments, strict=True)):
        tokens = batch.inputs["text"][row]
        truth = "abc"[int(batch.target[row])]
        said, _, body = text.partition("\n")
        assert said == (truth if truth == "a" else f"{truth}, predicted a")
        assert body == task.fields.text.tokenizer.decode(tokens.tolist())
        assert grid.rows == ("head 1", "head 2")
        assert len(grid.columns) == int((tokens != 0).sum())
        assert np.allclose(grid.weights, 1 / len(grid.columns))
    assert task.show(lambda _: None, batch, 0) is None  # a network that looks at nothing


def test_masks_are_shown_beside_the_image_in_the_order_of_the_samples(made, task_of):
    outputs, batch = made("segmentation", 6)
    task = task_of("segmentation")
    sheet = task.show(lambda _: outputs, batch, 0)
    assert (sheet.name, sheet.images, sheet.columns) == ("predicted", ("image", "truth", "prediction"), 2)
    assert len(sheet.pictures) == 6
    for number, picture in enumerate(sheet.pictures):
        image, truth, predicted = picture.images
        assert np.array_equal(image, task.fields.image.pixels(batch.inputs["image"])[number].numpy())
        assert np.array_equal(truth[..., 0], batch.target[number].numpy() * 127)
        assert np.array_equal(predicted[..., 0], outputs[number].argmax(0).numpy() * 127)
        assert picture.caption.startswith("dice 0.")


def test_generated_images_have_a_row_for_each_class_and_always_the_same_noise(rows):
    task = ImageGeneration(Fields((ImageField("image", 9, 8, 1, (100.0,), (50.0,)),), ClassField("y", ("a", "b"))))
    few = rows({"image": torch.zeros(3, 1, 9, 8)})
    one, again, other = (task.show(Noisy(), few, seed) for seed in (1, 1, 2))
    assert (one.name, one.rows, one.columns, len(one.pictures)) == ("generated", ("a", "b"), 8, 16)
    images = [np.stack([picture.images[0] for picture in sheet.pictures]) for sheet in (one, again, other)]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    assert images[0][8:].mean() - images[0][:8].mean() > 20  # a class is 1 higher, which is 50 levels
    assert task.show(nn.Identity(), few, 1) is None  # a network of somebody's that makes nothing
