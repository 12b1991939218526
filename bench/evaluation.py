"""Memory of an evaluation: 2,000 masks of 512x512 pixels and 21 classes, against an evaluation of 20 of them.

A small U-Net has a training part of 16 images and evaluates the rest; files are decoded when a batch takes them. Each
arm is a process of its own; reported is the peak memory (VmHWM) of the large arm minus that of the small one. All
outputs together would take 44 GB, all masks alone 0.5 GB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pairing import Machine

SIDE, CLASSES, TRAINED, FEW, MASKS = 512, 21, 16, 20, 2_000
JOB = """
task: segmentation
architecture: {{family: unet, channels: [4, 8]}}
dataset: {{source: {data}, format: image-mask, loading: loaded}}
training: {{epochs: 1, batch_size: 4, precision: fp32}}
resources: {{cpus: 1}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=MASKS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run(arguments.run)), flush=True)
        os._exit(0)
    machine = Machine()
    found = []
    for count in (FEW, arguments.masks):
        with tempfile.TemporaryDirectory() as place:
            write(Path(place), count)
            done = subprocess.run([sys.executable, __file__, "--run", place], stdout=subprocess.PIPE, check=True)
            found.append(json.loads(done.stdout))
    few, many = found
    assert many["samples"] == arguments.masks
    more = (many["peak"] - few["peak"]) / 2**20
    print(
        f"{arguments.masks:,} masks in {many['seconds']:.0f} s: {many['peak'] / 2**20:.0f} MiB at most, {more:.0f} more"
    )
    machine.describe()


def write(folder: Path, count: int) -> None:
    """Write images of noise with masks in which each class is a stripe."""
    rng = np.random.default_rng(0)
    stripes = (np.arange(SIDE)[:, None] * CLASSES // SIDE).repeat(SIDE, 1).astype(np.uint8)
    for part, number in (("train", TRAINED), ("val", count)):
        for name in ("images", "masks"):
            (folder / part / name).mkdir(parents=True)
        for index in range(number):
            small = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
            Image.fromarray(small).resize((SIDE, SIDE)).save(folder / part / "images" / f"{index:05}.jpg")
            Image.fromarray(np.roll(stripes, index, 0)).save(folder / part / "masks" / f"{index:05}.png")


def run(folder: Path) -> dict[str, float]:
    """Evaluate the validation part, as a worker does after an epoch."""
    from stoker.jobfile.loading import parse_job
    from stoker.training.assembly import assemble
    from stoker.training.evaluation import evaluate
    from stoker.training.parallel import prepare_process
    from stoker.training.preparation import prepare

    prepare_process(1)
    assembly = assemble(prepare(parse_job(JOB.format(data=folder), "job").task_job))
    began = time.monotonic()
    metrics = evaluate(assembly, "val", "fp32")
    assert metrics["dice"] >= 0
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    return {"peak": peak, "seconds": time.monotonic() - began, "samples": len(assembly.parts["val"])}


if __name__ == "__main__":
    main()
