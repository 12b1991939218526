"""Opens the source of a `dataset.source` by its scheme."""

from pathlib import Path

from stoker.datasets.sources.https import HttpsSource
from stoker.datasets.sources.huggingface import HuggingFaceSource
from stoker.datasets.sources.path import PathSource
from stoker.datasets.sources.s3 import S3Source
from stoker.datasets.sources.source import SCHEME, Source, source_error
from stoker.jobfile.suggestion import did_you_mean

SCHEMES: dict[str, type[S3Source] | type[HttpsSource] | type[HuggingFaceSource]] = {
    "s3": S3Source,
    "https": HttpsSource,
    "http": HttpsSource,
    "hf": HuggingFaceSource,
}
"""By the scheme before `://`; a source without one is a path or a pattern of paths."""


def is_remote(source: str) -> bool:
    """Return whether a source is on a server rather than on this machine."""
    return SCHEME.match(source) is not None and not Path(source).exists()


def remote_problem(source: str) -> str:
    """Return the problem of a remote source's address, without network access; empty if it is valid."""
    scheme = source.partition(":")[0]
    if scheme not in SCHEMES:
        guess = did_you_mean(f"{scheme}://", [f"{name}://" for name in SCHEMES])
        return f"'{scheme}://' is unknown{guess or '; known are ' + ', '.join(f'{name}://' for name in SCHEMES)}"
    if not source.startswith(f"{scheme}://"):
        return f"'{scheme}:/' lacks a slash; write {scheme}://"
    return SCHEMES[scheme].problem(source)


def open_source(source: str) -> Source:
    """Return the source of an address or path, without contacting a server.

    Raises:
        JobError: the address is invalid.

    """
    if not is_remote(source):
        return PathSource(source)
    if problem := remote_problem(source):
        raise source_error(problem)
    return SCHEMES[source.partition(":")[0]](source)
