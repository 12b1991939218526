"""Batches of images per second, against torch's DataLoader over the same samples in the same order.

In memory: 20,000 images of 28x28, standardised, in batches of 128; the peer's dataset standardises a sample at a time,
as its guides do, in the process itself or in two others.

From files: 2,000 jpeg files of 160x160, decoded and standardised in two processes, in batches of 32; both decode with
Pillow. The last line is the share of the time that steps wait for their batch once the first ones have arrived, where a
step takes a fifth longer than decoding its batch does, as on an accelerator.

All arms must deliver the same values: sums of every batch are compared before times are reported.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pairing import Arm, Lap, Machine, alternate, check_equal, curve, report, timed
from stoker.datasets.columns import Dense
from stoker.datasets.feeding.batches import Batches
from stoker.datasets.feeding.order import shuffled
from stoker.datasets.fields.category import ClassField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.records import Files
from stoker.datasets.samples import Samples

IMAGES, SIDE, BATCH = 20_000, 28, 128
FILES, FILE_SIDE, FILE_BATCH = 2_000, 160, 32
SEED, PROCESSES, WARM_UP = 0, 2, 8
CLASSES = ClassField("label", tuple("0123456789"))
Batch = tuple[torch.Tensor, torch.Tensor]
Epoch = Callable[[int], Iterator[Batch]]


class InMemory(Dataset[tuple[torch.Tensor, int]]):
    """The peer's dataset of arrays."""

    def __init__(self, pixels: np.ndarray, labels: list[int], mean: float, scale: float) -> None:
        self.pixels, self.labels, self.mean, self.scale = pixels, labels, mean, scale

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels = torch.from_numpy(self.pixels[index]).permute(2, 0, 1).float()
        return pixels.sub_(self.mean).div_(self.scale), self.labels[index]


class FromFiles(Dataset[tuple[torch.Tensor, int]]):
    """The peer's dataset of files."""

    def __init__(self, paths: tuple[Path, ...], labels: list[int], mean: float, scale: float) -> None:
        self.paths, self.labels, self.mean, self.scale = paths, labels, mean, scale

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[index]) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()
        return pixels.sub_(self.mean).div_(self.scale), self.labels[index]


def peer(dataset: Dataset[tuple[torch.Tensor, int]], count: int, batch: int, processes: int) -> Epoch:
    def epoch(number: int) -> Iterator[Batch]:
        order = shuffled(count, SEED, number).tolist()
        yield from DataLoader(dataset, batch, sampler=order, num_workers=processes)

    return epoch


def ours(batches: Batches) -> Epoch:
    def epoch(number: int) -> Iterator[Batch]:
        for step in batches.epoch(number):
            ((batch, _),) = step.micro_batches
            assert batch.target is not None
            yield batch.inputs["image"], batch.target

    return epoch


def arm(epoch: Epoch) -> Arm:
    """Return an arm that runs an epoch per lap; its sums are computed outside of the measured time."""
    done = 0

    def lap() -> Lap:
        nonlocal done
        first: list[Batch] = []

        def work() -> None:
            for number, batch in enumerate(epoch(done)):
                if number < WARM_UP:
                    first.append(batch)

        measured = timed(work)
        done += 1
        sums = [float(images.double().sum() + labels.sum()) for images, labels in first]
        return Lap(measured.wall_s, measured.cpu_s, sums)

    return lap


def compare(arms: dict[str, Epoch], rounds: int, batches: int, against: str) -> None:
    machine = Machine()
    laps = alternate({name: arm(epoch) for name, epoch in arms.items()}, rounds)
    for name in arms:
        check_equal(curve(laps[name]), curve(laps["stoker"]), 1e-5)
    report(laps, against, "wall_s", batches, "batch")
    machine.describe(torch=torch.__version__)


def in_memory(rounds: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (IMAGES, SIDE, SIDE, 1), np.uint8)
    labels = torch.from_numpy(rng.integers(0, 10, IMAGES))
    mean, scale = float(pixels.mean()), float(pixels.std())
    fields = Fields((ImageField("image", SIDE, SIDE, 1, (mean,), (scale,)),), CLASSES)
    samples = Samples({"image": Dense(torch.from_numpy(pixels))}, Dense(labels), None, torch.arange(IMAGES))
    batches = Batches(samples, fields, BATCH, BATCH, (), SEED, range(BATCH))
    dataset = InMemory(pixels, labels.tolist(), mean, scale)
    print(f"{IMAGES:,} images of {SIDE}x{SIDE} in memory")
    for processes in (0, PROCESSES):
        name = f"DataLoader, {processes} workers"
        compare({"stoker": ours(batches), name: peer(dataset, IMAGES, BATCH, processes)}, rounds, len(batches), name)


def from_files(rounds: int) -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        paths = tuple(Path(place) / f"{number}.jpg" for number in range(FILES))
        for path in paths:
            small = rng.integers(0, 256, (FILE_SIDE // 4, FILE_SIDE // 4, 3), np.uint8)
            Image.fromarray(small).resize((FILE_SIDE, FILE_SIDE)).save(path)
        labels = torch.from_numpy(rng.integers(0, 10, FILES))
        field = ImageField("image", FILE_SIDE, FILE_SIDE, 3, (127.5,) * 3, (60.0,) * 3)
        samples = Samples({"image": field.encode(Files(paths))}, Dense(labels), None, torch.arange(FILES))
        fields = Fields((field,), CLASSES)
        batches = Batches(samples, fields, FILE_BATCH, FILE_BATCH, (), SEED, range(FILE_BATCH), processes=PROCESSES)
        dataset = FromFiles(paths, labels.tolist(), 127.5, 60.0)
        print(f"{FILES:,} jpeg files of {FILE_SIDE}x{FILE_SIDE}, {PROCESSES} processes")
        name = f"DataLoader, {PROCESSES} workers"
        theirs = peer(dataset, FILES, FILE_BATCH, PROCESSES)
        compare({"stoker": ours(batches), name: theirs}, rounds, len(batches), name)
        print(f"  steps wait {waiting(batches):.1%} of the time")


def waiting(batches: Batches) -> float:
    """Return the share of the time that steps wait, where decoding alone would keep up."""
    began = time.perf_counter()
    for _ in batches.epoch(0):
        pass
    step_s = 1.2 * (time.perf_counter() - began) / len(batches)
    assert batches.prefetcher
    before = began = 0.0
    for number, _ in enumerate(batches.epoch(1)):
        if number == WARM_UP:
            before, began = batches.prefetcher.waited_s, time.perf_counter()
        time.sleep(step_s)
    return (batches.prefetcher.waited_s - before) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    in_memory(arguments.rounds)
    from_files(arguments.rounds)


if __name__ == "__main__":
    main()
