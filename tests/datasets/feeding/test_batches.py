import itertools

import numpy as np
import pytest
import torch

from stoker.datasets.columns import Dense, Ragged
from stoker.datasets.feeding.batches import Batches, ordered_batches
from stoker.datasets.feeding.limits import MAX_BATCH, MAX_IMAGE_BATCH, batch_limit
from stoker.datasets.feeding.order import bucketed
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.number import NumberField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.samples import Samples
from stoker.job.signature import ImageInput, MaskOutput, NumbersInput, Signature
from stoker.randomness import Noise

SAMPLES = 50
IMAGE = ImageField("image", 4, 4, 1, (10.0,), (2.0,))
FIELDS = Fields((IMAGE,), None)


@pytest.fixture(scope="module")
def samples() -> Samples:
    pixels = np.random.default_rng(0).integers(0, 256, (SAMPLES, 4, 4, 1), np.uint8)
    weight = torch.arange(SAMPLES).float()
    target = Dense(torch.arange(SAMPLES) % 3)
    return Samples({"image": Dense(torch.from_numpy(pixels))}, target, weight, torch.arange(SAMPLES) + 100)


def batches_of(samples: Samples, batch_size=16, micro_batch=16, augmentation=(), seed=0) -> Batches:
    return Batches(samples, FIELDS, batch_size, micro_batch, augmentation, seed, range(batch_size))


def ids_of(batches: Batches, epoch: int, start: int = 0) -> list[int]:
    steps = batches.epoch(epoch, start)
    return [number for step in steps for batch, _ in step.micro_batches for number in batch.ids.tolist()]


def test_an_epoch_has_every_sample_once(samples: Samples):
    assert sorted(ids_of(batches_of(samples), 0)) == list(range(100, 100 + SAMPLES))


def test_the_order_is_the_same_for_the_same_seed_and_epoch(samples: Samples):
    assert ids_of(batches_of(samples), 3) == ids_of(batches_of(samples), 3)


def test_another_epoch_or_seed_has_another_order(samples: Samples):
    orders = [
        ids_of(batches_of(samples), 0),
        ids_of(batches_of(samples), 1),
        ids_of(batches_of(samples, seed=1), 0),
        list(range(100, 100 + SAMPLES)),
    ]
    assert len(set(map(tuple, orders))) == len(orders)


def test_only_the_last_batch_is_uneven(samples: Samples):
    batches = batches_of(samples, batch_size=16, micro_batch=6)
    steps = list(batches.epoch(0))
    assert len(steps) == len(batches) == 4
    assert [step.samples for step in steps] == [16, 16, 16, 2]
    assert [[len(batch) for batch, _ in step.micro_batches] for step in steps] == [[6, 6, 4]] * 3 + [[2]]


def test_an_epoch_can_start_in_its_middle(samples: Samples):
    assert ids_of(batches_of(samples), 2, start=2) == ids_of(batches_of(samples), 2)[32:]


def test_batches_keep_all_values_of_a_sample(samples: Samples):
    for step in batches_of(samples, micro_batch=5).epoch(0):
        for batch, _ in step.micro_batches:
            rows = batch.ids - 100
            assert batch.weight is not None
            assert torch.equal(batch.weight, rows.float())
            assert batch.target is not None
            assert torch.equal(batch.target, rows % 3)
            assert torch.equal(batch.inputs["image"], IMAGE.prepare(samples.inputs["image"].take(rows)))


@pytest.mark.parametrize("micro_batch", [1, 5, 16])
def test_augmentation_does_not_depend_on_micro_batches(samples: Samples, micro_batch: int):
    augmentation = ("flip", "crop", "rotate", "jitter")
    whole = batches_of(samples, 16, 16, augmentation)
    cut = batches_of(samples, 16, micro_batch, augmentation)
    for one, other in zip(whole.epoch(1), cut.epoch(1), strict=True):
        images = torch.cat([batch.inputs["image"] for batch, _ in other.micro_batches])
        torch.testing.assert_close(images, one.micro_batches[0][0].inputs["image"])
        noise = torch.cat([noise.normal(3) for _, noise in other.micro_batches])
        assert torch.equal(noise, one.micro_batches[0][1].normal(3))


def test_an_image_changes_from_epoch_to_epoch(samples: Samples):
    def first_image(epoch: int) -> torch.Tensor:
        for step in batches_of(samples, augmentation=("jitter",)).epoch(epoch):
            batch = step.micro_batches[0][0]
            if (batch.ids == 100).any():
                return batch.inputs["image"][batch.ids == 100]
        raise AssertionError("every sample is in every epoch")

    assert not torch.equal(first_image(0), first_image(1))


def test_noise_is_a_function_of_seed_epoch_and_step(samples: Samples):
    def drawn(seed: int, epoch: int) -> list[tuple[float, ...]]:
        steps = batches_of(samples, seed=seed).epoch(epoch)
        return [tuple(step.micro_batches[0][1].uniform(2).flatten().tolist()[:4]) for step in steps]

    assert drawn(0, 0) == drawn(0, 0)
    everything = drawn(0, 0) + drawn(0, 1) + drawn(1, 0)
    assert len(set(everything)) == len(everything)


def test_noise_differs_from_draw_to_draw():
    noise = Noise((0,), 4, 1, 3, torch.device("cpu"))
    first, second = noise.normal(2), noise.normal(2)
    assert first.shape == second.shape == (2, 2)
    assert not torch.equal(first, second)


def test_noise_does_not_use_torchs_global_generator():
    before = torch.get_rng_state()
    Noise((0,), 4, 0, 4, torch.device("cpu")).uniform(9)
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_has_all_samples_in_order(samples: Samples):
    batches = list(ordered_batches(samples, FIELDS, 20))
    assert [len(batch) for batch in batches] == [20, 20, 10]
    assert torch.cat([batch.ids for batch in batches]).tolist() == list(range(100, 100 + SAMPLES))


def test_numbers_of_a_table_are_unchanged():
    numbers = torch.rand(3, 2)
    table = Samples({"numbers": Dense(numbers)}, Dense(torch.zeros(3)), None, torch.arange(3))
    fields = Fields(tuple(NumberField(name, 0.0, 0.0, 1.0, False, False) for name in "ab"), None)
    (batch,) = ordered_batches(table, fields, 8)
    assert torch.equal(batch.inputs["numbers"], numbers)
    assert batch.weight is None


def test_texts_are_padded_to_the_longest_of_their_batch():
    texts = Ragged.of([[2, 3], [4], [5, 6, 7, 8], [9]])
    samples = Samples({"text": texts}, None, None, torch.arange(4))
    batches = list(ordered_batches(samples, Fields((TextField("text", "words", "\n".join("abcdefgh"), 9),), None), 2))
    assert [batch.inputs["text"].tolist() for batch in batches] == [[[2, 3], [4, 0]], [[5, 6, 7, 8], [9, 0, 0, 0]]]
    assert batches[0].target is None


def test_an_image_and_its_mask_share_one_transformation():
    rng = np.random.default_rng(0)
    masks = torch.from_numpy(np.kron(rng.integers(0, 2, (SAMPLES, 4, 4)), np.ones((1, 8, 8))).astype(np.uint8))
    images = {"image": Dense(masks.unsqueeze(-1) * 100)}
    fields = Fields((ImageField("image", 32, 32, 1, (0.0,), (1.0,)),), MaskField("mask", (0, 1), 32, 32))
    samples = Samples(images, Dense(masks), None, torch.arange(SAMPLES))
    batches = Batches(samples, fields, 16, 5, ("flip", "crop", "rotate"), 0, range(16))
    moved = 0
    for step in batches.epoch(0):
        for batch, _ in step.micro_batches:
            assert batch.target is not None
            drawn = batch.inputs["image"][:, 0]
            clear = ((drawn - 50).abs() > 45).logical_or(drawn == 50)
            assert clear.float().mean() > 0.7
            assert torch.equal(batch.target[clear] == 1, drawn[clear] > 50)
            moved += int((batch.target != masks[batch.ids]).flatten(1).any(1).sum())
    assert moved > SAMPLES / 2


def test_streams_continue_row_by_row_from_batch_to_batch(samples: Samples):
    batches = Batches(samples, FIELDS, 8, 8, (), 0, range(8), order="streams")
    rows = [step.micro_batches[0][0].ids for step in batches.epoch(0)]
    for before, after in itertools.pairwise(rows):
        assert torch.equal(after[: len(before)], before[: len(after)] + 1)
    assert sorted(torch.cat(rows).tolist()) == list(range(100, 100 + SAMPLES))
    assert [len(step) for step in rows] == [8] * 6 + [2]


@pytest.mark.parametrize("batch_size", [16, 20])
def test_the_shares_of_all_workers_make_the_global_batch(samples: Samples, batch_size: int):
    whole = ids_of(batches_of(samples, batch_size), 1)
    cut = [batch_size // 4 * place for place in range(4)] + [batch_size]
    shares = [range(a, b) for a, b in itertools.pairwise(cut)]
    epochs = [Batches(samples, FIELDS, batch_size, 3, (), 0, share).epoch(1) for share in shares]
    together = []
    for steps in zip(*epochs, strict=True):
        together += [number for step in steps for batch, _ in step.micro_batches for number in batch.ids.tolist()]
    assert together == whole


def test_a_global_batch_is_named_by_its_samples(samples: Samples):
    batches = batches_of(samples)
    steps = list(batches.epoch(2))
    for number, step in enumerate(steps):
        assert batches.ids(2, number) == [each for batch, _ in step.micro_batches for each in batch.ids.tolist()]


def test_larger_images_have_smaller_batches():
    def limit(side: int, output: MaskOutput | None = None) -> int:
        return batch_limit(Signature({"image": ImageInput(3, side, side)}, output))

    assert batch_limit(Signature({"numbers": NumbersInput(3)})) == MAX_BATCH
    assert limit(8) == MAX_IMAGE_BATCH
    assert MAX_IMAGE_BATCH > limit(128) > limit(512) >= limit(4096) == 1
    assert limit(128, MaskOutput(tuple("abcdefgh"), 128, 128)) < limit(128)


class TestBucketed:
    lengths = torch.randint(1, 60, (1037,), generator=torch.Generator().manual_seed(0))

    def batches(self, epoch: int = 0, seed: int = 0, size: int = 16) -> list[torch.Tensor]:
        return list(bucketed(self.lengths, size, seed, epoch).split(size))

    def test_every_sample_comes_once_in_another_order_each_epoch(self):
        orders = [bucketed(self.lengths, 16, 0, epoch) for epoch in (0, 0, 1)]
        assert all(torch.equal(order.sort().values, torch.arange(1037)) for order in orders)
        assert torch.equal(orders[0], orders[1])
        assert not torch.equal(orders[0], orders[2])
        assert not torch.equal(orders[0], bucketed(self.lengths, 16, 1, 0))

    def test_a_batch_has_samples_of_about_equal_length(self):
        whole = self.batches()[:-1]
        spread = torch.stack([self.lengths[batch].max() - self.lengths[batch].min() for batch in whole]).float()
        assert spread.mean() < 3
        padded = sum(len(batch) * int(self.lengths[batch].max()) for batch in whole)
        assert padded < 1.1 * sum(int(self.lengths[batch].sum()) for batch in whole)

    def test_the_smaller_last_batch_stays_the_last(self):
        assert [len(batch) for batch in self.batches()] == [16] * 64 + [13]
        assert len(self.batches(size=2000)) == 1

    def test_neither_batches_nor_the_samples_of_one_are_sorted(self):
        whole = self.batches()[:-1]
        means = torch.stack([self.lengths[batch].float().mean() for batch in whole])
        assert abs(float(torch.corrcoef(torch.stack([means, torch.arange(64.0)]))[0, 1])) < 0.4
        assert any((self.lengths[batch].diff() < 0).any() for batch in whole)
        halves = torch.stack([self.lengths[batch[:8]].sum() - self.lengths[batch[8:]].sum() for batch in whole]).float()
        assert abs(float(halves.mean())) < 8  # of two workers neither has the longer texts


def test_texts_of_equal_length_are_learnt_together():
    texts = Ragged.of([[5] * (1 + number % 40) for number in range(640)])
    samples = Samples({"text": texts}, None, None, torch.arange(640))
    fields = Fields((TextField("text", "words", "\n".join("abcdefgh"), 64),), None)
    made = Batches(samples, fields, 16, 16, (), 0, range(16))
    widths = [step.micro_batches[0][0].inputs["text"].shape[1] for step in made.epoch(0)]
    assert sum(widths) * 16 < 1.1 * int(texts.lengths().sum())
    ids = [number for step in range(40) for number in made.ids(0, step)]
    assert sorted(ids) == list(range(640))
    assert torch.equal(samples.lengths, texts.lengths())
    assert Samples({"x": Dense(torch.zeros(3, 2))}, None, None, torch.arange(3)).lengths is None
