"""The shards of a source: each is fetched when a step needs it, and released some shards later."""

import hashlib
import json
import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from stoker.atomic_files import replace_file
from stoker.datasets.cache import open_cache
from stoker.datasets.cache.views import View
from stoker.datasets.feeding.order import BLOCK_SHARDS
from stoker.datasets.formats.webdataset import Shard, read_shard, records_of
from stoker.datasets.members import Member
from stoker.datasets.pictures.decoding import RESIDENT_SHARE
from stoker.datasets.records import Records
from stoker.datasets.sources.path import PathSource
from stoker.datasets.sources.schemes import is_remote, open_source
from stoker.datasets.sources.source import RemoteFile, Source
from stoker.errors import JobError, Problem, StokerError
from stoker.job.builtin import BUILTIN
from stoker.job.dataset import Dataset

OPEN_SHARDS = 2 * BLOCK_SHARDS
"""Shards that a process keeps open: those of the current block and the next one."""
INDEX_KEY = "shardlist"
"""Key of the list of shards, each with url and nsamples, in an index of webdataset's `widsindex`."""


class Shards:
    """The archives of a source in order, with consecutively numbered samples.

    Picklable, without the open archives.

    Args:
        dataset: names the source.
        files: the archives.
        counts: samples of each archive; None reads all archives to count them.

    """

    def __init__(self, dataset: Dataset, files: Sequence[RemoteFile], counts: Sequence[int] | None) -> None:
        self.dataset = dataset
        self.files = tuple(files)
        self._open: OrderedDict[int, tuple[Shard, View | None]] = OrderedDict()
        self._opening = threading.RLock()
        self.counts: tuple[int, ...] = tuple(counts) if counts else ()
        if not counts:
            self.counts = tuple(len(self.open(each).keys) for each in range(len(files)))
        self.begins = np.concatenate([[0], np.cumsum(self.counts)])
        """(shards + 1,) number of the first sample of each archive, then the total."""

    def __getstate__(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "files": self.files, "counts": self.counts, "begins": self.begins}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open = OrderedDict()
        self._opening = threading.RLock()

    def __len__(self) -> int:
        return int(self.begins[-1])

    @cached_property
    def _source(self) -> Source:
        return open_source(self.dataset.source)

    def shards_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of the archive that holds each sample."""
        found: np.ndarray = np.searchsorted(self.begins, rows, side="right") - 1
        return found

    def fetch(self, number: int) -> None:
        """Download an archive, without opening it."""
        if not isinstance(self._source, PathSource):
            _, view = open_cache().local_file(self._source, self.files[number])
            view.release()

    def open(self, number: int) -> Shard:
        """Return the samples of an archive, which stays open for a while.

        Raises:
            JobError: it cannot be read, or its number of samples differs from the index.

        """
        with self._opening:
            if number not in self._open:
                self._open[number] = self._opened(number)
                while len(self._open) > OPEN_SHARDS:
                    _, (_, view) = self._open.popitem(last=False)
                    if view:
                        view.release()
            self._open.move_to_end(number)
            return self._open[number][0]

    def records(self, rows: np.ndarray) -> Records:
        """Return samples by number; files are read when they are decoded.

        Raises:
            JobError: an archive cannot be read, or a sample differs from the others.

        """
        if not len(rows):  # a batch smaller than the number of workers
            known = next(iter(self._open), 0)
            return self.records(self.begins[known : known + 1]).rows(np.arange(0))
        numbers = self.shards_of(rows)
        shards = {number: self.open(number) for number in np.unique(numbers).tolist()}
        within = (rows - self.begins[numbers]).tolist()
        places = [(shards[number], place) for number, place in zip(numbers.tolist(), within, strict=True)]
        first = places[0][0]
        for shard in shards.values():
            if shard.members.keys() != first.members.keys():
                raise _problem(f"{shard.name} and {first.name} differ in what their samples have")
        members: dict[str, tuple[Member, ...]] = {
            name: tuple(shard.members[name][place] for shard, place in places) for name in first.members
        }
        keys = tuple(f"{shard.name}/{shard.keys[place]}" for shard, place in places)
        return records_of(keys, members, self.dataset)

    def _opened(self, number: int) -> tuple[Shard, View | None]:
        file = self.files[number]
        if isinstance(self._source, PathSource):
            path, view = self._source.local(file), None
        else:
            path, view = open_cache().local_file(self._source, file)
        shard = read_shard(path, file.name)
        if self.counts and len(shard.keys) != self.counts[number]:
            found = f"{len(shard.keys)} samples are in {file.name}, and {self.counts[number]} by the index"
            raise _problem(f"{found}; write the index again")
        return shard, view


@dataclass(frozen=True)
class Streamed:
    """Samples in shards, by their numbers."""

    shards: Shards
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, index: np.ndarray) -> "Streamed":
        """Pick samples by index."""
        return Streamed(self.shards, self.numbers[index])

    def prefetch(self, steps: Sequence[np.ndarray]) -> "ShardPrefetch":
        """Start to fetch the shards of coming steps, given the indices of their samples."""
        return ShardPrefetch(self, steps)

    def read(self) -> Records:
        """Return the samples; files are read when they are decoded."""
        return self.shards.records(self.numbers)


class ShardPrefetch:
    """Fetches the shards of coming steps in threads during training.

    Args:
        stored: the samples.
        steps: their indices in the order of use.

    """

    def __init__(self, stored: Streamed, steps: Sequence[np.ndarray]) -> None:
        self._shards = stored.shards
        self._waiting: deque[tuple[int, int]] = deque()
        known: set[int] = set()
        for step, places in enumerate(steps):
            new = set(np.unique(self._shards.shards_of(stored.numbers[places])).tolist()) - known
            self._waiting.extend((step, shard) for shard in sorted(new))
            known |= new
        self._begun = 0
        self._first_steps = [step for step, _ in self._waiting]

    def advance(self, step: int) -> None:
        """Start to fetch the shards of later steps, up to one block more than are in use."""
        in_use = bisect_right(self._first_steps, step)
        while self._waiting and self._begun < in_use + BLOCK_SHARDS:
            _, shard = self._waiting.popleft()
            self._begun += 1
            threading.Thread(target=self._fetch, args=[shard], daemon=True).start()

    def _fetch(self, shard: int) -> None:
        with suppress(StokerError):  # decoding raises the same error
            self._shards.fetch(shard)


def find_shards(dataset: Dataset) -> tuple[Shards, str] | None:
    """Return the shards that a job streams, and a note about them; None if its data is loaded as a whole.

    Raises:
        JobError: the job requires streaming, but the data is not in shards.

    """
    wanted = dataset.loading == "streaming"
    fits = dataset.source not in BUILTIN and dataset.format in (None, "webdataset")
    if not fits or not (wanted or (dataset.loading == "auto" and is_remote(dataset.source))):
        if wanted:
            raise _not_in_shards(dataset)
        return None
    listed = open_source(dataset.source).files()
    files = _archives(listed)
    if not files and wanted:
        raise _not_in_shards(dataset)
    large = sum(file.size or 0 for file in files) > RESIDENT_SHARE * psutil.virtual_memory().total
    if not files or not (wanted or large):
        return None
    if counts := _indexed(dataset, listed, files):
        return Shards(dataset, files, counts), ""
    cure = "write one with `stoker data SOURCE --index shards.json`, and store it beside them"
    return _counted(dataset, files), f"no index beside the shards: each was read once to count its samples; {cure}"


def index_text(dataset: Dataset) -> str:
    """Read every shard of a source once, and return its index.

    Raises:
        JobError: the data is not in shards, or one is broken.

    """
    files = _archives(open_source(dataset.source).files())
    if not files:
        raise _not_in_shards(dataset)
    return index_of(Shards(dataset, files, None))


def _archives(listed: Sequence[RemoteFile]) -> list[RemoteFile]:
    return sorted((file for file in listed if file.name.endswith(".tar")), key=lambda file: file.name)


def _counted(dataset: Dataset, files: Sequence[RemoteFile]) -> Shards:
    """Return shards without an index; remote ones are read once, and their counts cached."""
    if not is_remote(dataset.source):
        return Shards(dataset, files, None)
    listing = hashlib.sha256(repr([(file.name, file.size, file.version) for file in files]).encode()).hexdigest()
    known = open_cache().folder / "index" / f"{listing[:24]}.shards.json"
    counts = _counts(known) if known.exists() else {}
    if counts.keys() == {file.name for file in files}:
        return Shards(dataset, files, [counts[file.name] for file in files])
    shards = Shards(dataset, files, None)
    replace_file(known, index_of(shards).encode())
    return shards


def _indexed(dataset: Dataset, listed: Sequence[RemoteFile], files: Sequence[RemoteFile]) -> list[int] | None:
    """Return the number of samples of each shard from the index beside them; None if there is no index."""
    source = open_source(dataset.source)
    for file in listed:
        if not file.name.endswith(".json"):
            continue
        path = source.local(file) if isinstance(source, PathSource) else open_cache().local_file(source, file)[0]
        if counts := _counts(path):
            missing = [each.name for each in files if each.name not in counts]
            if missing:
                raise _problem(f"the index {file.name} lacks {missing[0]}; write it again")
            return [counts[each.name] for each in files]
    return None


def _counts(path: Path) -> dict[str, int]:
    """Read the number of samples of each shard by name; empty if a file is not an index."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))[INDEX_KEY]
        return {str(entry["url"]).removeprefix("./"): int(entry["nsamples"]) for entry in entries}
    except (ValueError, TypeError, KeyError):
        return {}


def index_of(shards: Shards) -> str:
    """Return the index of shards, as JSON that the webdataset package can read."""
    entries = [
        {"url": file.name, "nsamples": count, "filesize": file.size}
        for file, count in zip(shards.files, shards.counts, strict=True)
    ]
    return json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, INDEX_KEY: entries}, indent=1) + "\n"


def _not_in_shards(dataset: Dataset) -> JobError:
    message = f"'{dataset.source}' does not consist of tar archives, and only those can be streamed; use loaded or auto"
    return JobError([Problem("dataset.loading", message)])


def _problem(message: str) -> JobError:
    return JobError([Problem("dataset.source", message)])
