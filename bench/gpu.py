"""Stoker's own training loop on one GPU: GPT-2, and a CNN against a plain loop that is not tuned for speed.

GPT-2 124M (12 layers of 12 heads, width 768, 50,304 words, a context of 1,024) is trained in fp32, in bf16, and in bf16
with `training.compile`. It is a class of a user's own, gpt2.py, in a job file. Its data are texts of random words in a
parquet file: in a job, sequences of whole numbers are texts, whose words the platform numbers by its vocabulary. The
class ignores their labels. A token is a predicted word. MFU is the share of the GPU's dense bf16 peak, in fp32 as well,
with the operations of a token counted by nanoGPT's formula: 0.855 GFLOP.

The CNN has four residual stages; it reads random images of CIFAR's shape, 50,000 of 3x32x32, as uint8 from an npz file,
in batches of 512, without augmentation. A lap is one epoch of steps, with the smaller last batch.

- stoker fp32: the code path of a worker (samples resident on the GPU, channels last, fused AdamW), with loss and
  learning rate of every step recorded, and the gradient norm of every tenth.
- stoker bf16, and bf16 compiled: the same with `precision: bf16`, and with `compile: true`. A run drops `compile` if it
  is slower; this program keeps it. Other arithmetic: these rows are for information.
- plain: DataLoader over a TensorDataset of float images, contiguous weights, torch's default AdamW, fp32; it records
  nothing.

All arms train from the same weights on the same batches in the same order; the losses of the first steps must agree. An
arm that fails, or whose losses do not agree, is left out with its reason, and the program ends with 1. In fp32 torch's
defaults hold in all arms: matrix products in fp32, convolutions in TF32. A lap ends when the GPU has finished its work;
evaluation after each epoch, and compilation, are not measured. Wall time: run it on an idle machine.

Without a GPU it says so and ends. `--device cpu --tiny` runs the same code on small sizes, to test it.
"""

import argparse
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gpt2 import Gpt2, flops_per_token
from pairing import Laps, Machine, Training, alternate, check_equal, report
from plain_loop import plain_steps
from stoker.job.concurrency import machine_cpus
from stoker.jobfile.loading import parse_job
from stoker.training.assembly import Assembly, assemble
from stoker.training.parallel import Workers, prepare_process
from stoker.training.preparation import Prepared, prepare
from workload import CLASSES, recorded_steps

FP32, BF16, COMPILED, PLAIN = "stoker fp32", "stoker bf16", "stoker bf16, compiled", "plain"
SETTINGS: dict[str, dict[str, object]] = {
    FP32: {"precision": "fp32"},
    BF16: {"precision": "bf16"},
    COMPILED: {"precision": "bf16", "compile": True},
}
"""What each arm changes in the job's `training`."""
CHECKED = 10
"""Number of first steps whose losses must agree."""
TOLERANCES = {PLAIN: 2e-3, BF16: 2e-2, COMPILED: 2e-2}
"""Relative tolerance of an arm's losses to those of stoker fp32: convolutions in TF32 and bf16 round differently."""
PEAKS = ((r"\bH[12]00\b(?!.*(PCIe|NVL|MIG))", 989e12), (r"\bA100\b(?!.*MIG)", 312e12))
"""Dense bf16 operations per second, from NVIDIA's data sheets, by a pattern of the device's name."""

GPT2_JOB = """
task: text-classification
architecture:
  {{family: custom, class: "gpt2:NextWord", layers: {layers}, heads: {heads}, width: {width}, vocabulary: {vocabulary}}}
dataset:
  source: {data}
  columns: {{label: label, types: {{text: text}}}}
  text: {{vocabulary: {words}, length: {length}}}
  split: none
training:
  epochs: {epochs}
  batch_size: {batch}
  micro_batch: {batch}
  optimizer: {{type: adamw, lr: 6e-4, betas: [0.9, 0.95], weight_decay: 0.1}}
  gradient_clip: 1.0
"""
CNN_JOB = """
task: image-classification
architecture: {{family: cnn, channels: {channels}, blocks: residual}}
dataset: {{source: {data}, image: {{augment: []}}, split: none}}
training: {{epochs: {epochs}, batch_size: {batch}}}
"""
NUMBERED = 2
"""Numbers that the platform keeps for padding and unknown words."""


@dataclass(frozen=True)
class Sizes:
    """How much is trained."""

    layers: int = 12
    heads: int = 12
    width: int = 768
    words: int = 50_257
    """Numbers in the texts."""
    vocabulary: int = 50_304
    """Rows of the embedding: the next multiple of 64."""
    context: int = 1024
    texts: int = 16
    """Texts per step."""
    steps: int = 20
    """Steps of GPT-2 per lap."""
    channels: tuple[int, ...] = (64, 128, 256, 256)
    images: int = 50_000
    batch: int = 512


TINY = Sizes(
    layers=2, heads=2, width=32, words=100, vocabulary=128, context=16, texts=4, steps=12, channels=(8, 16), images=700,
    batch=64,
)  # fmt: skip


def gpt2_job(folder: Path, sizes: Sizes, epochs: int) -> Prepared:
    """Return the prepared job of GPT-2: an epoch is a lap."""
    random = np.random.default_rng(0)
    shape = (sizes.steps * sizes.texts, sizes.context + 1)
    drawn = random.integers(0, sizes.words - NUMBERED, shape)
    frame = pd.DataFrame({"text": [" ".join(f"w{number}" for number in row) for row in drawn.tolist()]})
    frame["label"] = np.where(random.random(len(frame)) < 0.5, "no", "yes")
    file = folder / "texts.parquet"
    frame.to_parquet(file)
    job = GPT2_JOB.format(
        data=file,
        layers=sizes.layers,
        heads=sizes.heads,
        width=sizes.width,
        vocabulary=sizes.vocabulary,
        words=sizes.words - NUMBERED,
        length=sizes.context + 1,
        epochs=epochs,
        batch=sizes.texts,
    )
    return prepare(parse_job(job, "gpt2").task_job)


def cnn_job(folder: Path, sizes: Sizes, epochs: int) -> Prepared:
    """Return the prepared job of the CNN."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (sizes.images, 32, 32, 3), dtype=np.uint8)
    file = folder / "images.npz"
    np.savez(file, image=pixels, label=random.integers(0, CLASSES, sizes.images))
    job = CNN_JOB.format(data=file, channels=list(sizes.channels), epochs=epochs, batch=sizes.batch)
    return prepare(parse_job(job, "cnn").task_job)


def assembled(prepared: Prepared, arm: str, device: torch.device) -> Assembly:
    """Return the network and the data of an arm on a device."""
    training = prepared.job.training.model_copy(update=SETTINGS[arm])
    chosen = replace(prepared, job=prepared.job.model_copy(update={"training": training}))
    assembly = assemble(chosen, Workers(device=device))
    if training.compile:
        torch._dynamo.config.suppress_errors = False  # a layer that is not compiled must not pass for one that is
    return assembly


def settled(steps: Iterator[torch.Tensor | None], lap: int, device: torch.device) -> Iterator[torch.Tensor | None]:
    """Wait at the end of each lap until the device has done what was launched."""
    done = 0
    for loss in steps:
        done += loss is not None
        if loss is not None and done % lap == 0 and device.type == "cuda":
            torch.cuda.synchronize(device)
        yield loss


def measured(arms: dict[str, Training], rounds: int) -> Laps:
    """Return the laps of the arms whose first lap works and has the losses of the first arm."""
    reference, *others = arms
    losses = arms[reference]().values[:CHECKED]
    working = {reference: arms[reference]}
    for name in others:
        try:
            difference = check_equal(losses, arms[name]().values[:CHECKED], TOLERANCES[name])
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            print(f"  {name}: left out, since it failed: {type(error).__name__}: {first}")
        else:
            print(
                f"  {name}: losses of the first {len(losses)} steps agree with those of {reference} to {difference:.1g}"
            )
            working[name] = arms[name]
    return alternate(working, rounds)


def measure_gpt2(folder: Path, sizes: Sizes, names: list[str], rounds: int, device: torch.device) -> Laps:
    prepared = gpt2_job(folder, sizes, epochs=rounds + 2)
    machine = Machine()
    arms: dict[str, Training] = {}
    for name in names:
        assembly = assembled(prepared, name, device)
        steps = recorded_steps(assembly, folder / f"gpt2 {name}")
        arms[name] = Training(settled(steps, sizes.steps, device), sizes.steps, sizes.steps)
    network = assembly.objective.network
    assert isinstance(network, Gpt2)
    flops, weights = flops_per_token(network), sum(parameter.numel() for parameter in network.parameters())
    tokens = sizes.texts * sizes.context
    print(f"GPT-2, {weights / 1e6:.4g} million weights, {sizes.texts} texts of {sizes.context} tokens a step")
    laps = measured(arms, rounds)
    report(laps, FP32, "wall_s", sizes.steps, "step")
    peak = peak_of(device)
    for name, done in laps.items():
        rate = sizes.steps * tokens / statistics.median(lap.wall_s for lap in done)
        mfu = f", MFU {rate * flops / peak:.1%} of {peak / 1e12:.0f} TFLOP/s" if peak else ""
        print(f"  {name:34}{rate:>14,.0f} tokens/s at {flops / 1e9:.3g} GFLOP a token{mfu}")
    if not peak:
        print("  MFU: left out, since the peak of this device is not known here")
    describe(machine, device)
    return laps


def measure_cnn(folder: Path, sizes: Sizes, names: list[str], rounds: int, device: torch.device) -> Laps:
    prepared = cnn_job(folder, sizes, epochs=rounds + 2)
    machine = Machine()
    epoch = prepared.steps_per_epoch
    every = {name: recorded_steps(assembled(prepared, name, device), folder / f"cnn {name}") for name in names} | {
        PLAIN: plain_steps(prepared, device)
    }
    arms = {name: Training(settled(steps, epoch, device), epoch, epoch) for name, steps in every.items()}
    print(f"CNN {'-'.join(map(str, sizes.channels))}, {sizes.images:,} images of 3x32x32, batch {sizes.batch}")
    laps = measured(arms, rounds)
    report(laps, PLAIN if PLAIN in laps else FP32, "wall_s", epoch, "step")
    for name, done in laps.items():
        seconds = statistics.median(lap.wall_s for lap in done)
        print(f"  {name:34}{sizes.images / seconds:>14,.0f} images/s, {seconds:.3g} s an epoch of {sizes.images:,}")
    describe(machine, device)
    return laps


def peak_of(device: torch.device) -> float | None:
    """Return the device's dense bf16 operations per second; None if they are not known."""
    name = device_name(device)
    return next((peak for pattern, peak in PEAKS if re.search(pattern, name)), None)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def describe(machine: Machine, device: torch.device) -> None:
    facts: dict[str, object] = {"device": device_name(device), "torch": torch.__version__}
    if device.type == "cuda":
        facts |= {
            "cuda": torch.version.cuda,
            "peak memory": f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB",
        }
    machine.describe(**facts)


def compare(sizes: Sizes, device: torch.device, rounds: int) -> bool:
    """Print all tables; return whether every arm has worked."""
    prepare_process(machine_cpus())
    names = list(SETTINGS)
    if device.type == "cpu":
        names.remove(COMPILED)
        print(f"{COMPILED}: left out on a CPU, where compilation takes longer than all other arms")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        gpt2 = measure_gpt2(folder, sizes, names, rounds, device)
        cnn = measure_cnn(folder, sizes, names, rounds, device)
    return len(gpt2) == len(names) and len(cnn) == len(names) + 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="at least 3; the first one is a warm-up")
    parser.add_argument("--texts", type=int, default=Sizes.texts, help="texts of GPT-2 per step")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu needs --tiny")
    parser.add_argument("--tiny", action="store_true", help="small sizes, whose times mean nothing: a test of the code")
    options = parser.parse_args()
    if options.device == "cpu" and not options.tiny:
        parser.error("GPT-2 124M is too large for a CPU; add --tiny")
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu.py did NOT run: torch sees no GPU")
        sys.exit()
    device = torch.device(options.device, 0)
    sizes = TINY if options.tiny else Sizes(texts=options.texts)
    sys.exit(not compare(sizes, device, options.rounds))
