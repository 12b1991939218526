"""Compiled layers: kept where they are faster, and left out where they cannot be compiled.

In processes of their own: torch's compiler starts threads and processes, after which no test could fork workers.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stoker.jobfile.loading import dump_job

COMPARE = """
losses = []
for chosen in (job, compiled):
    events = train("r", start(assemble(prepare(chosen))))
    losses.append([float(event.losses["loss"]) for event in events if isinstance(event, StepEnd)])
answer = {"losses": losses, "kept": choose(prepare(compiled), ALONE).job.training.compile}
"""
WITHOUT_COMPILER = """
torch._inductor.config.cpp.cxx = ("no-such-compiler",)
answer = {"kept": choose(prepare(compiled), ALONE).job.training.compile}
"""
AROUND = """
import json, sys
import torch
import torch._inductor.config
from stoker.jobfile.loading import load_job
from stoker.training.assembly import assemble
from stoker.training.preparation import prepare
from stoker.training.autotune import choose
from stoker.training.loop import start, train
from stoker.training.events import StepEnd
from stoker.training.parallel import ALONE
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
job = load_job(sys.argv[1]).job
resources = job.resources.model_copy(update={"cpus": 1})
compiled = job.model_copy(
    update={"training": job.training.model_copy(update={"compile": True}), "resources": resources}
)
WORK
print(json.dumps(answer))
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def answer(probe, tmp_path):
    """Run some work on the transformer of the probes; return its answer, and what it said."""

    def run(work: str) -> tuple[Any, str]:
        probes = Path(__file__).parents[1] / "probes"
        file = tmp_path / "tokens.yaml"
        file.write_text(dump_job(probe("tokens")), encoding="utf-8")
        (tmp_path / "tokens.py").write_text((probes / "tokens.py").read_text(encoding="utf-8"), encoding="utf-8")
        code = AROUND.replace("WORK", work)
        done = subprocess.run(
            [sys.executable, "-c", code, str(file), str(probes)], capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    return run


def test_compiled_layers_train_as_the_layers_do_and_the_choice_is_told(answer):
    found, said = answer(COMPARE)
    plain, compiled = found["losses"]
    assert compiled == pytest.approx(plain, abs=1e-4)
    assert ("x as long, kept" in said) is found["kept"]
    assert ("x as long, left out" in said) is not found["kept"]


def test_a_machine_without_a_compiler_trains_without(answer):
    found, said = answer(WITHOUT_COMPILER)
    assert not found["kept"]
    assert "compile: left out, since it failed" in said


def test_every_stage_of_a_deep_network_is_compiled_for_each_size_of_batch():
    code = """
import functools
import torch
from torch import nn
from stoker.training.compilation import compile_layers

class Stage(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, width + 1)
    def forward(self, numbers):
        return self.layer(numbers).relu()

nn.Module.compile = functools.partialmethod(nn.Module.compile, backend="eager")
network = nn.Sequential(*[Stage(width) for width in range(3, 9)])
compile_layers(network)
for rows in (7, 1):
    for mode in (network.train, network.eval):
        mode()
        network(torch.randn(rows, 3)).sum().backward()
        with torch.no_grad():
            network(torch.randn(rows, 3))
print(len(torch._dynamo.utils.counters["stats"]), torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)
    assert "recompile_limit" not in done.stderr
    assert int(done.stdout.split()[-1]) > 8
