"""Ten kills in the middle of epochs: training with each way of loading data ends in the same bytes."""

import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARDS, EACH, EPOCHS, BATCH = 8, 24, 6, 16
SAMPLES = SHARDS * EACH
STEPS = EPOCHS * SAMPLES // BATCH
KILLS = 10
JOB = """
task: image-classification
architecture: {{family: custom, class: "ledger:Ledger", folder: "{folder}"}}
dataset: {{source: "{data}", format: webdataset, loading: {way}, split: none, image: {{augment: [flip, crop]}}}}
training: {{epochs: {epochs}, batch_size: {batch}, precision: fp32, checkpoint: {{every: 2 steps}}}}
resources: {{cpus: 1}}
"""
LEDGER = '''
import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from stoker.tasks.objective import Loss, Objective


class Ledger(Objective):
    """Records the samples of each step; `steps` is part of the checkpoint."""

    def __init__(self, signature, folder):
        super().__init__()
        self.file = Path(folder) / f"ledger-{os.environ.get('RANK', '0')}.txt"
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def turns(self, step):
        return ("network",)

    def groups(self):
        return {"network": self.network}

    def counts(self, batch, turn):
        return {"loss": float(len(batch))}

    def forward(self, batch, turn, noise):
        self.steps += 1
        with self.file.open("a") as file:
            file.write(f"{int(self.steps)} {' '.join(map(str, batch.ids.tolist()))}\\n")
        time.sleep(0.02)
        return {"loss": functional.cross_entropy(self.network(batch.inputs["image"]), batch.target, reduction="sum")}

    def evaluate(self, batch, noise):
        output = self.network(batch.inputs["image"])
        total = functional.cross_entropy(output, batch.target, reduction="sum")
        return {"loss": Loss(total, float(len(batch)))}, output
'''


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(0)
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard}.tar", "w") as archive:
            for number in range(shard * EACH, (shard + 1) * EACH):
                picture = io.BytesIO()
                pixels = rng.integers(0, 128, (8, 8), np.uint8) + np.uint8(number % 2 * 100)
                Image.fromarray(pixels).save(picture, "png")
                for extension, content in {"png": picture.getvalue(), "cls": b"ab"[number % 2 :][:1]}.items():
                    entry = tarfile.TarInfo(f"{number:04}.{extension}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    return folder


class Training:
    """A job trained without Ray, by one process or by torchrun."""

    def __init__(self, folder: Path, data: Path, way: str, workers: int) -> None:
        self.folder, self.workers = folder, workers
        folder.mkdir()
        (folder / "ledger.py").write_text(LEDGER)
        job = JOB.format(folder=folder, data=data, way=way, epochs=EPOCHS, batch=BATCH)
        (folder / "job.yaml").write_text(job)

    def begin(self) -> "subprocess.Popen[bytes]":
        start = [sys.executable, "-m"]
        if self.workers > 1:
            start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(self.workers), "-m"]
        command = [*start, "stoker.training", str(self.folder / "job.yaml"), "--output", str(self.folder / "output")]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def ledger(self, rank: int = 0) -> list[tuple[int, list[int]]]:
        path = self.folder / f"ledger-{rank}.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        numbers = [[int(word) for word in line.split()] for line in lines if line.strip()]
        return [(line[0], line[1:]) for line in numbers]

    def step(self) -> int:
        return max((step for step, _ in self.ledger()[-1:]), default=0)

    def weights(self) -> bytes:
        return (self.folder / "output" / "weights.safetensors").read_bytes()


def end_of(process: "subprocess.Popen[bytes]", training: Training) -> None:
    assert process.wait(200) == 0, (training.folder / "log.txt").read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("way", ["resident", "loaded", "streaming"])
def test_ten_kills_do_not_change_the_result(way: str, workers: int, data: Path, tmp_path: Path):
    undisturbed, disturbed = (Training(tmp_path / name, data, way, workers) for name in ("calm", "killed"))
    end_of(undisturbed.begin(), undisturbed)
    dice = random.Random(f"{way}{workers}")
    targets = sorted(dice.sample(range(3, STEPS - 3), KILLS))
    for target in targets:
        process = disturbed.begin()
        while disturbed.step() < target:
            assert process.poll() is None, (disturbed.folder / "log.txt").read_text()[-3000:]
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    end_of(disturbed.begin(), disturbed)
    assert disturbed.weights() == undisturbed.weights()
    for training in (undisturbed, disturbed):
        last = [dict(training.ledger(rank)) for rank in range(workers)]  # a repeated step counts once
        assert all(sorted(steps) == list(range(1, STEPS + 1)) for steps in last)
        for epoch in range(EPOCHS):
            steps = range(epoch * STEPS // EPOCHS + 1, (epoch + 1) * STEPS // EPOCHS + 1)
            seen = Counter(number for each in last for step in steps for number in each[step])
            assert seen == Counter(range(SAMPLES)), "none missing, none twice"
