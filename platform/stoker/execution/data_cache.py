"""Data that a process has loaded, for the attempts and trials that come after."""

from stoker.datasets.loading import LoadedDataset
from stoker.job.job import Job


class DataCache:
    """The last few datasets that this process has loaded.

    Args:
        capacity: how many are kept.

    """

    def __init__(self, capacity: int = 1) -> None:
        self._capacity = capacity
        self._datasets: dict[str, LoadedDataset] = {}

    def get(self, job: Job) -> LoadedDataset | None:
        """Return the data of a job whose file is complete; None where this process has not loaded it."""
        return self._datasets.get(_key(job))

    def put(self, job: Job, data: LoadedDataset) -> None:
        """Keep the data of a complete job in place of the oldest."""
        self._datasets.pop(_key(job), None)
        self._datasets[_key(job)] = data
        for oldest in list(self._datasets)[: -self._capacity]:
            del self._datasets[oldest]


def _key(job: Job) -> str:
    return f"{job.task} {job.dataset.model_dump_json()}"
