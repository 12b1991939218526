"""Returns a local path for a source; missing files are fetched, once for all processes."""

import errno
import hashlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom  # leaves the global generator, which a job's own code may have seeded, untouched

from stoker.datasets.cache.blobs import Blob, Blobs, is_intact, sha256_of
from stoker.datasets.cache.eviction import disk_full_error, free_bytes, make_room, size_text
from stoker.datasets.cache.index import Index
from stoker.datasets.cache.locks import locked_temporarily
from stoker.datasets.cache.views import View, ViewFacts, source_key, view_of
from stoker.datasets.sources.path import PathSource, is_pattern
from stoker.datasets.sources.schemes import is_remote, open_source
from stoker.datasets.sources.source import RemoteFile, Source, check_names, source_error
from stoker.errors import ClusterError, StokerError
from stoker.settings import Settings, load_settings

THREADS = 16
"""Files fetched in parallel: small ones mostly wait for the server."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def local_path(source: str, settings: Settings | None = None) -> Path:
    """Return a path with the content of a source; files missing in the cache are fetched.

    Args:
        source: a path, which is returned unchanged; a pattern, which gives its only match or a folder of links to its
            matches; or an address, which gives a file or folder in the cache, kept while this process lives.
        settings: of the cache; default: those of the environment and the config file.

    Raises:
        JobError: the source does not exist, is empty, or changed during the download.
        StorageError: access is denied, or the disk is full.
        Unreachable: a server does not answer.
        ClusterError: this machine cannot keep a cache, or lacks a library.

    """
    if is_remote(source):
        return open_cache(settings).local_path(open_source(source))
    if not is_pattern(source):
        return Path(source).expanduser()
    pattern = PathSource(source)
    matches = pattern.matches()
    return matches[0] if len(matches) == 1 else open_cache(settings).links(pattern)


def open_cache(settings: Settings | None = None) -> "Cache":
    """Return the cache of the settings; its folder is created at the first use."""
    settings = settings or load_settings()
    return Cache(settings.data_cache, settings.cache_bytes)


class Cache:
    """Downloaded content, shared safely by processes and threads."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes
        self._blobs = Blobs(folder)

    def local_path(self, source: Source) -> Path:
        """Fetch the missing files of a source, and return the path of its file or folder."""
        files = source.files()
        check_names(source.shown, files)
        view = view_of(self.folder, source.url, files)
        try:
            view.hold()
            self._fill(view, source, files)
        except OSError as error:
            raise self._cache_error(source, error) from error
        return view.local(files)

    def local_file(self, source: Source, file: RemoteFile) -> tuple[Path, View]:
        """Fetch one file of a source if it is missing; it is kept until the view is released."""
        check_names(source.shown, [file])
        view = view_of(self.folder, source.url, [file])
        try:
            view.hold()
            self._fill(view, source, [file])
        except OSError as error:
            raise self._cache_error(source, error) from error
        return view.tree / file.name, view

    def links(self, source: PathSource) -> Path:
        """Return a folder of symbolic links to local files."""
        files = source.files()
        view = view_of(self.folder, source.url, files)
        try:
            view.hold()
            for file in files:
                link = view.tree / file.name
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(source.local(file))
            view.complete(ViewFacts(source.shown, len(files), 0))
        except OSError as error:
            raise self._cache_error(source, error) from error
        return view.local(files)

    def derived(self, source: str, key: str) -> "Derived":
        """Return the entry for files derived from a source, by key; it is kept while this process lives."""
        view = View(self.folder / "views" / f"{source_key(source)}-{key}")
        view.hold()
        return Derived(self, view, source)

    def put(self, view: View, source: str, files: Mapping[str, Callable[[Path], object]]) -> None:
        """Write files into a view.

        Raises:
            StorageError: the disk is full.

        """
        size = 0
        for name, write in files.items():
            draft = self.folder / "partial" / f"{view.path.name}-{name}"
            draft.parent.mkdir(parents=True, exist_ok=True)
            write(draft)
            blob = Blob(sha256_of(draft), draft.stat().st_size)
            self._blobs.commit(draft, blob, view.tree / name)
            size += blob.size
        make_room(self.folder, source, 0, self._limit_bytes)
        view.complete(ViewFacts(source, len(files), size))

    def _fill(self, view: View, source: Source, files: Sequence[RemoteFile]) -> None:
        index = Index(self.folder / "index" / f"{source_key(source.url)}.jsonl")
        missing = [file for file in files if not self._has(view, file, index)]
        if missing:
            make_room(self.folder, source.shown, sum(file.size or 0 for file in missing), self._limit_bytes)
            SystemRandom().shuffle(missing)  # processes that start together then share the work
            _in_parallel(lambda file: self._fetch_missing(view, source, file, index), missing)
        if missing or not view.is_complete():
            sizes = [(view.tree / file.name).stat().st_size for file in files]
            view.complete(ViewFacts(source.shown, len(files), sum(sizes)))

    def _has(self, view: View, file: RemoteFile, index: Index) -> bool:
        """Return whether a file is in the view, or can be linked into it from cached content."""
        blob = index.find(file) or self._by_checksum(file)
        path = view.tree / file.name
        return blob is not None and (is_intact(path, blob) or self._blobs.link(blob, path))

    def _by_checksum(self, file: RemoteFile) -> Blob | None:
        """Return cached content with the checksum that the source declares, from any source."""
        place = self._blobs.place(Blob(file.sha256, 0))
        return Blob(file.sha256, place.stat().st_size) if file.sha256 and place.exists() else None

    def _fetch_missing(self, view: View, source: Source, file: RemoteFile, index: Index) -> None:
        key = hashlib.sha256(f"{source.url}\0{file.name}\0{file.version}".encode()).hexdigest()
        partial = self.folder / "partial" / key
        with locked_temporarily(partial.with_suffix(".lock")):
            if self._has(view, file, index):
                return  # another process has fetched it
            try:
                blob = _download(source, file, partial)
            except OSError as error:
                if error.errno in _FULL:
                    partial.unlink(missing_ok=True)
                raise
            self._blobs.commit(partial, blob, view.tree / file.name)
            index.add(file, blob)

    def _cache_error(self, source: Source, error: OSError) -> StokerError:
        if error.errno in _FULL:
            return disk_full_error(
                self.folder, f"{source.shown} does not fit, {size_text(free_bytes(self.folder))} are free"
            )
        cure = "correct its permissions, or set STOKER_CACHE to a folder of yours"
        return ClusterError(f"{source.shown}: the cache {self.folder} cannot be used: {error}; {cure}")


class Derived:
    """Files derived from a source, shared by all processes."""

    def __init__(self, cache: Cache, view: View, source: str) -> None:
        self._cache, self._view, self._source = cache, view, source
        self.tree = view.tree

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock out other processes that need the same files; they wait."""
        with locked_temporarily(self._cache.folder / "partial" / f"{self._view.path.name}.lock"):
            yield

    def is_complete(self) -> bool:
        """Return whether the files are written."""
        return self._view.is_complete()

    def add(self, files: Mapping[str, Callable[[Path], object]]) -> None:
        """Write all files; each function writes one to its path argument.

        Raises:
            StorageError: the disk is full.

        """
        self._cache.put(self._view, self._source, files)


def _download(source: Source, file: RemoteFile, partial: Path) -> Blob:
    """Fetch a file and check it; after a resumed download with a wrong result, fetch it once more as a whole."""
    if not file.version:
        partial.unlink(missing_ok=True)
    continued = partial.exists()
    if continued:
        partial.chmod(0o644)  # it may be sealed: finished, but not yet moved
    source.fetch(file, partial)
    blob = Blob(sha256_of(partial), partial.stat().st_size)
    misfit = _misfit(source, file, blob)
    if misfit:
        partial.unlink()
    if misfit and continued:
        return _download(source, file, partial)
    if misfit:
        raise source_error(misfit)
    return blob


def _misfit(source: Source, file: RemoteFile, blob: Blob) -> str:
    place = source.shown if file.is_source else f"{source.shown.rstrip('/')}/{file.name}"
    if file.sha256 and blob.sha256 != file.sha256:
        cure = "correct the checksum, or find out why the file is another one"
        return f"'{place}' has the SHA-256 {blob.sha256}, not {file.sha256}; {cure}"
    if file.size is not None and blob.size != file.size:
        return f"'{place}' has {blob.size} bytes, and {file.size} when it was listed; run again once nothing changes it"
    return ""


def _in_parallel(work: Callable[[RemoteFile], None], files: Sequence[RemoteFile]) -> None:
    """Process all files in parallel, and raise the first failure.

    The threads are daemons, so that Ctrl-C ends a long download at once.
    """
    waiting: queue.SimpleQueue[RemoteFile | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work_on() -> None:
        while (file := waiting.get()) is not None:
            try:
                work(file)
            except BaseException as error:
                done.put(error)
            else:
                done.put(None)

    for file in files:
        waiting.put(file)
    threads = min(THREADS, len(files))
    for _ in range(threads):
        waiting.put(None)
        threading.Thread(target=work_on, daemon=True).start()
    try:
        for _ in files:
            if failure := done.get():
                raise failure
    finally:
        _drain(waiting, threads)


def _drain(waiting: "queue.SimpleQueue[RemoteFile | None]", threads: int) -> None:
    """Stop each thread after its current file."""
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            break
    for _ in range(threads):
        waiting.put(None)
