import numpy as np
import pytest
import torch

from stoker.datasets.columns import Dense, Ragged
from stoker.datasets.feeding.batches import Batches
from stoker.datasets.fields.boxes import BoxesField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.pictures.augmentation import augment
from stoker.datasets.pictures.moved_boxes import moved_boxes
from stoker.datasets.samples import Samples
from stoker.randomness import Noise

COUNT, HEIGHT, WIDTH = 50, 48, 64


def noise() -> Noise:
    return Noise((3,), COUNT, 0, COUNT, torch.device("cpu"))


def field_images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return dark images with a bright field each, and the box around it behind one of padding."""
    rng = np.random.default_rng(0)
    images, boxes = torch.zeros(COUNT, 1, HEIGHT, WIDTH), torch.zeros(COUNT, 2, 5)
    for number in range(COUNT):
        top, left = int(rng.integers(14, 22)), int(rng.integers(18, 30))
        height, width = (int(side) for side in rng.integers(8, 14, 2))
        images[number, 0, top : top + height, left : left + width] = 1
        sides = torch.tensor([left / WIDTH, top / HEIGHT, (left + width) / WIDTH, (top + height) / HEIGHT])
        boxes[number, 1] = torch.cat([torch.tensor([1.0 + number % 3]), sides])
    return images, boxes


def bright(image: torch.Tensor) -> torch.Tensor:
    """Return the sides of what is bright, as shares."""
    rows, columns = (image[0] > 0.5).any(1).nonzero(), (image[0] > 0.5).any(0).nonzero()
    ends = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return torch.tensor(ends) / torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])


@pytest.mark.parametrize(
    "names", [("flip",), ("crop",), ("flip", "crop"), ("zoom",), ("flip", "crop", "zoom", "jitter")]
)
def test_a_box_stays_around_its_object(names: tuple[str, ...]):
    images, boxes = field_images()
    changed, moved = augment(images, names, noise(), boxes=boxes)
    assert moved is not None
    assert not torch.equal(moved, boxes)
    assert not moved[:, 0].any()
    tolerance = 1.1 / HEIGHT if "zoom" in names else 1e-5
    for image, box, before in zip(changed, moved[:, 1], boxes[:, 1], strict=True):
        if box[0]:
            assert box[0] == before[0]
            torch.testing.assert_close(box[1:], bright(image), atol=tolerance, rtol=0)


def test_a_turned_box_holds_the_ellipse_in_it():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 200), torch.linspace(-1, 1, 200), indexing="ij")
    ellipse = ((x / 0.6) ** 2 + (y / 0.2) ** 2 < 1).float().expand(COUNT, 1, 200, 200)
    boxes = torch.tensor([[1, 0.2, 0.4, 0.8, 0.6]]).expand(COUNT, 1, 5)
    changed, moved = augment(ellipse, ("rotate",), noise(), boxes=boxes)
    assert moved is not None
    for image, box in zip(changed, moved[:, 0], strict=True):
        rows, columns = (image[0] > 0.5).any(1).nonzero(), (image[0] > 0.5).any(0).nonzero()
        found = torch.tensor([int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]) / 200
        torch.testing.assert_close(box[1:], found, atol=0.015, rtol=0)


def test_what_leaves_the_picture_becomes_padding_and_is_cut_off_before():
    half_out, gone = torch.tensor([1, 0.0, 0.1, 0.4, 0.5]), torch.tensor([2, 0.0, 0.1, 0.2, 0.5])
    shifted = torch.tensor([[[1.0, 0, 0.4], [0, 1, 0]]])  # by a fifth of the side to the left
    (moved,) = moved_boxes(torch.stack([half_out, gone])[None], shifted)
    torch.testing.assert_close(moved, torch.tensor([[1, 0.0, 0.1, 0.2, 0.5], [0, 0, 0, 0, 0]]))


def test_boxes_are_moved_alike_however_a_batch_is_divided():
    images, boxes = field_images()
    lists = Ragged(boxes[:, 1:].flatten(0, 1), torch.arange(COUNT + 1))
    pixels = (images.permute(0, 2, 3, 1) * 200).to(torch.uint8)
    samples = Samples({"image": Dense(pixels)}, lists, None, torch.arange(COUNT))
    fields = Fields((ImageField("image", HEIGHT, WIDTH, 1, (0.0,), (1.0,)),), BoxesField("boxes", ("a", "b", "c")))
    found = []
    for micro_batch, shares in ((20, [range(20)]), (3, [range(7), range(7, 20)])):
        steps = [
            [(batch.inputs["image"], batch.target, batch.ids) for batch, _ in step.micro_batches]
            for share in shares
            for step in Batches(samples, fields, 20, micro_batch, ("flip", "crop", "zoom"), 0, share).epoch(0)
        ]
        by_id = {}
        for image, target, ids in (each for step in steps for each in step):
            by_id |= {int(number): (image[row], target[row]) for row, number in enumerate(ids)}
        found.append(by_id)
    assert found[0].keys() == found[1].keys() == set(range(COUNT))
    for number, (image, target) in found[0].items():
        assert torch.equal(image, found[1][number][0])
        assert torch.equal(target, found[1][number][1])


def test_samples_are_not_sorted_by_their_number_of_boxes():
    lists = Ragged(torch.zeros(5, 5), torch.tensor([0, 4, 5]))
    assert Samples({}, lists, None, torch.arange(2)).lengths is None
