"""What finding objects minimises, measures, answers and shows."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from torch import nn

from stoker.architectures.pictures import detector, torchvision_detector
from stoker.datasets.records import Records
from stoker.errors import JobError
from stoker.job.architecture.detector import Detector
from stoker.job.architecture.torchvision_detector import TorchvisionDetector
from stoker.job.signature import BoxesOutput, ImageInput, Signature
from stoker.tasks.pictures.assignment import assign
from stoker.tasks.pictures.average_precision import AveragePrecision, FoundBoxes, precisions
from stoker.tasks.pictures.box_matches import best_score, confusion, described, error, pairs
from stoker.tasks.pictures.detection_loss import BoxLosses, box_losses
from stoker.tasks.pictures.detections import detections

LEVELS = np.arange(0.5, 1.0, 0.05)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def precision_by_hand(pictures, number: int, least: float) -> float:
    """Return the average precision of a class by COCO's definition, written down once more."""
    ranked, total = [], sum(int(box[0]) == number + 1 for _, true in pictures for box in true)
    for found, true in pictures:
        mine = [box[1:] for box in true if int(box[0]) == number + 1]
        taken = [False] * len(mine)
        for box in sorted((box for box in found if int(box[0]) == number), key=lambda each: -each[1]):
            best, chosen = least, -1
            for place, each in enumerate(mine):
                if not taken[place] and overlap(box[2:], each) >= best:
                    best, chosen = overlap(box[2:], each), place
            if chosen >= 0:
                taken[chosen] = True
            ranked.append((-box[1], chosen >= 0))
    right, points = 0, []
    for rank, (_, hit) in enumerate(sorted(ranked), 1):
        right += hit
        points.append((right / total, right / rank))
    return float(
        np.mean([max((p for r, p in points if r >= least_r), default=0.0) for least_r in np.linspace(0, 1, 101)])
    )


def random_pictures(count: int = 40, classes: int = 3):
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(count):
        sides = rng.uniform(0, 0.6, (rng.integers(0, 6), 2))
        true = np.hstack(
            [rng.integers(1, classes + 1, (len(sides), 1)), sides, sides + rng.uniform(0.1, 0.4, sides.shape)]
        )
        moved = true[:, 1:] + rng.normal(0, 0.02, (len(true), 4))
        kinds = np.where(rng.random(len(true)) < 0.2, rng.integers(0, classes, len(true)), true[:, 0] - 1)
        found = np.hstack([kinds[:, None], rng.uniform(0.05, 1, (len(true), 1)), moved])
        invented = np.hstack([[[rng.integers(0, classes)]], [[rng.uniform(0.05, 0.6)]], [[0.1, 0.1, 0.5, 0.6]]])
        pictures.append((np.vstack([found, invented]).astype(np.float32), true.astype(np.float32)))
    return pictures


def test_the_average_precision_is_cocos():
    pictures = random_pictures()
    curves = precisions(pictures, 3)
    for number in range(3):
        for place, least in enumerate(LEVELS):
            expected = precision_by_hand(pictures, number, least - 1e-9)
            assert curves[place, :, number].mean() == pytest.approx(expected, abs=1e-6)
    assert 0.2 < curves[0].mean() < 0.95


def test_the_score_with_the_best_f1_is_found():
    pictures = random_pictures()
    total = sum(len(true) for _, true in pictures)

    def f1(least: float) -> float:
        kept = [(found[found[:, 1].argsort()[::-1]], true) for found, true in pictures]
        matched = [pair for each in kept for pair in pairs(each, least)]
        right = sum(true == found for true, found in matched)
        return 2 * right / (sum(found >= 0 for _, found in matched) + total)

    best = best_score([(found[found[:, 1].argsort()[::-1]], true) for found, true in pictures])
    assert f1(best) >= max(f1(least) for least in np.linspace(0, 1, 1001))
    assert 0.05 < best < 0.6
    assert np.isnan(best_score([(found[:0], true) for found, true in pictures]))


def boxes(*rows: list[float]) -> torch.Tensor:
    return torch.tensor([list(rows)])


def measured(found: torch.Tensor, true: torch.Tensor, rows, classes=("a", "b")) -> dict[str, float]:
    metrics = AveragePrecision(classes)
    metrics.update(found, rows({}, true))
    return metrics.compute()


def test_precisions_of_plain_cases(rows):
    true = boxes([1, 0.0, 0.0, 0.5, 0.5], [2, 0.5, 0.5, 1.0, 1.0])
    right = boxes([0, 0.9, 0.0, 0.0, 0.5, 0.5], [1, 0.8, 0.5, 0.5, 1.0, 1.0])
    assert measured(right, true, rows) == {"map": 1.0, "map50": 1.0, "map75": 1.0}
    mixed_up = boxes([1, 0.9, 0.0, 0.0, 0.5, 0.5], [0, 0.8, 0.5, 0.5, 1.0, 1.0])
    assert measured(mixed_up, true, rows)["map"] == 0.0
    half = boxes([0, 0.9, 0.0, 0.0, 0.5, 0.3], [1, 0.8, 0.5, 0.5, 1.0, 1.0])  # an overlap of 0.6
    assert measured(half, true, rows) == {"map": pytest.approx((0.3 + 1) / 2), "map50": 1.0, "map75": 0.5}
    nothing = torch.zeros(1, 1, 6)
    assert measured(nothing, true, rows) == {"map": 0.0, "map50": 0.0, "map75": 0.0}
    assert measured(right, true, rows, ("a", "b", "never")) == {"map": 1.0, "map50": 1.0, "map75": 1.0}
    assert all(value != value for value in measured(right, torch.zeros(1, 1, 5), rows).values())


def test_what_is_right_missed_and_invented_is_counted():
    boxes = FoundBoxes()
    true = torch.tensor([[[1, 0.0, 0.0, 0.5, 0.5], [2, 0.5, 0.5, 1.0, 1.0], [1, 0.6, 0.0, 0.9, 0.3]]])
    found = [
        [0, 0.9, 0.0, 0.0, 0.5, 0.45],
        [0, 0.8, 0.5, 0.5, 1.0, 1.0],
        [1, 0.7, 0.0, 0.6, 0.2, 0.9],
        [0, 0.1, 0, 0, 1, 1],
    ]
    boxes.add(torch.tensor([found]), true)
    (picture,) = boxes.pictures
    assert confusion([picture], 2).tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert described(picture) == "1 of 3 found, 2 wrong"
    assert error(picture) == pytest.approx(1 - 2 * 1 / (3 + 3))
    assert error((picture[0][:0], picture[1][:0])) == 0


def proposals(cells: int = 12) -> torch.Tensor:
    """Return random proposals (2, cells * cells, 8) of two classes around the cells of a grid."""
    rng = torch.Generator().manual_seed(0)
    line = (torch.arange(cells) + 0.5) / cells
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).view(1, -1, 2).expand(2, -1, 2)
    sides = 0.05 + 0.2 * torch.rand(2, cells * cells, 4, generator=rng)
    logits = torch.randn(2, cells * cells, 2, generator=rng) - 2
    return torch.cat([places, places - sides[..., :2], places + sides[..., 2:], logits], dim=2)


TRUE = torch.tensor(
    [
        [[1, 0.1, 0.1, 0.5, 0.4], [2, 0.6, 0.6, 0.9, 0.95], [1, 0.701, 0.101, 0.704, 0.103]],
        [[2, 0.3, 0.3, 0.7, 0.7], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    ]
)
"""The third box lies between all cells."""


def test_every_true_box_is_learnt_by_cells_in_it_or_by_the_closest_one():
    output = proposals()
    found = assign(output, TRUE)
    learns = found.quality > 0
    for row, counts in enumerate([(10, 10, 1), (10, 0, 0)]):
        assert [int((found.box[row][learns[row]] == place).sum()) for place in range(3)] == list(counts)
    x, y = output[..., 0], output[..., 1]
    mine = learns[0] & (found.box[0] == 0)
    assert ((x[0][mine] > 0.1) & (x[0][mine] < 0.5) & (y[0][mine] > 0.1) & (y[0][mine] < 0.4)).all()
    assert ((found.quality >= 0) & (found.quality <= 1)).all()


def test_padding_and_neighbours_change_nothing():
    output = proposals()
    whole = box_losses(output, TRUE)
    padded = box_losses(output, torch.cat([TRUE, torch.zeros(2, 4, 5)], dim=1))
    alone = box_losses(output[1:], TRUE[1:, :1])
    for each, wider, single in zip(whole, padded, alone, strict=True):
        torch.testing.assert_close(wider, each)
        torch.testing.assert_close(single, each[1:])


class Given(nn.Module):
    """Returns proposals that it learns."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, inputs):
        return self.output[inputs["image"]]


def test_losses_are_sums_with_the_number_of_boxes_and_finite_without_any(rows):
    objective = BoxLosses(Given(proposals()))
    both = torch.arange(2)
    for target, weight, count in (
        (TRUE, None, 4),
        (TRUE, torch.tensor([2.0, 0.5]), 6.5),
        (torch.zeros(2, 1, 5), None, 2),
    ):
        batch = rows({"image": both}, target, weight)
        assert {term: float(each) for term, each in objective.counts(batch, "network").items()} == {
            "class": count,
            "box": count,
        }
        losses = objective(batch, "network", None)
        objective.zero_grad()
        sum(losses.values()).backward()
        assert all(torch.isfinite(each) for each in losses.values())
        assert torch.isfinite(objective.network.output.grad).all()
        assert (losses["box"] > 0) == bool(target.any())
    nothing = rows({"image": both[:0]}, torch.zeros(0, 1, 5))
    objective.zero_grad()
    sum(objective(nothing, "network", None).values()).backward()
    assert not objective.network.output.grad.any()
    assert float(objective.counts(nothing, "network")["box"]) == 0


def test_proposals_learn_the_boxes(rows):
    objective = BoxLosses(Given(proposals()))
    batch = rows({"image": torch.arange(2)}, TRUE[:, :2])
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        sum(objective(batch, "network", None).values()).backward()
        optimizer.step()
    metrics = AveragePrecision(("a", "b"))
    with torch.inference_mode():
        metrics.update(objective.evaluate(batch, None)[1], batch)
    assert metrics.compute()["map"] > 0.9


def test_the_best_boxes_that_do_not_repeat_each_other_are_found():
    def proposed(kind: int, logit: float, *sides: float) -> list[float]:
        return [0.5, 0.5, *sides, *(logit if kind == number else -9.0 for number in range(2))]

    output = torch.tensor(
        [
            [
                proposed(0, 2.0, 0.1, 0.1, 0.5, 0.5),
                proposed(0, 1.0, 0.1, 0.1, 0.5, 0.48),  # the same again
                proposed(1, 1.5, 0.1, 0.1, 0.5, 0.5),  # of another class
                proposed(0, -3.0, 0.6, 0.6, 0.9, 0.9),  # unlikely
                proposed(0, 0.5, 0.6, -0.2, 1.3, 0.4),  # partly outside
            ]
        ]
    )
    (found,) = detections(nn.Identity(), output)
    there = found[found[:, 1] > 0]
    assert there[:, 0].tolist() == [0, 1, 0]
    torch.testing.assert_close(there[:, 1], torch.tensor([2.0, 1.5, 0.5]).sigmoid())
    torch.testing.assert_close(there[2, 2:], torch.tensor([0.6, 0.0, 1.0, 0.4]))
    network = nn.Identity()
    network.register_buffer("threshold", torch.tensor(1.8))
    (above,) = detections(network, output)
    torch.testing.assert_close(above[above[:, 1] > 0][:, 1], torch.tensor([0.2]).sigmoid())  # of 2.0 alone
    network = nn.Identity()
    network.score, network.most, network.overlap = 0.01, 2, 1.0
    assert detections(network, output).shape == (1, 2, 6)
    assert int((detections(network, output, score=0.04)[..., 1] > 0).sum()) == 2


def test_answers_are_in_pixels_of_the_picture_and_written_as_rows_and_as_coco(task_of):
    task = task_of("object-detection")
    outputs = torch.zeros(2, 3, 6)
    outputs[0, 0] = torch.tensor([1, 0.87654, 0.25, 0.5, 0.75, 1.0])
    outputs[0, 1] = torch.tensor([0, 0.5, 0.0, 0.0, 0.5, 0.5])
    pictures = np.zeros((2, 9, 8, 1), np.uint8)
    table = task.answers(outputs, Records({"image": pictures})).table
    assert table["boxes"].tolist() == [2, 0]
    best = {"class": "b", "score": 0.8765, "left": 2.0, "top": 4.5, "right": 6.0, "bottom": 9.0}
    assert json.loads(table["prediction"][0])[0] == best
    assert table["prediction"][1] == "[]"
    table.insert(0, "input", ["one.png", "two.png"])
    listed = task.listed(table)
    assert listed.to_dict("records")[0] == {"input": "one.png", **best}
    assert len(listed) == 2
    assert list(task.listed(table[1:]).columns) == list(listed.columns)
    written = task.interchange(table)
    assert [(image["file_name"], image["width"], image["height"]) for image in written["images"]] == [
        ("one.png", 8, 9),
        ("two.png", 8, 9),
    ]
    first = written["annotations"][0]
    assert (first["image_id"], first["category_id"], first["bbox"]) == (1, 2, [2.0, 4.5, 4.0, 4.5])
    assert written["categories"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    drawn = task.annotated(np.zeros((9, 8, 3), np.uint8), dict(table.iloc[0]), None)
    assert drawn.shape == (144, 128, 3)
    assert drawn[80:140, 32].any(axis=1).all()
    assert isinstance(task.answers(outputs[:0], Records({"image": pictures[:0]})).table, pd.DataFrame)


def test_the_tables_and_drawn_pictures_of_a_review_are_those_of_its_samples(made, task_of):
    outputs, batch = made("object-detection", 30)
    review = task_of("object-detection").review()
    review.update(outputs, batch, torch.arange(30))
    rows = review.tables()["classes"]
    assert [row["class"] for row in rows] == ["a", "b"]
    assert sum(row["boxes"] for row in rows) == int((batch.target[..., 0] > 0).sum())
    for shown in review.shown():
        truth, found = review.drawn(shown)
        assert truth.shape == found.shape
        assert truth.shape[2] == 3


@pytest.mark.parametrize("size", [(33, 50), (64, 64), (20, 40)])
def test_a_detector_proposes_a_box_for_each_cell_and_depends_on_each_image_alone(size: tuple[int, int]):
    signature = Signature({"image": ImageInput(3, *size)}, BoxesOutput(("a", "b")))
    torch.manual_seed(0)
    network = detector.build(Detector(family="detector", channels=(8, 8, 8), width=8, depth=1), signature).eval()
    images = torch.randn(2, 3, *size)
    proposed = network({"image": images})
    cells = sum(-(-size[0] // 16) * (16 // stride) * -(-size[1] // 16) * (16 // stride) for stride in (4, 8, 16))
    assert proposed.shape == (2, cells, 8)
    assert (proposed[..., 4:6] > proposed[..., 2:4]).all()
    torch.testing.assert_close(network({"image": images[1:]}), proposed[1:], atol=1e-6, rtol=1e-5)
    assert proposed[..., 6:].sigmoid().mean() < 0.05
    assert (
        detector.misfits(Detector(family="detector", channels=(8,) * 7), signature)[0].path == "architecture.channels"
    )


def test_a_detector_stands_on_a_backbone():
    signature = Signature({"image": ImageInput(3, 64, 64)}, BoxesOutput(("a",)))
    settings = Detector(family="detector", backbone={"name": "test_resnet", "library": "timm"}, width=8)
    network = detector.build(settings, signature)
    assert network({"image": torch.randn(1, 3, 64, 64)}).shape[2] == 7
    assert detector.misfits(settings, signature) == []
    flat = Detector(family="detector", backbone={"name": "vit_tiny_patch16_224", "library": "timm"})
    image = Signature({"image": ImageInput(3, 224, 224)}, BoxesOutput(("a",)))
    assert "has no maps of several sizes" in detector.misfits(flat, image)[0].message


@pytest.mark.parametrize("model", ["fcos", "retinanet", "retinanet-v2"])
def test_a_detector_of_torchvision_finds_and_loses_what_torchvision_says(model, tmp_path):
    names = {"fcos": "fcos_resnet50_fpn", "retinanet": "retinanet_resnet50_fpn"}
    torch.manual_seed(1)
    theirs = torchvision.models.detection.__dict__[names.get(model, "retinanet_resnet50_fpn_v2")](
        weights=None,
        weights_backbone=None,
        num_classes=3,
        min_size=64,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        score_thresh=0.0,
        nms_thresh=0.6,
        topk_candidates=10**6,
    )
    for name, weight in theirs.named_parameters():
        if "cls_logits" in name or "bbox" in name:
            torch.nn.init.normal_(weight, std=0.05)
    torch.save(theirs.state_dict(), tmp_path / "coco.pt")
    signature = Signature({"image": ImageInput(3, 64, 64)}, BoxesOutput(("a", "b", "c")))
    settings = TorchvisionDetector(
        family="torchvision-detector", model=model, weights=str(tmp_path / "coco.pt"), most=20, score=0.0
    )
    network = torchvision_detector.build(settings, signature).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.eval()(list(images))
        found = detections(network, network({"image": images}))
    for ours, each in zip(found, expected, strict=True):
        torch.testing.assert_close(ours[:, 1], each["scores"][:20], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours[:10, 2:] * 64, each["boxes"][:10], atol=1e-2, rtol=1e-3)
    target = torch.zeros(2, 4, 5)
    target[0, 0] = torch.tensor([2, 0.1, 0.2, 0.7, 0.9])
    target[0, 1] = torch.tensor([3, 0.5, 0.1, 0.9, 0.4])
    theirs.train()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    proposals, classes, boxes = network.train().box_losses({"image": images}, target)
    for row in range(2):
        there = target[row][target[row, :, 0] > 0]
        alone = theirs([images[row]], [{"labels": there[:, 0].long() - 1, "boxes": there[:, 1:] * 64}])
        torch.testing.assert_close(classes[row], alone.pop("classification"))
        torch.testing.assert_close(boxes[row], sum(alone.values()), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(proposals, network({"image": images}))


def test_a_detector_of_torchvision_takes_other_classes_and_refuses_weights_that_are_not_there(tmp_path):
    def settings(**given):
        return TorchvisionDetector(family="torchvision-detector", resnet="resnet18", width=64, **given)

    def signature(channels, *classes):
        return Signature({"image": ImageInput(channels, 64, 64)}, BoxesOutput(classes))

    first = torchvision_detector.build(settings(), signature(3, "a", "b"))
    assert not any(isinstance(each, nn.BatchNorm2d) for each in first.modules())
    torch.save(torchvision.models.get_model("resnet18").state_dict(), tmp_path / "body.pt")
    with pytest.raises(JobError, match=r"architecture.weights.*lacks .* weights of fcos on resnet18"):
        torchvision_detector.build(settings(weights=str(tmp_path / "body.pt")), signature(3, "a"))
    whole = torchvision_detector.TorchvisionDetector(
        settings(weights=str(tmp_path / "body.pt")), signature(3, "a", "b"), weighted=False
    )
    torch.save(whole.model.state_dict(), tmp_path / "whole.pt")
    tuned = settings(weights=str(tmp_path / "whole.pt"), frozen_stages=2)
    network = torchvision_detector.build(tuned, signature(3, "a", "b", "c"))
    for name, weight in whole.model.state_dict().items():
        same = torch.equal(weight, network.model.state_dict()[name]) if "cls_logits" not in name else None
        assert same is not False
    frozen = {name.split(".")[3] for name, each in network.named_parameters() if not each.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert torchvision_detector.misfits(tuned, signature(1, "a"))[0].path == "dataset.image.normalization"
    (problem,) = torchvision_detector.unavailable(settings(weights="default"), None)
    assert "no weights of fcos on resnet18; use resnet50, name a file" in problem.message
    (problem,) = torchvision_detector.unavailable(settings(weights="none.pt"), None)
    assert (problem.path, "there is no file 'none.pt'" in problem.message) == ("architecture.weights", True)
