import numpy as np
import pytest
import torch
from stoker.datasets.encoders import ImageEncoder, TableEncoder

from stoker.datasets.batches import Batches, in_order
from stoker.datasets.samples import Samples
from stoker.randomness import Noise

SAMPLES = 50
ENCODER = ImageEncoder(4, 4, 1, (10.0,), (2.0,))


@pytest.fixture(scope="module")
def samples() -> Samples:
    pixels = np.random.default_rng(0).integers(0, 256, (SAMPLES, 4, 4, 1), np.uint8)
    weight = torch.arange(SAMPLES).float()
    return Samples({"image": torch.from_numpy(pixels)}, torch.arange(SAMPLES) % 3, weight, torch.arange(SAMPLES) + 100)


def batches_of(samples: Samples, batch_size=16, micro_batch=16, augmentation=(), seed=0) -> Batches:
    return Batches(samples, ENCODER, batch_size, micro_batch, augmentation, seed, range(batch_size))


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


def test_an_epoch_can_begin_in_its_middle(samples: Samples):
    assert ids_of(batches_of(samples), 2, start=2) == ids_of(batches_of(samples), 2)[32:]


def test_all_of_a_sample_travels_together(samples: Samples):
    for step in batches_of(samples, micro_batch=5).epoch(0):
        for batch, _ in step.micro_batches:
            rows = batch.ids - 100
            assert batch.weight is not None
            assert torch.equal(batch.weight, rows.float())
            assert torch.equal(batch.target, rows % 3)
            assert torch.equal(batch.inputs["image"], ENCODER.scaled(samples.inputs["image"][rows]))


@pytest.mark.parametrize("micro_batch", [1, 5, 16])
def test_samples_change_alike_however_the_batch_is_cut(samples: Samples, micro_batch: int):
    augmentation = ("flip", "crop", "rotate", "jitter")
    whole = batches_of(samples, 16, 16, augmentation)
    cut = batches_of(samples, 16, micro_batch, augmentation)
    for one, other in zip(whole.epoch(1), cut.epoch(1), strict=True):
        pictures = torch.cat([batch.inputs["image"] for batch, _ in other.micro_batches])
        torch.testing.assert_close(pictures, one.micro_batches[0][0].inputs["image"])
        noise = torch.cat([noise.normal(3) for _, noise in other.micro_batches])
        assert torch.equal(noise, one.micro_batches[0][1].normal(3))


def test_a_picture_changes_from_epoch_to_epoch(samples: Samples):
    def first_picture(epoch: int) -> torch.Tensor:
        for step in batches_of(samples, augmentation=("jitter",)).epoch(epoch):
            batch = step.micro_batches[0][0]
            if (batch.ids == 100).any():
                return batch.inputs["image"][batch.ids == 100]
        raise AssertionError("every sample is in every epoch")

    assert not torch.equal(first_picture(0), first_picture(1))


def test_noise_is_a_function_of_seed_epoch_and_step(samples: Samples):
    def drawn(seed: int, epoch: int) -> list[tuple[float, ...]]:
        steps = batches_of(samples, seed=seed).epoch(epoch)
        return [tuple(step.micro_batches[0][1].uniform(2).flatten().tolist()[:4]) for step in steps]

    assert drawn(0, 0) == drawn(0, 0)
    everything = drawn(0, 0) + drawn(0, 1) + drawn(1, 0)
    assert len(set(everything)) == len(everything)


def test_noise_goes_on_from_draw_to_draw():
    noise = Noise((0,), 4, 1, 3, torch.device("cpu"))
    first, second = noise.normal(2), noise.normal(2)
    assert first.shape == second.shape == (2, 2)
    assert not torch.equal(first, second)


def test_noise_leaves_the_generator_of_torch_alone():
    before = torch.get_rng_state()
    Noise((0,), 4, 0, 4, torch.device("cpu")).uniform(9)
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_sees_all_samples_as_they_stand(samples: Samples):
    batches = list(in_order(samples, ENCODER, 20))
    assert [len(batch) for batch in batches] == [20, 20, 10]
    assert torch.cat([batch.ids for batch in batches]).tolist() == list(range(100, 100 + SAMPLES))


def test_rows_of_a_table_are_used_as_they_are():
    inputs = {"numbers": torch.rand(3, 2), "categories": torch.zeros(3, 0, dtype=torch.int64)}
    table = Samples(inputs, torch.zeros(3), None, torch.arange(3))
    (batch,) = in_order(table, TableEncoder((), ()), 8)
    assert torch.equal(batch.inputs["numbers"], inputs["numbers"])
    assert batch.weight is None
