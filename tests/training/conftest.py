"""Workers as processes, and four objectives that test the contract between loop and objective."""

import hashlib
import json
import multiprocessing
import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stoker.job.job import Job
from stoker.jobfile.loading import load_job
from stoker.training.assembly import prepare
from stoker.training.loop import TrainingState
from stoker.training.parallel import Workers, join
from stoker.training.snapshot import encode, take

PROBES = Path(__file__).parents[1] / "probes"
TEXT = "the cat sat on the mat and the hat sat on the cat; a man had a hat, the man had a cat. "


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _worker(rank: int, count: int, port: int, work: Callable[[Workers], Any], answers: Any) -> None:
    torch.set_num_threads(1)
    try:
        with join(rank, count, torch.device("cpu"), f"127.0.0.1:{port}", 60.0) as workers:
            answers.put((rank, pickle.dumps(work(workers))))  # as bytes: shared tensors would be lost with the worker
    except BaseException as error:
        answers.put((rank, pickle.dumps(error)))
        raise


@pytest.fixture(scope="session")
def in_workers() -> Callable[[int, Callable[[Workers], Any]], list[Any]]:
    """Run a function in several workers at once; return their results by rank."""

    def run(count: int, work: Callable[[Workers], Any]) -> list[Any]:
        context = multiprocessing.get_context("fork")  # the parent's imports need not be repeated
        answers = context.Queue()
        port = free_port()
        processes = [context.Process(target=_worker, args=(r, count, port, work, answers)) for r in range(count)]
        for process in processes:
            process.start()
        results = {}
        for _ in processes:
            rank, answer = answers.get(timeout=120)
            result = pickle.loads(answer)
            if isinstance(result, BaseException):
                raise result
            results[rank] = result
        for process in processes:
            process.join(30)
            assert process.exitcode == 0
        return [results[rank] for rank in range(count)]

    return run


@pytest.fixture(scope="session")
def probe(tmp_path_factory) -> Iterator[Callable[[str], Job]]:
    """Load the job of a probe, with its code importable as in a run."""
    sys.path.insert(0, str(PROBES))
    table = tmp_path_factory.mktemp("text") / "text.csv"
    write_text_table(table)

    def load(name: str) -> Job:
        text = (PROBES / f"{name}.yaml").read_text(encoding="utf-8").replace("DATA", str(table))
        file = table.with_name(f"{name}.yaml")
        file.write_text(text, encoding="utf-8")
        (file.with_name(f"{name}.py")).write_text((PROBES / f"{name}.py").read_text())
        return prepare(load_job(file).job).job

    yield load
    sys.path.remove(str(PROBES))


def write_text_table(path: Path, window: int = 6, rows: int = 100) -> None:
    """Cut a text into consecutive windows, each with the character after it."""
    text = (TEXT * (1 + window * (rows + 1) // len(TEXT))).replace(",", "-").replace(" ", "_")
    lines = [",".join([*(f"c{i}" for i in range(window)), "next"])]
    for row in range(rows):
        lines.append(",".join(text[row * window : (row + 1) * window + 1]))
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="session")
def digest() -> Callable[[TrainingState], str]:
    """Hash a state without its clock."""
    return state_digest


def state_digest(state: TrainingState) -> str:
    snapshot = take(state, {})
    facts = {name: value for name, value in snapshot.facts.items() if name != "seconds"}
    sha = hashlib.sha256(json.dumps(facts).encode())
    for chunk in encode(snapshot.tensors):
        sha.update(chunk)
    return sha.hexdigest()
