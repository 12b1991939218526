"""Data that a process has loaded, for the attempts and trials that come after."""

from stoker.datasets.loading import LoadedDataset
from stoker.job.job import Job


class KeptData:
    """The last few datasets that this process has loaded.

    Args:
        most: how many are kept.

    """

    def __init__(self, most: int = 1) -> None:
        self._most = most
        self._kept: dict[str, LoadedDataset] = {}

    def get(self, job: Job) -> LoadedDataset | None:
        """Return the data of a job whose file is complete; None where this process has not loaded it."""
        return self._kept.get(_key(job))

    def keep(self, job: Job, data: LoadedDataset) -> None:
        """Keep the data of a complete job in place of the oldest."""
        self._kept.pop(_key(job), None)
        self._kept[_key(job)] = data
        for oldest in list(self._kept)[: -self._most]:
            del self._kept[oldest]


def _key(job: Job) -> str:
    return f"{job.task} {job.dataset.model_dump_json()}"
