"""A small DDPM U-Net on images of MNIST's shape, against the training example of Hugging Face's diffusers.

Both arms train the same network in fp32 with the same size of batch, on the same levels of noise. They differ in their
implementation, and in the order of the images, so that losses are not compared:

- stoker: the code path of a worker: images in memory, mirror images of whole batches, channels last, AdamW fused, the
  average of the weights in one call; loss, gradient norm and learning rate of every step recorded.
- diffusers: the loop of examples/unconditional_image_generation: each image is a picture that the transforms of
  torchvision mirror, make a tensor and standardise in the DataLoader; add_noise of DDPMScheduler, gradients clipped,
  AdamW, a cosine schedule, EMAModel, and the loss of each step as a number.

Reference: https://github.com/huggingface/diffusers/blob/main/examples/unconditional_image_generation/
train_unconditional.py, without accelerate, which does nothing for one process without mixed precision.
"""

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

from pairing import Laps, Machine, Process, Training, alternate, report, run_arms, serve
from stoker.architectures.network import build_network
from stoker.jobfile.loading import parse_job
from stoker.training.autotune import choose
from stoker.training.parallel import ALONE, prepare_process
from stoker.training.preparation import Prepared, prepare
from workload import on_cpu, recorded_steps

ARMS = ("stoker", "diffusers")
IMAGES, SIDE, BATCH = 1280, 28, 64
STEPS, LAP = IMAGES // BATCH, 5
LEVELS = 1000
JOB = """
task: image-generation
architecture: {{family: diffusion, channels: [32, 64], patch: 2, attention: 7, predicts: noise, noise: linear}}
dataset: {{source: {data}, split: none, image: {{augment: [flip]}}}}
training:
  epochs: 50
  batch_size: {batch}
  precision: fp32
  gradient_clip: 1
  schedule: {{type: cosine, warmup: 5%}}
  evaluate: {{every: 50 epochs, samples: 2}}
resources: {{cpus: {threads}}}
"""


def write_images(folder: Path) -> None:
    """Write grey images of noise."""
    numbers = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(numbers.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(folder / f"{number}.png")


class Pictures(Dataset[torch.Tensor]):
    """Pictures in memory, as the example prepares them."""

    def __init__(self, folder: Path) -> None:
        self._pictures = [Image.open(path).copy() for path in sorted(folder.iterdir())]
        self._prepare = transforms.Compose(
            [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
        )

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, number: int) -> torch.Tensor:
        prepared: torch.Tensor = self._prepare(self._pictures[number])
        return prepared


def reference_steps(prepared: Prepared, folder: Path) -> Iterator[torch.Tensor | None]:
    """Train as the example; yield the loss of each step, and None after each epoch."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import EMAModel

    whole: Any = build_network(prepared.architecture, prepared.data.fields.signature)
    network = whole.denoiser
    loader = DataLoader(Pictures(folder), BATCH, shuffle=True)
    noising: Any = DDPMScheduler(num_train_timesteps=LEVELS, beta_schedule="linear")  # type: ignore[no-untyped-call]
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=3 / 4)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, prepared.steps)
    network.train()
    while True:
        for images in loader:
            noise = torch.randn(images.shape)
            times = torch.randint(0, LEVELS, (len(images),)).long()
            guessed = network(noising.add_noise(images, noise, times), times, None)
            loss = functional.mse_loss(guessed.float(), noise.float())
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            average.step(network.parameters())
            loss.detach().item()
            yield loss.detach()
        yield None


def serve_arm(name: str, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        write_images(data)
        prepare_process(threads)
        prepared = choose(
            prepare(parse_job(JOB.format(data=data, batch=BATCH, threads=threads), "ddpm").task_job), ALONE
        )
        if name == "diffusers":
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
    print(f"DDPM U-Net 32-64 on {SIDE}x{SIDE} images in patches of 2, batch {BATCH}, fp32, {threads} thread(s)")
    report(laps, "diffusers", "cpu_s" if threads == 1 else "wall_s", LAP, "step")
    machine.describe(torch=torch.__version__, threads=threads)


if __name__ == "__main__":
    run_arms(__doc__, ARMS, serve_arm, compare)
