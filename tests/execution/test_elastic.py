"""Runs whose number of workers follows the nodes of a real Ray cluster, which come and go."""

import itertools
import random
import subprocess
import sys
import textwrap
import time

import pytest

from stoker.tracking.journal import read_journal
from stoker.tracking.run import State

RAY = """
import itertools
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
numbers = itertools.count()
def add():
    return cluster.add_node(num_cpus=1, env_vars={"STOKER_NODE": f"node-{next(numbers)}"})
nodes = [add() for _ in range(2)]
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "take\\n":
        cluster.remove_node(nodes.pop(), allow_graceful=False)
    else:
        nodes.append(add())
    print("done", flush=True)
cluster.shutdown()
"""
JOB = """
name: elastic
task: tabular-classification
architecture: {family: custom, class: "own:Network", pace: PACE}
dataset: breast-cancer
training:
  steps: 200
  batch_size: 64
  precision: fp32
  optimizer: {type: adamw, lr: 1e-3}
  checkpoint: {every: 20 steps}
resources: {workers: {min: 1, max: 2}, cpus: 1, gpus: 0}
"""
NETWORK = """
import os
import time

import torch
from torch import nn


class Network(nn.Module):
    def __init__(self, pace):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 2))
        self.pace = pace

    def forward(self, numbers):
        if self.training:
            time.sleep(self.pace)
            with open("TIMES", "a") as times:
                times.write(f"{time.time()} {os.getpid()}\\n")
        return self.layers(numbers)
"""


class Nodes:
    """A Ray cluster of two nodes for workers, each with room for one."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", RAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = self._process.stdout.readline().strip()

    def take(self):
        self._tell("take")

    def give(self):
        self._tell("give")

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def _tell(self, what):
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"


@pytest.fixture(scope="module")
def ray_cluster(nodes):
    return {"RAY_ADDRESS": nodes.address}


@pytest.fixture(scope="module")
def nodes():
    nodes = Nodes()
    yield nodes
    nodes.close()


@pytest.fixture
def elastic(run_environment, tmp_path):
    """Create the environment of a run with a number, and with a pace in seconds a step."""

    def make(number, pace):
        base = tmp_path / f"run-{number}"
        base.mkdir()
        code = NETWORK.replace("TIMES", str(base / "times.txt"))
        return run_environment(base, f"elastic-{number:08d}", JOB.replace("PACE", str(pace)), {"own.py": code})

    return make


def points(folder):
    found = [((key, e.step), value) for e, _ in read_journal(folder.journal) for key, value in e.metrics.items()]
    assert len(dict(found)) == len(found)
    return dict(found)


def losses(folder):
    return {step: value for (key, step), value in points(folder).items() if key.startswith("loss") and "/" not in key}


def longest_pause_s(environment):
    times = sorted(float(line.split()[0]) for line in (environment.base / "times.txt").read_text().splitlines())
    return max(after - before for before, after in itertools.pairwise(times))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_node_and_its_return_change_the_number_of_workers_but_not_the_losses(elastic, nodes, until):
    alone = elastic(1, 0.0)
    process = alone.start("home")
    shown, _ = process.communicate(timeout=200)
    assert process.returncode == 0, shown
    run = elastic(2, 0.15)
    folder = run.folder("home")
    process = run.start("home")
    until(lambda: folder.readable() and folder.status().checkpoint_step >= 20, "a checkpoint", 120)
    assert folder.status().workers == "2 of 1 to 2"
    nodes.take()
    until(lambda: folder.status().workers == "1 of 1 to 2", "one worker", 60)
    nodes.give()
    until(lambda: folder.status().workers == "2 of 1 to 2", "two workers again", 60)
    shown, _ = process.communicate(timeout=200)
    assert process.returncode == 0, shown
    status = folder.status()
    assert (status.state, status.attempt) == (State.SUCCEEDED, 3)
    assert [line.partition(" at ")[0] for line in status.failures] == ["attempt 1"]
    assert points(folder).keys() == points(alone.folder("home")).keys()
    assert losses(folder) == pytest.approx(losses(alone.folder("home")), abs=1e-5)
    assert "1 more worker can join; the step is saved" in shown


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_random_losses_and_returns_of_a_node_do_not_change_the_losses(elastic, nodes, until):
    alone = elastic(0, 0.0)
    alone.start("home").communicate(timeout=200)
    expected = losses(alone.folder("home"))
    pauses = []
    for number in range(1, 21):
        chance = random.Random(number)
        run = elastic(number, 0.1)
        folder = run.folder("home")
        process = run.start("home")
        until(lambda folder=folder: folder.readable() and folder.progress().step > 0, "the first step", 120)
        time.sleep(chance.uniform(0, 8))
        nodes.take()
        time.sleep(chance.uniform(0, 12))
        nodes.give()
        shown, _ = process.communicate(timeout=300)
        assert process.returncode == 0, shown
        assert points(folder).keys() == points(alone.folder("home")).keys()
        assert losses(folder) == pytest.approx(expected, abs=1e-5)
        pauses.append(longest_pause_s(run))
        print(f"schedule {number}: {folder.status().attempt} attempts, {pauses[-1]:.1f} s without training")
    assert sorted(pauses)[-2] <= 10, pauses


FAULTY = """
from contextlib import suppress
from pathlib import Path

import ray
from torch import nn


class Network(nn.Module):
    def __init__(self, pace):
        super().__init__()
        self.layer, self.seen = nn.Linear(30, 2), 0

    def forward(self, numbers):
        node = ray.get_runtime_context().get_node_id()
        self.seen += self.training
        bad = Path("MARK")
        if self.seen == 50:
            with suppress(FileExistsError), bad.open("x") as file:
                file.write(node)
        if bad.exists() and bad.read_text() == node:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        return self.layer(numbers)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "{min: 1, max: 2}"])
def test_a_node_with_a_broken_device_is_not_used_again(run_environment, nodes, tmp_path, workers):
    code = FAULTY.replace("MARK", str(tmp_path / "bad.txt"))
    job = JOB.replace("PACE", "0").replace("{min: 1, max: 2}", workers)
    (tmp_path / "run").mkdir()
    run = run_environment(tmp_path / "run", "faulty-00000001", job, {"own.py": code})
    shown, _ = run.start("home").communicate(timeout=200)
    status = run.folder("home").status()
    assert status.state is State.SUCCEEDED, shown
    assert status.attempt >= 2
    [left_out] = status.left_out
    assert left_out.startswith("node-")
    assert left_out.endswith(": RuntimeError: CUDA error: uncorrectable ECC error encountered")
    assert "not used again: " in shown


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run_with_their_error(nodes):
    begun = textwrap.dedent("""
        import sys
        import ray
        from stoker.errors import ClusterError
        from stoker.execution.elastic_group import ElasticGroup
        from stoker.job.resources import Elastic
        ray.init(address=sys.argv[1], logging_level="error", log_to_driver=False)
        group = ElasticGroup(Elastic(min=1, max=2), 0, ("no_such_module",))
        try:
            group.wait_for_resources(lambda: False)
        except ClusterError as error:
            print(error)
        group.close()
    """)
    done = subprocess.run(
        [sys.executable, "-c", begun, nodes.address], capture_output=True, text=True, timeout=200, check=True
    )
    assert done.stdout.strip() == "workers cannot start: ModuleNotFoundError: No module named 'no_such_module'"
