"""One run a key, whoever asks, however many at once, and however they end."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stoker.clusters.submit_keys import claim_key
from stoker.errors import JobError, WaitTimedOut
from stoker.tracking.run import RunHeader, new_run_id
from stoker.tracking.run_folder import RunFolder

SOURCE = Path(__file__).parents[2] / "platform"
PROCESSES = 100
DEADLINE_S = 60.0
CLAIMANT = """
import sys
from pathlib import Path
from stoker.clusters.submit_keys import claim_key
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.run import RunHeader, new_run_id
home = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
with claim_key(home, "nightly", new_run_id("tiny"), "hash") as claimed:
    print("taken" if claimed.exists else "mine", claimed.run, flush=True)
    if not claimed.exists:
        sys.stdin.readline()
        folder = RunFolder(home / "runs" / claimed.run)
        folder.create(RunHeader(claimed.run, "tiny", "t", "f", "d", 1.0, 1, "", ""), "task: x")
"""


def make(home: Path, run: str) -> None:
    RunFolder(home / "runs" / run).create(RunHeader(run, "tiny", "t", "f", "d", 1.0, 1, "", ""), "task: x")


@pytest.fixture
def claimants(tmp_path: Path) -> Iterator[Callable[[int], list["subprocess.Popen[str]"]]]:
    """Processes that are about to claim the same key; each goes a step with a line on standard input."""
    started: list[subprocess.Popen[str]] = []

    def start(number: int) -> list["subprocess.Popen[str]"]:
        new = [
            subprocess.Popen(
                [sys.executable, "-S", "-c", CLAIMANT, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
            )
            for _ in range(number)
        ]
        started.extend(new)
        for process in new:
            assert process.stdout.readline() == "ready\n"
        return new

    yield start
    for process in started:
        process.kill()
        process.communicate()


def step(process: "subprocess.Popen[str]") -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def test_a_hundred_processes_make_one_run(claimants, tmp_path):
    processes = claimants(PROCESSES)
    for process in processes:
        step(process)
    for process in processes:  # the one that claims the key needs a second step; the others may have ended by then
        with suppress(BrokenPipeError):
            step(process)
    answers = [process.communicate(timeout=DEADLINE_S)[0].split() for process in processes]
    assert len({run for _, run in answers}) == 1
    assert sorted(word for word, _ in answers) == ["mine"] + ["taken"] * (PROCESSES - 1)
    assert [path.name for path in tmp_path.glob("runs/*")] == [answers[0][1]]


def test_the_key_of_a_claimant_that_dies_goes_to_one_of_those_who_wait(claimants, tmp_path):
    (first,) = claimants(1)
    step(first)
    assert first.stdout.readline().startswith("mine")
    waiting = claimants(5)
    for process in waiting:
        step(process)
        step(process)
    first.kill()
    answers = [process.communicate(timeout=DEADLINE_S)[0].split() for process in waiting]
    assert sorted(word for word, _ in answers) == ["mine"] + ["taken"] * 4
    assert len({run for _, run in answers} | {path.name for path in tmp_path.glob("runs/*")}) == 1


def test_a_claim_that_comes_to_nothing_frees_the_key(tmp_path):
    with pytest.raises(ValueError, match="no plan"), claim_key(tmp_path, "k", new_run_id("tiny"), "hash") as first:
        raise ValueError("no plan")
    with claim_key(tmp_path, "k", new_run_id("tiny"), "another") as second:
        assert not second.exists
        assert second.run != first.run


def test_the_same_key_with_another_job_names_the_first_run(tmp_path):
    with claim_key(tmp_path, "k", new_run_id("tiny"), "hash") as first:
        make(tmp_path, first.run)
    with (
        pytest.raises(JobError, match=f"the key 'k' belongs to {first.run}, which has another job"),
        claim_key(tmp_path, "k", new_run_id("tiny"), "another"),
    ):
        pass
    with claim_key(tmp_path, "k", new_run_id("tiny"), "hash") as again:
        assert (again.run, again.exists) == (first.run, True)


def test_other_keys_do_not_wait(tmp_path):
    with (
        claim_key(tmp_path, "a/b", new_run_id("tiny"), "hash") as one,
        claim_key(tmp_path, "a b", new_run_id("tiny"), "hash") as other,
    ):
        assert one.run != other.run


def test_waiting_has_an_end_that_names_the_run(tmp_path):
    with (
        claim_key(tmp_path, "k", new_run_id("tiny"), "hash") as first,
        pytest.raises(WaitTimedOut, match=f"another `submit --key k` is still creating {first.run} after 0 s"),
        claim_key(tmp_path, "k", new_run_id("tiny"), "hash", lock_timeout_s=0.1),
    ):
        pass


@pytest.mark.parametrize("content", ["", '{"run": "ti', "[]", '{"run": "tiny-gone", "job": "hash"}'])
def test_a_key_without_a_run_is_free(content, tmp_path):
    with claim_key(tmp_path, "k", new_run_id("tiny"), "hash"):
        pass
    (note,) = tmp_path.glob("keys/*")
    note.write_text(content)
    with claim_key(tmp_path, "k", new_run_id("tiny"), "hash") as claimed:
        assert not claimed.exists


def test_the_module_is_light():
    heavy = ("ray", "torch", "mlflow", "pydantic", "psutil", "yaml")
    script = f"import sys, stoker.clusters.submit_keys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
