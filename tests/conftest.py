"""What tests of several folders share: jobs from a few words, and real public data where it is at hand."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stoker.spec.job import Job

PUBLIC_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def make_job() -> Callable[..., Job]:
    """Make a job: `make_job("tabular-classification", "iris", training={"epochs": 2})`."""

    def make(task: str, dataset: Any, **sections: Any) -> Job:
        return Job.model_validate({"task": task, "dataset": dataset, **sections})

    return make


@pytest.fixture(scope="session")
def public_data() -> Callable[[str], Path]:
    """Find a file of the public datasets; the test is skipped where they are absent."""

    def find(name: str) -> Path:
        path = PUBLIC_DATA / name
        if not path.exists():
            pytest.skip(f"the public dataset {name} is not on this machine")
        return path

    return find


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums in another order are other sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
