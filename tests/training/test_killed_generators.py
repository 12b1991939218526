"""Ten kills in the middle of epochs: a GAN with gradient penalty and a diffusion end in the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stoker.jobfile.loading import dump_job

KILLS = 10
SETTINGS = {"epochs": 40, "checkpoint": {"every": "2 steps"}, "evaluate": {"every": 40}}
ALONE = ("-m", "stoker.training")
TOGETHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "stoker.training")


def begin(job: Path, output: Path, program: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, *program, str(job), "--output", str(output)]
    with output.with_suffix(".log").open("ab") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def checkpoints(output: Path) -> set[str]:
    """Return the names of complete checkpoints; old ones are deleted meanwhile."""
    try:
        return {entry.name for entry in os.scandir(output / "checkpoints") if Path(entry, "manifest.json").exists()}
    except FileNotFoundError:
        return set()


def lines(output: Path) -> list[str]:
    """Return what is recorded; the end of an epoch that was killed behind its checkpoint is written again, the same."""
    return [*dict.fromkeys((output / "metrics.jsonl").read_text().splitlines())]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("program", [ALONE, TOGETHER], ids=["1 worker", "2 workers"])
@pytest.mark.parametrize("variant", ["wgan-gp", "diffusion"])
def test_ten_kills_end_in_the_same_bytes(variant, program, tiny, tmp_path):
    job = tiny("image-generation", variant, **SETTINGS)
    file, calm, killed = tmp_path / "job.yaml", tmp_path / "calm", tmp_path / "killed"
    file.write_text(dump_job(job.model_copy(update={"resources": job.resources.model_copy(update={"cpus": 1})})))
    assert begin(file, calm, program).wait(300) == 0, calm.with_suffix(".log").read_text()
    for _ in range(KILLS):
        before, process = checkpoints(killed), begin(file, killed, program)
        while not checkpoints(killed) - before:
            assert process.poll() is None, killed.with_suffix(".log").read_text()
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        assert not (killed / "weights.safetensors").exists(), "it ended before it was killed"
    assert begin(file, killed, program).wait(300) == 0, killed.with_suffix(".log").read_text()
    assert (killed / "weights.safetensors").read_bytes() == (calm / "weights.safetensors").read_bytes()
    assert lines(killed) == lines(calm)
