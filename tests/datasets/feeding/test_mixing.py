"""Mixed images: shares of pixels are those of the labels, however a batch is divided."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from stoker.datasets.columns import Dense
from stoker.datasets.feeding.batch import Batch
from stoker.datasets.feeding.batches import Batches
from stoker.datasets.feeding.mixing import Mixing
from stoker.datasets.fields.category import ClassField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.loading import load_dataset
from stoker.datasets.samples import Samples
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS
from stoker.tasks.classification.classification import CrossEntropy

SAMPLES, CLASSES, SIDE = 50, 10, 20
MIXINGS = [Mixing(0.4, 0.0), Mixing(0.0, 1.0), Mixing(0.4, 1.0)]
FIELDS = Fields(
    (ImageField("image", SIDE, SIDE, 1, (0.0,), (1.0,)),), ClassField("label", tuple(map(str, range(CLASSES))))
)


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Return images whose pixels are all the number of their class, with a weight for each."""
    classes = torch.arange(SAMPLES) % CLASSES
    images = classes.view(-1, 1, 1, 1).expand(-1, SIDE, SIDE, 1).to(torch.uint8).contiguous()
    return Samples({"image": Dense(images)}, Dense(classes), 1 + torch.arange(SAMPLES) % 3.0, torch.arange(SAMPLES))


def batches_of(samples: Samples, mixing: Mixing, micro_batch: int = 16, share: range = range(16)) -> Batches:
    return Batches(samples, FIELDS, 16, micro_batch, (), 0, share, mixing=mixing)


def parts(batch: Batch) -> tuple[Batch, Batch]:
    assert batch.also is not None
    return batch, batch.also


def number(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return classes, and weights divided by those of the samples."""
    assert batch.target is not None
    assert batch.weight is not None
    return batch.target, batch.weight / (1 + batch.ids % 3)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_labels_count_as_much_as_the_image_has_of_their_pixels(samples: Samples, mixing: Mixing):
    seen = torch.zeros(0)
    for step in batches_of(samples, mixing).epoch(0):
        batch, also = parts(step.micro_batches[0][0])
        (first, share), (second, rest) = number(batch), number(also)
        torch.testing.assert_close(share + rest, torch.ones(len(batch)))
        torch.testing.assert_close(batch.inputs["image"].mean(dim=(1, 2, 3)), share * first + rest * second)
        seen = torch.cat([seen, share])
    assert 0 <= seen.min() < 0.2
    assert 0.8 < seen.max() <= 1


@pytest.mark.parametrize(("mixing", "even"), [(MIXINGS[0], True), (MIXINGS[1], False)])
def test_mixup_adds_images_and_cutmix_puts_a_rectangle_of_one_into_the_other(
    samples: Samples, mixing: Mixing, even: bool
):
    step = next(batches_of(samples, mixing).epoch(0))
    images = step.micro_batches[0][0].inputs["image"].flatten(1)
    assert (images.amax(dim=1) - images.amin(dim=1) < 1e-5).all() == even
    assert (images == images.round()).all() != even


@pytest.mark.parametrize("mixing", MIXINGS)
@pytest.mark.parametrize("micro_batch", [16, 5])
def test_neither_workers_nor_micro_batches_change_what_is_mixed(samples: Samples, mixing: Mixing, micro_batch: int):
    shares = [range(a, b) for a, b in itertools.pairwise((0, 5, 11, 16))]
    divided = [batches_of(samples, mixing, micro_batch, share).epoch(1) for share in shares]
    for step, *others in zip(batches_of(samples, mixing).epoch(1), *divided, strict=True):
        pieces = [batch for other in others for batch, _ in other.micro_batches]
        for whole, cut in zip(parts(step.micro_batches[0][0]), zip(*map(parts, pieces), strict=True), strict=True):
            assert torch.equal(torch.cat([batch.ids for batch in cut]), whole.ids)
            assert torch.equal(torch.cat([batch.inputs["image"] for batch in cut]), whole.inputs["image"])
            assert torch.equal(torch.cat([number(batch)[1] for batch in cut]), number(whole)[1])


def test_the_loss_is_that_of_soft_targets_with_weights_and_smoothing(samples: Samples):
    weights = torch.rand(CLASSES, generator=torch.Generator().manual_seed(0)) + 0.5
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE, CLASSES))
    objective = CrossEntropy(Classifier(network), weights, smoothing=0.1)
    batch, noise = next(iter(batches_of(samples, MIXINGS[2]).epoch(0))).micro_batches[0]
    logits = functional.log_softmax(objective.network(batch.inputs), dim=1)
    expected, count = torch.zeros(()), torch.zeros(())
    for each in parts(batch):
        assert each.target is not None
        assert each.weight is not None
        soft = functional.one_hot(each.target, CLASSES) * 0.9 + 0.1 / CLASSES
        weight = each.weight * weights[each.target]
        expected, count = expected - (weight * (soft * logits).sum(dim=1)).sum(), count + weight.sum()
    torch.testing.assert_close(objective(batch, "network", noise)["loss"], expected)
    torch.testing.assert_close(objective.counts(batch, "network")["loss"], count)


class Classifier(torch.nn.Module):
    """Takes the image of a batch."""

    def __init__(self, layers: torch.nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = self.layers(inputs["image"])
        return logits


def test_a_worker_without_rows_has_an_empty_batch(samples: Samples):
    *_, last = batches_of(samples, MIXINGS[2], share=range(8, 16)).epoch(0)
    ((batch, _),) = last.micro_batches
    assert [len(each) for each in parts(batch)] == [0, 0]


def test_files_that_are_decoded_per_step_are_mixed_like_those_in_memory(tmp_path: Path):
    rng = np.random.default_rng(0)
    for number in range(12):
        file = tmp_path / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(file)
    found = []
    for loading in ("resident", "loaded"):
        dataset = Dataset.model_validate({"source": str(tmp_path), "loading": loading, "split": "none"})
        data = load_dataset(dataset, TASKS["image-classification"])
        made = Batches(data.parts["train"], data.fields, 5, 2, (), 0, range(1, 4), mixing=MIXINGS[2])
        found.append([batch for step in made.epoch(0) for batch, _ in step.micro_batches])
    for one, other in zip(*found, strict=True):
        for here, there in zip(parts(one), parts(other), strict=True):
            assert torch.equal(here.inputs["image"], there.inputs["image"])
            assert here.target is not None
            assert there.target is not None
            assert torch.equal(here.target, there.target)
