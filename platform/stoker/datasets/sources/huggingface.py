"""A dataset repository of the Hugging Face Hub: `hf://datasets/OWNER/NAME[@REVISION][/PATH]`."""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from stoker.datasets.sources.source import RemoteFile, Source, source_error
from stoker.datasets.sources.transfer import PATIENCE_S
from stoker.datasets.sources.web import WebClient, WebFile
from stoker.errors import Cause, ClusterError, StokerError, StorageError, Unreachable

FORM = "hf://datasets/OWNER/NAME, then @REVISION and /PATH if needed"
INSTALL = "pip install 'stoker[huggingface]'"
ENDPOINT = "https://huggingface.co"
_ADDRESS = re.compile(
    r"hf://datasets/(?P<repository>[\w.-]+/[\w.-]+)"
    r"(@(?P<revision>refs/(convert|pr)/[^/]+|[^/]+))?"  # the Hub's own references contain slashes
    r"(/(?P<path>.*))?"
)


class HuggingFaceSource(Source):
    """A repository at one commit, with the token of huggingface_hub (HF_TOKEN, `hf auth login`)."""

    def __init__(self, source: str, patience_s: float = PATIENCE_S) -> None:
        super().__init__(source)
        found = _ADDRESS.fullmatch(source)
        assert found is not None, source
        self._repository = found["repository"]
        self._revision = unquote(found["revision"] or "main")
        self._path = (found["path"] or "").strip("/")
        self._patience_s = patience_s
        self._endpoint = os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")
        self._commit = ""

    @staticmethod
    def problem(source: str) -> str:
        """Return the problem of an address's syntax; empty if it is valid."""
        if _ADDRESS.fullmatch(source):
            return ""
        return f"'{source}' is not a dataset of the Hub; write {FORM}"

    def files(self) -> list[RemoteFile]:
        """List the files of the repository at the revision's current commit."""
        hub = self._hub
        try:
            api = hub.HfApi(endpoint=self._endpoint)
            self._commit = str(api.dataset_info(self._repository, revision=self._revision).sha)
            if self._path and (single := self._single(api)):
                return single
            entries = list(
                api.list_repo_tree(
                    self._repository, self._path or None, recursive=True, revision=self._commit, repo_type="dataset"
                )
            )
        except (hub.errors.HTTPError, OSError, ValueError) as error:  # ValueError: an invalid repository name
            raise self._failure(error) from error
        below = f"{self._path}/" if self._path else ""
        files = [_listed(entry, entry.path.removeprefix(below)) for entry in entries if hasattr(entry, "blob_id")]
        found = [file for file in files if file.name != ".gitattributes"]
        if not found:
            raise source_error(f"there are no files in '{self.url}'; correct the path, or name another dataset")
        return found

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Download a file of the listed commit, which is immutable."""
        assert self._commit, "files() comes first"
        hub = self._hub
        path = self._path if file.is_source else f"{self._path}/{file.name}".lstrip("/")
        address = hub.hf_hub_url(
            self._repository, path, repo_type="dataset", revision=self._commit, endpoint=self._endpoint
        )
        headers = hub.utils.build_hf_headers(library_name="stoker")
        shown = f"hf://datasets/{self._repository}/{path}"
        self._client.fetch(WebFile(address, shown, pinned=True, headers=headers), target)

    @cached_property
    def _client(self) -> WebClient:
        return WebClient(self._patience_s)

    @cached_property
    def _hub(self) -> Any:
        try:
            import huggingface_hub
        except ImportError as error:
            raise ClusterError(f"{self.url}: huggingface_hub is not installed here; {INSTALL}") from error
        return huggingface_hub

    def _single(self, api: Any) -> list[RemoteFile]:
        """Return the file at the path; empty if it is a folder or does not exist."""
        found = api.get_paths_info(self._repository, [self._path], revision=self._commit, repo_type="dataset")
        name = self._path.rpartition("/")[2]
        return [_listed(entry, name, is_source=True) for entry in found if hasattr(entry, "blob_id")]

    def _failure(self, error: Exception) -> StokerError:
        """Convert an error of the Hub's library to ours, with the cure."""
        errors = self._hub.errors
        token = "set HF_TOKEN or log in with `hf auth login`"  # noqa: S105  # no token
        match error:
            case errors.GatedRepoError():
                page = f"{self._endpoint}/datasets/{self._repository}"
                return StorageError(
                    Cause.STORAGE_AUTH, f"{self.url}: access is by request; ask at {page}, then {token}"
                )
            case errors.RevisionNotFoundError():
                return source_error(f"'{self.url}' has no revision '{self._revision}'; correct it or leave it out")
            case errors.RepositoryNotFoundError():
                message = f"there is no dataset '{self._repository}' at {self._endpoint}, or it is private"
                return source_error(f"{message}; correct the name, or {token}")
            case errors.EntryNotFoundError():
                return source_error(f"there is no '{self._path}' in '{self.url}'; correct the path")
            case errors.HfHubHTTPError():
                status = getattr(error.response, "status_code", 0)
                if status in (401, 403):
                    return StorageError(Cause.STORAGE_AUTH, f"{self.url}: access is denied ({status}); {token}")
                return Unreachable(f"{self.url}: {self._endpoint} answers {status}; is HF_ENDPOINT right?")
            case ValueError():
                return source_error(f"'{self.url}' is refused: {error}; correct the name")
        return Unreachable(f"{self.url}: {self._endpoint} does not answer ({error}); is HF_ENDPOINT right?")


def _listed(entry: Any, name: str, is_source: bool = False) -> RemoteFile:
    if entry.lfs is not None:
        checksum = str(entry.lfs.sha256).lower()
        return RemoteFile(name, int(entry.size), f"sha256:{checksum}", checksum, is_source)
    return RemoteFile(name, int(entry.size), f"git:{entry.blob_id}", is_source=is_source)
