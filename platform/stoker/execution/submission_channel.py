"""The control channel of a driver that was submitted through the Ray Jobs API.

The status goes into the job's metadata, which the Jobs API returns; the log remains the run's own. Requests arrive as
an uploaded package with a name that belongs to this job: the Jobs API stores packages where the driver can read them,
and Ray itself does nothing with them.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from stoker.execution.contract import SUBMISSION, request_package
from stoker.execution.control_channel import serve
from stoker.tracking.run_folder import RunFolder


def serve_submission(folder: RunFolder) -> AbstractContextManager[None] | None:
    """Serve the control channel of this driver's Ray job until the block ends; None if it has none."""
    submission = os.environ.get(SUBMISSION)
    return _serve(_SubmissionChannel(submission, os.environ["RAY_ADDRESS"]), folder) if submission else None


@contextmanager
def _serve(submission: "_SubmissionChannel", folder: RunFolder) -> Iterator[None]:
    with serve(submission, folder, progress_every=1):
        yield
    submission.delete_request()
    if folder.status().state.ended:  # storage and MLflow have it; runs must not fill the head's disk
        shutil.rmtree(folder.path, ignore_errors=True)


class _SubmissionChannel:
    """One job in Ray's key-value store, over a separate connection."""

    def __init__(self, submission: str, address: str) -> None:
        from ray._raylet import GcsClient  # type: ignore[attr-defined] # compiled; other drivers do not need it
        from ray.dashboard.modules.job.common import JobInfoStorageClient

        self._submission = submission
        self._store = GcsClient(address=address)
        self._jobs = JobInfoStorageClient(self._store)
        self._request = f"gcs://{request_package(submission)}".encode()
        self._published: dict[str, str] = {}

    def request(self) -> str:
        """Return the client's request; empty for none."""
        return str((self._store.internal_kv_get(self._request, None) or b"").decode())

    def close(self) -> None:
        """Do nothing: Ray does not start a job a second time."""

    def publish(self, name: str, content: dict[str, Any]) -> None:
        """Write an entry of the job's metadata, unless its content is unchanged."""
        text = json.dumps(content)
        if self._published.get(name) != text:
            asyncio.run(self._write(name, text))
            self._published[name] = text

    def delete_request(self) -> None:
        """Delete the request, which has no other reader."""
        with suppress(Exception):  # deleted with the head otherwise
            self._store.internal_kv_del(self._request, False, None)

    async def _write(self, name: str, text: str) -> None:
        info = await self._jobs.get_info(self._submission)
        if (
            info is not None and not info.status.is_terminal()
        ):  # otherwise Ray considers this driver lost and is about to kill it
            metadata = {**(info.metadata or {}), name: text}
            await self._jobs.put_status(self._submission, info.status, jobinfo_replace_kwargs={"metadata": metadata})
