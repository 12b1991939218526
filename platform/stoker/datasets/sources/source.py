"""The contract of all dataset sources: list the files, then fetch them one by one."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import JobError, Problem

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://|(s3|https?|hf):/")
"""The start of a remote address. A single slash is a frequent mistake, which the check of the address reports."""
NAME_BYTES = 255
"""The longest name of a file or folder on the file systems of Linux."""
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class RemoteFile:
    """One file as its source lists it."""

    name: str
    """Path relative to the source, with slashes."""
    size: int | None
    """Bytes; None if unknown."""
    version: str
    """ETag, checksum or modification time: equal versions mean equal content. Empty if the server gives none; such
    a file is fetched each time."""
    sha256: str = ""
    """The expected checksum of the content, in lower case; empty if unknown."""
    is_source: bool = False
    """Whether the source is this single file rather than a folder."""


class Source(ABC):
    """A dataset at one address. `validate` only calls `problem`, which needs no network."""

    def __init__(self, url: str, shown: str = "") -> None:
        self.url = url
        """Identifies the source in the cache."""
        self.shown = shown or url
        """The address for messages, without passwords."""

    @staticmethod
    @abstractmethod
    def problem(source: str) -> str:
        """Return the problem of an address's syntax, without network access; empty if it is valid."""

    @abstractmethod
    def files(self) -> list[RemoteFile]:
        """List all files, without their content.

        Raises:
            JobError: there is no such source, or it has no files.
            StorageError: access is denied.
            Unreachable: the server does not answer.

        """

    @abstractmethod
    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Write the content of one listed file to `target`.

        An interrupted transfer of the same version may have left a partial file, which is continued or replaced.
        Several threads may fetch different files at once.

        Raises:
            JobError: the file is gone or has changed since it was listed.
            StorageError: access is denied.
            Unreachable: the server stopped answering, and retries did not help.

        """


def source_error(message: str) -> JobError:
    """Return the error of an invalid `dataset.source`."""
    return JobError([Problem("dataset.source", message)])


def vanished_error(place: str) -> JobError:
    """Return the error of a file that was listed but is gone."""
    return source_error(f"'{place}' vanished between listing and download; run again once nothing changes the source")


def changed_error(place: str) -> JobError:
    """Return the error of a file that was replaced after it was listed."""
    return source_error(f"'{place}' was replaced between listing and download; run again once nothing changes it")


def check_names(shown: str, files: Iterable[RemoteFile]) -> None:
    """Check that every listed name is a valid path inside the source's folder.

    Raises:
        JobError: a name is absolute, leaves the folder or cannot be a path; the message names it.

    """
    names = [file.name for file in files]
    for name in names:
        if reason := _misfit(name):
            raise source_error(f"'{shown}' lists {name!r}, which {reason}; rename or remove that file")
    known = set(names)
    if len(known) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise source_error(f"'{shown}' lists {twice!r} twice; remove one of them")
    for name in names:
        parts = name.split("/")
        folder = next(
            (above for above in ("/".join(parts[:end]) for end in range(1, len(parts))) if above in known), ""
        )
        if folder:
            message = f"lists both the file {folder!r} and {name!r}, which needs a folder of that name"
            raise source_error(f"'{shown}' {message}; rename one of them")


def _misfit(name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or _DRIVE.match(name):
        return "is an absolute path"
    if ".." in parts:
        return "leaves the folder of the source"
    if "\\" in name or "\0" in name:
        return "holds a character that file names cannot have"
    if "" in parts or "." in parts:
        return "has an empty part between its slashes" if "" in parts else "has '.' as a part"
    if any(len(part.encode(errors="surrogatepass")) > NAME_BYTES for part in parts):
        return f"has a part longer than {NAME_BYTES} bytes"
    return ""
