import numpy as np
import pytest
import torch
from PIL import Image

from stoker.datasets.columns import Dense, Lazy
from stoker.datasets.feeding.batches import Batches
from stoker.datasets.feeding.prefetch import Prefetcher, lazy_columns
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.records import Files
from stoker.datasets.samples import Samples
from stoker.errors import JobError

SAMPLES = 12
FIELDS = Fields((ImageField("image", 4, 5, 1, (0.0,), (1.0,)),), MaskField("mask", (0, 9), 4, 5))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    found = {}
    for name, values in {
        "image": rng.integers(0, 256, (SAMPLES, 4, 5)),
        "mask": rng.choice([0, 9], (SAMPLES, 4, 5)),
    }.items():
        paths = [folder / f"{name}{number}.png" for number in range(SAMPLES)]
        for path, pixels in zip(paths, values.astype(np.uint8), strict=True):
            Image.fromarray(pixels).save(path)
        found[name] = Files(tuple(paths), folder)
    return found


@pytest.fixture
def loaded(files: dict[str, Files]) -> Samples:
    assert FIELDS.target is not None
    columns = {"image": FIELDS.inputs[0].encode(files["image"])}
    weight = torch.arange(SAMPLES).float()
    return Samples(columns, FIELDS.target.encode(files["mask"]), weight, torch.arange(SAMPLES))


@pytest.fixture
def resident(loaded: Samples) -> Samples:
    assert loaded.target is not None
    everything = torch.arange(SAMPLES)
    image, mask = Dense(loaded.inputs["image"].take(everything)), Dense(loaded.target.take(everything))
    return Samples({"image": image}, mask, loaded.weight, loaded.ids)


def batches_of(samples: Samples, processes: int) -> Batches:
    return Batches(samples, FIELDS, 5, 3, ("flip", "crop"), 0, range(5), processes=processes)


def test_lazy_columns_are_found(loaded: Samples, resident: Samples):
    assert len(lazy_columns(loaded)) == 2
    assert all(isinstance(column, Lazy) for column in lazy_columns(loaded).values())
    assert lazy_columns(resident) == {}
    assert batches_of(resident, 2).prefetcher is None


@pytest.mark.parametrize("processes", [0, 1])
def test_decoded_batches_equal_those_of_samples_in_memory(loaded: Samples, resident: Samples, processes: int):
    ahead, there = batches_of(loaded, processes), batches_of(resident, 0)
    for epoch, start in ((0, 0), (1, 1)):
        for one, other in zip(ahead.epoch(epoch, start), there.epoch(epoch, start), strict=True):
            for (batch, noise), (expected, same) in zip(one.micro_batches, other.micro_batches, strict=True):
                assert torch.equal(batch.ids, expected.ids)
                assert torch.equal(batch.inputs["image"], expected.inputs["image"])
                assert batch.target is not None
                assert expected.target is not None
                assert torch.equal(batch.target, expected.target)
                assert batch.weight is not None
                assert torch.equal(batch.weight, batch.ids.float())
                assert torch.equal(noise.normal(2), same.normal(2))
    assert ahead.prefetcher is not None
    assert ahead.prefetcher.waited_s > 0


def test_each_step_has_its_rows_in_order(loaded: Samples):
    rows = [torch.tensor([3, 1]), torch.tensor([], dtype=torch.int64), torch.tensor([7])]
    steps = list(Prefetcher(loaded, 0).steps(rows))
    assert [step.ids.tolist() for step in steps] == [[3, 1], [], [7]]
    assert torch.equal(
        steps[0].inputs["image"].take(torch.arange(2)), loaded.inputs["image"].take(torch.tensor([3, 1]))
    )


def test_a_worker_without_a_row_of_the_last_batch_has_an_empty_step(loaded: Samples):
    *_, last = Batches(loaded, FIELDS, 10, 5, ("flip",), 0, range(5, 10)).epoch(0)
    ((batch, _),) = last.micro_batches
    assert last.samples == 2
    assert batch.inputs["image"].shape == (0, 1, 4, 5)
    assert batch.target is not None
    assert batch.target.shape == (0, 4, 5)


@pytest.mark.parametrize("processes", [0, 1])
def test_a_file_that_breaks_during_training_is_named(loaded: Samples, files: dict[str, Files], processes: int):
    path = files["image"].paths[4]
    content = path.read_bytes()
    path.write_bytes(b"")
    try:
        with pytest.raises(JobError, match=r"cannot read image4\.png \(an empty file\)"):
            list(Prefetcher(loaded, processes).steps([torch.tensor([4])]))
    finally:
        path.write_bytes(content)
