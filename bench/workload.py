"""The two jobs of the training benchmarks: a CNN on images of MNIST's shape, and a small MLP on a table.

Both datasets are random noise from a fixed seed: the speed does not depend on what can be learnt.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from stoker.execution.reporter import NORM_EVERY, Reporter
from stoker.jobfile.loading import parse_job
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import Assembly, assemble
from stoker.training.events import EpochEnd, StepEnd
from stoker.training.loop import start, train
from stoker.training.preparation import Prepared, prepare

CNN_JOB = """
task: image-classification
architecture: {{family: cnn, channels: [16, 32]}}
dataset: {{source: {data}, format: idx, split: none}}
training: {{epochs: {epochs}, batch_size: 128, precision: {precision}}}
"""
CNN_STEPS = 400
"""Steps per epoch: 51,200 images, about as many as in MNIST."""

MLP_JOB = """
task: tabular-classification
architecture: {{family: mlp, hidden: [128, 64]}}
dataset: {{source: {data}, columns: {{label: y}}, split: none}}
training: {{epochs: {epochs}, batch_size: 64, precision: fp32}}
"""
MLP_STEPS = 400
"""Steps per epoch."""
FEATURES = 30
CLASSES = 10


def cnn_job(folder: Path, epochs: int, precision: str = "fp32") -> Prepared:
    """Return the prepared job of the CNN: 1x28x28 images of 10 classes, batches of 128."""
    random = np.random.default_rng(0)
    count = CNN_STEPS * 128
    _write_idx(folder / "train-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28), dtype=np.uint8))
    _write_idx(folder / "train-labels-idx1-ubyte", random.integers(0, CLASSES, count, dtype=np.uint8))
    return prepare(parse_job(CNN_JOB.format(data=folder, epochs=epochs, precision=precision), "cnn").task_job)


def mlp_job(folder: Path, epochs: int) -> Prepared:
    """Return the prepared job of the MLP: 30 numbers per row, two classes, batches of 64."""
    random = np.random.default_rng(0)
    count = MLP_STEPS * 64
    frame = pd.DataFrame(random.standard_normal((count, FEATURES)), columns=[f"x{i}" for i in range(FEATURES)])
    frame["y"] = np.where(random.random(count) < 0.5, "no", "yes")
    file = folder / "table.parquet"
    frame.to_parquet(file)
    return prepare(parse_job(MLP_JOB.format(data=file, epochs=epochs), "mlp").task_job)


def on_cpu(prepared: Prepared) -> Assembly:
    """Return a job's network and objective, with the same weights every time."""
    return assemble(prepared)


def recorded_steps(assembly: Assembly, folder: Path, norm_every: int = NORM_EVERY) -> Iterator[torch.Tensor | None]:
    """Train through the platform's loop as a worker does, every step recorded; yields as pairing.Training needs."""
    folder.mkdir()
    reporter = Reporter(RunFolder(folder))
    reporter.start(assembly.prepared.epochs, assembly.prepared.steps)
    for event in train("bench", start(assembly), norm_every=norm_every):
        match event:
            case StepEnd():
                reporter.step(event, recorded=True)
                yield event.losses["loss"] if "loss" in event.losses else torch.stack([*event.losses.values()]).sum()
            case EpochEnd():
                reporter.epoch(event)
                yield None


def _write_idx(path: Path, values: np.ndarray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(head + values.tobytes())
