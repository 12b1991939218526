"""Datasets that a process has loaded, for its next attempts and trials."""

from typing import TYPE_CHECKING

from stoker.job.job import Job

if TYPE_CHECKING:
    from stoker.datasets.dataset import LoadedDataset


class DataCache:
    """The most recently used datasets of this process.

    Args:
        capacity: number of datasets.

    """

    def __init__(self, capacity: int = 1) -> None:
        self._capacity = capacity
        self._datasets: dict[str, LoadedDataset] = {}

    def get(self, job: Job) -> "LoadedDataset | None":
        """Return the dataset of a resolved job; None if this process has not loaded it."""
        return self._datasets.get(_key(job))

    def put(self, job: Job, data: "LoadedDataset") -> None:
        """Add the dataset of a resolved job; the oldest one is dropped."""
        self._datasets.pop(_key(job), None)
        self._datasets[_key(job)] = data
        for oldest in list(self._datasets)[: -self._capacity]:
            del self._datasets[oldest]


def _key(job: Job) -> str:
    return f"{job.task} {job.training.start_from} {job.dataset_to_load.model_dump_json()}"
