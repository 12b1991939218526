"""The benchmark of a GPU runs where there is none: on small sizes, or not at all, which it says."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*options):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "platform"),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-X", "importtime", str(ROOT / "bench" / "gpu.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)


def test_the_gpu_benchmark_measures_every_arm_with_neither_ray_nor_mlflow():
    done = run("--device", "cpu", "--tiny", "--rounds", "3")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "failed" not in done.stdout
    rates = [line.split()[:2] for line in done.stdout.splitlines() if "tokens/s" in line or "images/s" in line]
    assert [" ".join(words) for words in rates][:4] == ["stoker fp32", "stoker bf16"] * 2
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "stoker" in imported
    assert not imported & {"ray", "mlflow"}


def test_the_gpu_benchmark_says_that_it_has_not_run_without_a_gpu():
    done = run()
    assert (done.returncode, done.stdout) == (0, "gpu.py did NOT run: torch sees no GPU\n")
