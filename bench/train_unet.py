"""A U-Net on random crops of pictures, against the segmentation reference of torchvision.

Both arms train the same network with the same batches' size, crops and mirror images. They differ in their
implementation, and in the order of the pictures, so that losses are not compared:

- stoker: the code path of a worker: pictures and masks in memory, crops and mirror images of whole batches, channels
  last, cross-entropy and Dice; loss, gradient norm and learning rate of every step recorded. Its precision is what a
  job gets that names none: `auto` times fp32 and bf16 on this machine. The choice is printed.
- torchvision: the loop, the transforms and the collation of references/segmentation: each file is opened by Pillow in
  the DataLoader, cropped, mirrored, made a tensor and standardised; SGD, a polynomial schedule, cross-entropy only.
- stoker fp32: as stoker, with `precision: fp32`, the arithmetic of the reference.

Reference: https://github.com/pytorch/vision/tree/main/references/segmentation (train.py, presets.py, transforms.py).
"""

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import functional as pictures

from pairing import Laps, Machine, Process, Training, alternate, report, run_arms, serve
from stoker.architectures.network import build_network
from stoker.jobfile.loading import parse_job
from stoker.training.autotune import choose
from stoker.training.parallel import ALONE, prepare_process
from stoker.training.preparation import Prepared, prepare
from workload import on_cpu, recorded_steps

ARMS = ("stoker", "torchvision", "stoker fp32")
PICTURES, SIDE, CROP, BATCH = 80, 256, 128, 8
STEPS, LAP = PICTURES // BATCH, 5
JOB = """
task: segmentation
architecture: {{family: unet, channels: [16, 32, 64, 128]}}
dataset: {{source: {data}, format: image-mask, split: none, image: {{tile: {crop}, augment: [flip]}}}}
training: {{epochs: 50, batch_size: {batch}, precision: {precision}}}
resources: {{cpus: {threads}}}
"""


def write_pictures(folder: Path) -> None:
    """Write pictures of bright discs on noise with their masks."""
    numbers = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(PICTURES):
        y, x = numbers.integers(40, SIDE - 40, 2)
        mask = ((rows - y) ** 2 + (columns - x) ** 2 < 900).astype(np.uint8)
        pixels = numbers.integers(0, 120, (SIDE, SIDE, 3)) + 100 * mask[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")


class Pairs(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Pictures and masks, as SegmentationPresetTrain prepares them."""

    def __init__(self, folder: Path) -> None:
        self._images = sorted((folder / "images").iterdir())
        self._masks = sorted((folder / "masks").iterdir())

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = Image.open(self._images[number]).convert("RGB")
        mask = Image.open(self._masks[number])
        if random.random() < 0.5:
            image, mask = pictures.hflip(image), pictures.hflip(mask)
        place = transforms.RandomCrop.get_params(image, (CROP, CROP))
        image, mask = pictures.crop(image, *place), pictures.crop(mask, *place)
        pixels = pictures.convert_image_dtype(pictures.pil_to_tensor(image), torch.float)
        target = torch.as_tensor(np.array(mask), dtype=torch.int64)
        return pictures.normalize(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), target


def reference_steps(prepared: Prepared, folder: Path) -> Iterator[torch.Tensor | None]:
    """Train as `train_one_epoch`; yield the loss of each step, and None after each epoch."""
    network: Any = build_network(prepared.architecture, prepared.data.fields.signature)
    loader = DataLoader(Pairs(folder), BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    total = prepared.steps
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=total, power=0.9)
    network.train()
    while True:
        for images, targets in loader:
            loss = functional.cross_entropy(network({"image": images}), targets, ignore_index=255)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            optimizer.step()
            schedule.step()
            yield loss.detach()
        yield None


def serve_arm(name: str, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        write_pictures(data)
        precision = "auto" if name == "stoker" else "fp32"
        prepare_process(threads)
        job = JOB.format(data=data, crop=CROP, batch=BATCH, precision=precision, threads=threads)
        prepared = choose(prepare(parse_job(job, "unet").task_job), ALONE)
        print(f"{name}: {prepared.job.training.precision}", file=sys.stderr)
        if name == "torchvision":
            steps = reference_steps(prepared, data)
        else:
            steps = recorded_steps(on_cpu(prepared), Path(folder) / "run")
        serve(Training(steps, STEPS, LAP))


def compare(threads: int, rounds: int) -> None:
    machine = Machine()
    processes = {name: Process(__file__, "--arm", name, "--threads", str(threads)) for name in ARMS}
    laps: Laps = alternate(processes, rounds)
    for process in processes.values():
        process.end()
    print(f"U-Net 16-128, crops of {CROP} of {SIDE}, batch {BATCH}, {threads} thread(s)")
    report(laps, "torchvision", "cpu_s" if threads == 1 else "wall_s", LAP, "step")
    machine.describe(torch=torch.__version__, threads=threads)


if __name__ == "__main__":
    run_arms(__doc__, ARMS, serve_arm, compare)
